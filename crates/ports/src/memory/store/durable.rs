//! The ledger's sums and the positions of logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{Batch, CollectionMethod, Job, Millis};

use super::{MemoryStore, State};
use crate::integrity::{
    Difference, Integrity, LedgerHours, LedgerRange, LedgerSum, MAX_DIFFERING, Recount, add_job,
};
use crate::log::{LogSink, LogStep, ParkedEntry, ParkedRecord};
use crate::{ErrorKind, PortError, Receipt};

#[derive(Default)]
pub(super) struct Durable {
    /// Sums of jobs that were purged.
    pub(super) hours: LedgerHours,
    positions: BTreeMap<(String, i32), i64>,
    /// Since when each is parked.
    parked: Vec<(Millis, ParkedRecord)>,
}

impl Durable {
    fn check(&self, steps: &[LogStep]) -> Result<(), PortError> {
        for step in steps {
            let stored = self.positions.get(&(step.log.clone(), step.partition));
            if stored.is_some_and(|stored| *stored != step.from) {
                return Err(step.conflict());
            }
        }
        Ok(())
    }

    fn step(&mut self, steps: &[LogStep]) {
        for step in steps {
            self.positions.insert((step.log.clone(), step.partition), step.next);
        }
    }
}

#[async_trait]
impl LogSink for MemoryStore {
    async fn append_from_log(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        let mut state = self.state.lock();
        state.durable.check(steps)?;
        state.durable.step(steps);
        Ok(batches.iter().map(|batch| state.append(batch)).collect())
    }

    async fn log_positions(&self, log: &str) -> Result<Vec<(i32, i64)>, PortError> {
        let state = self.state.lock();
        let of_log = state.durable.positions.iter().filter(|((name, _), _)| name == log);
        Ok(of_log.map(|((_, partition), next)| (*partition, *next)).collect())
    }

    async fn park(&self, record: &ParkedRecord, step: &LogStep) -> Result<(), PortError> {
        let mut state = self.state.lock();
        let step = std::slice::from_ref(step);
        state.durable.check(step)?;
        state.durable.step(step);
        let parked_at = chrono::Utc::now().timestamp_millis();
        state.durable.parked.push((parked_at, record.clone()));
        Ok(())
    }

    async fn parked(&self, limit: usize) -> Result<(Vec<ParkedEntry>, u64), PortError> {
        let state = self.state.lock();
        let entry = |(parked_at, record): &(Millis, ParkedRecord)| ParkedEntry {
            log: record.log.clone(),
            partition: record.partition,
            position: record.position,
            error: record.error.clone(),
            bytes: record.content.len() as u64,
            parked_at: *parked_at,
        };
        let newest = state.durable.parked.iter().rev().take(limit).map(entry).collect();
        Ok((newest, state.durable.parked.len() as u64))
    }
}

fn is_in(range: &LedgerRange, at: Millis, target_id: &str) -> bool {
    (range.start..range.end).contains(&at) && range.target_id.as_deref().is_none_or(|id| id == target_id)
}

#[async_trait]
impl Integrity for MemoryStore {
    async fn ledger(&self, range: &LedgerRange, limit: usize) -> Result<LedgerHours, PortError> {
        let state = self.state.lock();
        let mut hours = LedgerHours::new();
        for (key, sum) in &state.durable.hours {
            let touched = key.0 + crate::integrity::HOUR > range.start && key.0 < range.end;
            if touched && range.target_id.as_ref().is_none_or(|id| *id == key.1) {
                *hours.entry(key.clone()).or_default() += sum;
            }
        }
        let jobs = state.jobs.iter().map(|(_, job)| job);
        jobs.filter(|job| is_in(range, job.created_at, &job.target_id))
            .for_each(|job| add_job(&mut hours, job));
        if hours.len() > limit {
            let message = format!("the range has more than {limit} hours of targets");
            return Err(PortError::new(ErrorKind::Limit, message).for_askers());
        }
        Ok(hours)
    }

    async fn ledger_total(&self, range: &LedgerRange) -> Result<LedgerSum, PortError> {
        let mut total = LedgerSum::default();
        self.ledger(range, usize::MAX).await?.values().for_each(|sum| total += sum);
        Ok(total)
    }

    async fn recount(&self, range: &LedgerRange) -> Result<Recount, PortError> {
        Ok(self.state.lock().recount(range))
    }

    async fn purge_ledger(&self, before: Millis) -> Result<u64, PortError> {
        let mut state = self.state.lock();
        state.durable.parked.retain(|(parked_at, _)| *parked_at >= before);
        let kept = state.durable.hours.len();
        state.durable.hours.retain(|(hour, ..), _| *hour >= before);
        Ok((kept - state.durable.hours.len()) as u64)
    }
}

impl State {
    /// Whether samples of a batch whose frames are not all there lie with others', or it has none and nothing as old is kept of its
    /// target.
    fn is_uncountable(&self, job: &Job, some: bool) -> bool {
        let (target, time) = (job.target_id.as_str(), job.created_at);
        let is_there = match job.collection_method {
            // Samples with timestamps of their own may have been of the hour before.
            CollectionMethod::PullScraping => {
                self.segments.cover(target, time)
                    || some && self.segments.cover(target, time - crate::integrity::HOUR)
            }
            _ => self.segments.reach(target, Millis::MAX),
        };
        let has_frames =
            self.frames.iter().any(|stored| stored.target_id == target && stored.frame.time <= time);
        is_there || !(some || has_frames || self.segments.reach(target, time))
    }

    fn recount(&self, range: &LedgerRange) -> Recount {
        let mut recount = Recount::default();
        for (id, job) in self.jobs.iter().filter(|(_, job)| is_in(range, job.created_at, &job.target_id)) {
            let expected = job.ledger.stored + job.ledger.added;
            if expected == 0 {
                continue;
            }
            recount.batches += 1;
            recount.expected += expected;
            let frames = self.frames.iter().filter(|stored| stored.batch == *id);
            let found: u64 = frames.map(|stored| stored.frame.values.len() as u64).sum();
            if found < expected && self.is_uncountable(job, found > 0) {
                recount.compacted_batches += 1;
                recount.compacted += expected;
                continue;
            }
            recount.counted_batches += 1;
            recount.counted += found;
            if found != expected {
                recount.differences += 1;
                let (job_id, target_id) = (job.job_id.clone(), job.target_id.clone());
                recount.differing.push(Difference { job_id, target_id, expected, found });
                recount.differing.truncate(MAX_DIFFERING);
            }
        }
        recount
    }
}
