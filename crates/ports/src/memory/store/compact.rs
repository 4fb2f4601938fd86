//! Compaction in memory: samples of frames whose hour is over move to their series.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{LabelSet, Millis, Sample, SampleValue};
use tokio::time::Instant;

use super::samples::value_at;
use super::{MemoryStore, State};
use crate::{Compacted, Compaction, CompactionPolicy, PortError};

/// Samples by series and timestamp, and when each hour was compacted last.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) series: BTreeMap<LabelSet, BTreeMap<Millis, Held>>,
    passed: BTreeMap<Millis, Instant>,
}

/// A sample and whose it is.
pub(super) struct Held {
    pub(super) value: SampleValue,
    target_id: String,
}

fn hour_of(time: Millis) -> Millis {
    time.saturating_sub(time.rem_euclid(FRAME_BUCKET_MILLIS))
}

#[async_trait]
impl Compaction for MemoryStore {
    async fn compact(&self, policy: &CompactionPolicy) -> Result<Compacted, PortError> {
        Ok(self.state.lock().compact(policy))
    }
}

impl State {
    /// Takes the oldest hour that is due.
    fn compact(&mut self, policy: &CompactionPolicy) -> Compacted {
        let is_due = |hour: &Millis| {
            hour.saturating_add(FRAME_BUCKET_MILLIS) <= policy.before
                && !self.segments.rests(*hour, policy.rest)
        };
        let mut hours: Vec<Millis> = self.frames.iter().map(|stored| hour_of(stored.frame.time)).collect();
        hours.retain(is_due);
        hours.sort_unstable();
        hours.dedup();
        let Some(hour) = hours.first().copied() else { return Compacted::default() };
        let (taken, left) = std::mem::take(&mut self.frames)
            .into_iter()
            .partition(|stored| hour_of(stored.frame.time) == hour);
        self.frames = left;
        let mut done = Compacted { more: hours.len() > 1, ..Compacted::default() };
        for stored in taken {
            done.frames += 1;
            for (column, labels) in stored.columns.iter().enumerate() {
                done.samples += 1;
                let of_series = self.segments.series.entry(labels.clone()).or_insert_with(|| {
                    done.segments += 1;
                    BTreeMap::new()
                });
                if let Entry::Vacant(vacant) = of_series.entry(stored.frame.timestamp(column)) {
                    let value = value_at(&stored.frame, column);
                    vacant.insert(Held { value, target_id: stored.target_id.clone() });
                }
            }
        }
        self.segments.passed.insert(hour, Instant::now());
        done
    }
}

impl Segments {
    fn rests(&self, hour: Millis, rest: Duration) -> bool {
        self.passed.get(&hour).is_some_and(|ended| ended.elapsed() < rest)
    }

    /// Times of a target's samples.
    fn times<'s>(&'s self, target_id: &'s str) -> impl Iterator<Item = Millis> + 's {
        let all = self.series.values().flatten();
        all.filter(move |(_, held)| held.target_id == target_id).map(|(time, _)| *time)
    }

    /// Whether there are samples of a target in the hour of a time.
    pub(super) fn cover(&self, target_id: &str, time: Millis) -> bool {
        self.times(target_id).any(|other| hour_of(other) == hour_of(time))
    }

    /// Whether there are samples of a target from a time or before.
    pub(super) fn reach(&self, target_id: &str, time: Millis) -> bool {
        self.times(target_id).any(|other| other <= time)
    }

    /// Removes samples before a time of the targets that are meant; answers how many.
    pub(super) fn remove_before(&mut self, before: Millis, is_meant: impl Fn(&str) -> bool) -> u64 {
        let mut removed = 0;
        for samples in self.series.values_mut() {
            let count = samples.len();
            samples.retain(|timestamp, held| *timestamp >= before || !is_meant(&held.target_id));
            removed += count - samples.len();
        }
        self.series.retain(|_, samples| !samples.is_empty());
        removed as u64
    }

    /// What the series of a target have at its newest timestamp, if that is not before `since`.
    pub(super) fn latest(
        &self,
        target_id: &str,
        since: Millis,
    ) -> Option<(Millis, BTreeMap<&LabelSet, Sample>)> {
        let of_target = |(labels, samples)| {
            let samples: &BTreeMap<Millis, Held> = samples;
            let mut newest = samples.range(since..).rev();
            let (at, held) = newest.find(|(_, held)| held.target_id == target_id)?;
            Some((*at, labels, held))
        };
        let all: Vec<(Millis, &LabelSet, &Held)> = self.series.iter().filter_map(of_target).collect();
        let newest = all.iter().map(|(at, ..)| *at).max()?;
        let is_there =
            |(at, _, held): &&(Millis, _, &Held)| *at == newest && held.value != SampleValue::Stale;
        let latest = all.iter().filter(is_there).map(|(timestamp, labels, held)| {
            (*labels, Sample { timestamp: *timestamp, value: held.value.clone() })
        });
        Some((newest, latest.collect()))
    }
}
