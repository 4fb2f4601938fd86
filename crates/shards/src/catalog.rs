//! The catalogue: targets and processes at home, jobs where their samples are.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join;
use metricsd_model::{BatchId, Health, Job, Millis, Target, TargetSpec};
use metricsd_ports::{
    Catalog, CollectionStats, Created, JobCounts, JobFilter, PortError, Process, TargetChange, TargetFilter,
};
use uuid::Uuid;

use crate::ShardedStore;

#[async_trait]
impl Catalog for ShardedStore {
    async fn create_target(&self, spec: &TargetSpec) -> Result<Created, PortError> {
        self.home.create_target(spec).await
    }

    async fn target(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        self.home.target(target_id).await
    }

    async fn targets(&self, filter: &TargetFilter, limit: usize) -> Result<Vec<Target>, PortError> {
        self.home.targets(filter, limit).await
    }

    async fn replace_target(&self, spec: &TargetSpec) -> Result<Option<Target>, PortError> {
        self.home.replace_target(spec).await
    }

    async fn change_target(
        &self,
        target_id: &str,
        change: &TargetChange,
    ) -> Result<Option<Target>, PortError> {
        self.home.change_target(target_id, change).await
    }

    async fn request_deletion(&self, target_id: &str) -> Result<Option<Target>, PortError> {
        self.home.request_deletion(target_id).await
    }

    async fn finish_deletion(&self, target_id: &str) -> Result<bool, PortError> {
        self.home.finish_deletion(target_id).await
    }

    async fn request_scrape(&self, target_id: &str, at: Millis) -> Result<Option<Target>, PortError> {
        self.home.request_scrape(target_id, at).await
    }

    async fn changes(&self, revision: i64, wait: Duration) -> Result<Vec<Target>, PortError> {
        self.home.changes(revision, wait).await
    }

    async fn record_health(&self, updates: &[(String, Health)]) -> Result<(), PortError> {
        self.home.record_health(updates).await
    }

    /// Each shard's newest, of which the newest of all are among them: what was created before a job can be asked for
    /// as of one store.
    async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, PortError> {
        let found = self.ask_all(|shard| shard.jobs.jobs(filter, limit)).await?;
        let mut jobs: Vec<Job> = found.into_iter().flatten().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
        let mut seen = HashSet::new();
        // A batch that was sent again after the list of shards changed has a job on two.
        jobs.retain(|job| seen.insert(job.job_id.clone()));
        jobs.truncate(limit);
        Ok(jobs)
    }

    async fn job_of(&self, batch: BatchId) -> Result<Option<Job>, PortError> {
        let found = self.ask_each(|shard| shard.jobs.job_of(batch)).await;
        // Only where nobody has it does it matter who did not answer.
        let mut failed = None;
        for answer in found {
            match answer {
                Ok(Some(job)) => return Ok(Some(job)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn purge_jobs(&self, before: Millis) -> Result<u64, PortError> {
        self.remove_all(|shard| shard.jobs.purge_jobs(before)).await
    }

    async fn stats(&self, now: Millis, window: Duration) -> Result<CollectionStats, PortError> {
        let (home, counts) = try_join(self.home.stats(now, window), self.job_counts(now, window)).await?;
        Ok(counts.stats(home.total_targets, home.healthy_targets, window))
    }

    async fn job_counts(&self, now: Millis, window: Duration) -> Result<JobCounts, PortError> {
        let counts = self.ask_all(|shard| shard.jobs.job_counts(now, window)).await?;
        Ok(counts.into_iter().fold(JobCounts::default(), JobCounts::plus))
    }

    async fn heartbeat(&self, process: &Process, ttl: Duration) -> Result<(), PortError> {
        self.home.heartbeat(process, ttl).await
    }

    async fn goodbye(&self, process: Uuid) -> Result<(), PortError> {
        self.home.goodbye(process).await
    }

    async fn processes(&self) -> Result<Vec<Process>, PortError> {
        self.home.processes().await
    }
}
