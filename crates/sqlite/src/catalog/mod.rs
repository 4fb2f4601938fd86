//! Targets, jobs and processes.

mod discovery;
mod health;
mod jobs;
mod members;
mod processes;
mod pushed;
mod targets;
mod tokens;

use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{BatchId, Health, Job, Millis, Target, TargetSpec};
use metricsd_ports::{
    Catalog, CollectionStats, Created, JobCounts, JobFilter, PortError, Process, TargetChange, TargetFilter,
};
use metricsd_store::targets::create_at_once;
use tokio::time::Instant;
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::Fault;

/// How often those who wait for changes look whether another process made some.
const POLL: Duration = Duration::from_millis(500);

#[async_trait]
impl Catalog for SqliteStore {
    async fn create_target(&self, spec: &TargetSpec) -> Result<Created, PortError> {
        let store = self;
        let work = |specs| {
            create_at_once(specs, |specs| async move {
                told("create targets", targets::create_all(store, &specs).await)
            })
        };
        match self.creating.call(spec.clone(), work).await.flatten() {
            Some(created) => created,
            None => told("create the target", targets::create(self, spec).await),
        }
    }

    async fn target(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        told("read the target", targets::one(self, &self.readers, target_id).await)
    }

    async fn targets(&self, filter: &TargetFilter, limit: usize) -> Result<Vec<Target>, PortError> {
        told("list targets", targets::list(self, filter, limit).await)
    }

    async fn replace_target(&self, spec: &TargetSpec) -> Result<Option<Target>, PortError> {
        told("replace the target", targets::replace(self, spec).await)
    }

    async fn change_target(
        &self,
        target_id: &str,
        change: &TargetChange,
    ) -> Result<Option<Target>, PortError> {
        told("change the target", targets::change(self, target_id, change).await)
    }

    async fn request_deletion(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        told("mark the target for deletion", targets::request_deletion(self, target_id).await)
    }

    async fn finish_deletion(&self, target_id: &str) -> Result<bool, PortError> {
        told("remove the target", targets::finish_deletion(self, target_id).await)
    }

    async fn request_scrape(&self, target_id: &str, at: Millis) -> Result<Option<Target>, PortError> {
        told("request a scrape", targets::request_scrape(self, target_id, at).await)
    }

    async fn changes(&self, revision: i64, wait: Duration) -> Result<Vec<Target>, PortError> {
        let deadline = Instant::now().checked_add(wait);
        // Before the first look, so that a change after it is not slept through.
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let targets = told("read changes", targets::changes(self, revision).await)?;
            let left = deadline.map_or(POLL, |deadline| deadline.saturating_duration_since(Instant::now()));
            if !targets.is_empty() || left.is_zero() {
                return Ok(targets);
            }
            // Either way it is time to look again.
            let _ = tokio::time::timeout(left.min(POLL), changed.changed()).await;
        }
    }

    async fn record_health(&self, updates: &[(String, Health)]) -> Result<(), PortError> {
        told("record health", health::record(self, updates).await)
    }

    async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, PortError> {
        told("list jobs", jobs::list(self, filter, limit).await)
    }

    async fn job_of(&self, batch: BatchId) -> Result<Option<Job>, PortError> {
        told("read the job", jobs::of_batch(self, batch).await)
    }

    async fn purge_jobs(&self, before: Millis) -> Result<u64, PortError> {
        told("purge jobs", jobs::purge(self, before).await)
    }

    async fn stats(&self, now: Millis, window: Duration) -> Result<CollectionStats, PortError> {
        told("read statistics", jobs::stats(self, now, window).await)
    }

    async fn job_counts(&self, now: Millis, window: Duration) -> Result<JobCounts, PortError> {
        told("count jobs", jobs::job_counts(self, now, window).await)
    }

    async fn heartbeat(&self, process: &Process, ttl: Duration) -> Result<(), PortError> {
        told("record a heartbeat", processes::heartbeat(self, process, ttl).await)
    }

    async fn goodbye(&self, process: Uuid) -> Result<(), PortError> {
        told("forget a process", processes::goodbye(self, process).await)
    }

    async fn processes(&self) -> Result<Vec<Process>, PortError> {
        told("list processes", processes::list(self).await)
    }
}

/// The same in the words of the ports; `what` was being done.
fn told<T>(what: &str, result: Result<T, Fault>) -> Result<T, PortError> {
    result.map_err(|fault| fault.into_port(what))
}
