//! Targets, jobs and processes in memory.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{
    BatchId, CollectionMethod, Health, HealthStatus, Job, JobStatus, Millis, Origin, Target, TargetSpec,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{MemoryStore, State};
use crate::{
    Catalog, CollectionStats, Created, JobCounts, JobFilter, PortError, Process, TargetChange, TargetFilter,
};

/// Jobs that one purge removes at most.
const PURGE_LIMIT: usize = 5_000;

impl State {
    fn changed_since(&self, revision: i64) -> Vec<Target> {
        let mut changed: Vec<Target> =
            self.targets.values().filter(|t| t.revision > revision).cloned().collect();
        changed.sort_by_key(|target| target.revision);
        changed
    }

    fn job_counts(&self, now: Millis, window: Duration) -> JobCounts {
        let start = now.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
        let inside = |job: &&Job| job.created_at > start && job.created_at <= now;
        let count = |counts: JobCounts, job: &Job| {
            let scrape = job.collection_method == CollectionMethod::PullScraping;
            counts.plus(JobCounts {
                total_stored: 0,
                jobs: 1,
                failed: u64::from(job.status == JobStatus::Failed),
                stored: job.metrics_collected,
                scrapes: u64::from(scrape),
                scrape_ms: if scrape { job.collection_duration_ms } else { 0.0 },
            })
        };
        let none = JobCounts { total_stored: self.total_samples, ..JobCounts::default() };
        self.jobs.iter().map(|(_, job)| job).filter(inside).fold(none, count)
    }

    /// Applies a change to a target that is neither being deleted nor discovered, under a new revision.
    fn change(&mut self, target_id: &str, change: impl FnOnce(&mut Target)) -> Option<Target> {
        let revision = self.revision + 1;
        let free = |target: &&mut Target| !target.deleting && target.origin.job().is_none();
        let target = self.targets.get_mut(target_id).filter(free)?;
        change(target);
        target.revision = revision;
        self.revision = revision;
        Some(target.clone())
    }
}

/// Sets whether a target is enabled, and the health that follows where that changes.
pub(super) fn enable(target: &mut Target, enabled: bool) {
    if target.spec.enabled != enabled {
        let status = if enabled { HealthStatus::Unknown } else { HealthStatus::Disabled };
        target.health = Health { status, reason: None, error: None, ..target.health.clone() };
    }
    target.spec.enabled = enabled;
}

impl MemoryStore {
    fn changed(&self, change: impl FnOnce(&mut State) -> Option<Target>) -> Option<Target> {
        let mut state = self.state.lock();
        let target = change(&mut state);
        self.revision.send_replace(state.revision);
        target
    }
}

#[async_trait]
impl Catalog for MemoryStore {
    async fn create_target(&self, spec: &TargetSpec) -> Result<Created, PortError> {
        let mut state = self.state.lock();
        if let Some(existing) = state.targets.get(&spec.target_id) {
            return Ok(Created::Existing(existing.clone()));
        }
        state.revision += 1;
        let status = if spec.enabled { HealthStatus::Unknown } else { HealthStatus::Disabled };
        let target = Target {
            id: Uuid::new_v4(),
            spec: spec.clone(),
            origin: Origin::Api,
            health: Health { status, ..Health::default() },
            created_at: chrono::Utc::now().timestamp_millis(),
            revision: state.revision,
            deleting: false,
            scrape_requested: None,
        };
        state.targets.insert(spec.target_id.clone(), target.clone());
        self.revision.send_replace(state.revision);
        Ok(Created::New(target))
    }

    async fn target(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        Ok(self.state.lock().targets.get(target_id).cloned())
    }

    async fn targets(&self, filter: &TargetFilter, limit: usize) -> Result<Vec<Target>, PortError> {
        let state = self.state.lock();
        let passes = |target: &&Target| {
            let spec = &target.spec;
            filter.source_id.as_ref().is_none_or(|source| *source == spec.source_id)
                && filter.health.is_none_or(|health| health == target.health.status)
                && filter.enabled.is_none_or(|enabled| enabled == spec.enabled)
                && filter.origin.is_none_or(|origin| origin == target.origin.kind())
                && filter.labels.iter().all(|(name, value)| spec.labels.get(name) == Some(value))
                && filter.after.as_ref().is_none_or(|after| spec.target_id > *after)
        };
        Ok(state.targets.values().filter(passes).take(limit).cloned().collect())
    }

    async fn replace_target(&self, spec: &TargetSpec) -> Result<Option<Target>, PortError> {
        let replace = |target: &mut Target| {
            enable(target, spec.enabled);
            target.spec = spec.clone();
            target.origin = Origin::Api;
        };
        Ok(self.changed(|state| state.change(&spec.target_id, replace)))
    }

    async fn change_target(
        &self,
        target_id: &str,
        change: &TargetChange,
    ) -> Result<Option<Target>, PortError> {
        let apply = |target: &mut Target| {
            if let Some(enabled) = change.enabled {
                enable(target, enabled);
            }
            if let Some(labels) = &change.labels {
                target.spec.labels = labels.clone();
            }
        };
        Ok(self.changed(|state| state.change(target_id, apply)))
    }

    async fn request_deletion(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        let marked = self.changed(|state| state.change(target_id, |target| target.deleting = true));
        let marked_before = || self.state.lock().targets.get(target_id).filter(|t| t.deleting).cloned();
        Ok(marked.or_else(marked_before))
    }

    async fn finish_deletion(&self, target_id: &str) -> Result<bool, PortError> {
        let mut state = self.state.lock();
        let deleting = state.targets.get(target_id).is_some_and(|target| target.deleting);
        if deleting {
            state.discovery.forget(target_id);
        }
        Ok(deleting && state.targets.remove(target_id).is_some())
    }

    async fn request_scrape(&self, target_id: &str, at: Millis) -> Result<Option<Target>, PortError> {
        Ok(self.changed(|state| {
            let revision = state.revision + 1;
            let target = state.targets.get_mut(target_id).filter(|target| !target.deleting)?;
            (target.scrape_requested, target.revision) = (Some(at), revision);
            let target = target.clone();
            state.revision = revision;
            Some(target)
        }))
    }

    async fn changes(&self, revision: i64, wait: Duration) -> Result<Vec<Target>, PortError> {
        let deadline = Instant::now() + wait;
        let mut newest = self.revision.subscribe();
        let mut after = revision;
        loop {
            // A time-out means that nothing changed.
            let seen = tokio::time::timeout_at(deadline, newest.wait_for(|newest| *newest > after)).await;
            // Copied out: the guard would keep those who hold the state from telling of the next revision.
            let seen = seen.map(|seen| seen.map(|seen| *seen));
            let changed = self.state.lock().changed_since(revision);
            match seen {
                // What has changed and gone since then is nothing to tell.
                Ok(Ok(seen)) if changed.is_empty() => after = seen,
                _ => return Ok(changed),
            }
        }
    }

    async fn record_health(&self, updates: &[(String, Health)]) -> Result<(), PortError> {
        let mut state = self.state.lock();
        for (target_id, health) in updates {
            if let Some(target) = state.targets.get_mut(target_id)
                && target.spec.enabled
                && health.last_scrape >= target.health.last_scrape
            {
                target.health = health.clone();
            }
        }
        Ok(())
    }

    async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, PortError> {
        let state = self.state.lock();
        let passes = |job: &&Job| {
            filter.target_id.as_ref().is_none_or(|target| *target == job.target_id)
                && filter.status.is_none_or(|status| status == job.status)
                && filter.before.is_none_or(|before| job.created_at < before)
        };
        let mut jobs: Vec<Job> = state.jobs.iter().map(|(_, job)| job).filter(passes).cloned().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
        jobs.truncate(limit);
        Ok(jobs)
    }

    async fn job_of(&self, batch: BatchId) -> Result<Option<Job>, PortError> {
        Ok(self.state.lock().jobs.iter().find(|(id, _)| *id == batch).map(|(_, job)| job.clone()))
    }

    async fn purge_jobs(&self, before: Millis) -> Result<u64, PortError> {
        let mut state = self.state.lock();
        let mut removed = 0;
        let State { jobs, durable, .. } = &mut *state;
        jobs.retain(|(_, job)| {
            let purged = job.created_at < before && removed < PURGE_LIMIT;
            removed += usize::from(purged);
            if purged {
                crate::integrity::add_job(&mut durable.hours, job);
            }
            !purged
        });
        Ok(removed as u64)
    }

    async fn stats(&self, now: Millis, window: Duration) -> Result<CollectionStats, PortError> {
        let state = self.state.lock();
        let targets = || state.targets.values().filter(|target| !target.deleting);
        let healthy = targets().filter(|target| target.health.status == HealthStatus::Healthy).count();
        Ok(state.job_counts(now, window).stats(targets().count() as u64, healthy as u64, window))
    }

    async fn job_counts(&self, now: Millis, window: Duration) -> Result<JobCounts, PortError> {
        Ok(self.state.lock().job_counts(now, window))
    }

    async fn heartbeat(&self, process: &Process, ttl: Duration) -> Result<(), PortError> {
        self.state.lock().processes.insert(process.id, (process.clone(), Instant::now() + ttl));
        Ok(())
    }

    async fn goodbye(&self, process: Uuid) -> Result<(), PortError> {
        self.state.lock().processes.remove(&process);
        Ok(())
    }

    async fn processes(&self) -> Result<Vec<Process>, PortError> {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.processes.retain(|_, (_, until)| *until > now);
        Ok(state.processes.values().map(|(process, _)| process.clone()).collect())
    }
}
