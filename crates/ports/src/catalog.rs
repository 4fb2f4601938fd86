//! What metricsd knows beside samples: targets, collection jobs, processes, and events that wait to be published.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{
    BatchId, Health, HealthStatus, Job, JobStatus, MetricsCollected, Millis, OriginKind, Target, TargetSpec,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DiscoveryCatalog, PortError, TokenCatalog};

/// What creating a target found.
#[derive(Debug, Clone)]
pub enum Created {
    /// It is new.
    New(Target),
    /// Its id was taken; this is what stands there, unchanged. The caller compares.
    Existing(Target),
}

/// Which targets to list. An absent field does not narrow.
#[derive(Debug, Clone, Default)]
pub struct TargetFilter {
    /// Of this source.
    pub source_id: Option<String>,
    /// In this health.
    pub health: Option<HealthStatus>,
    /// With all these labels.
    pub labels: Vec<(String, String)>,
    /// Enabled or not.
    pub enabled: Option<bool>,
    /// Asked for by such.
    pub origin: Option<OriginKind>,
    /// Ids that sort after this one.
    pub after: Option<String>,
}

/// What to change of a target. An absent field stays.
#[derive(Debug, Clone, Default)]
pub struct TargetChange {
    /// Scrape it or not. Disabling sets the health to `disabled`, enabling to `unknown`.
    pub enabled: Option<bool>,
    /// All its labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this target.
    pub target_id: Option<String>,
    /// With this outcome.
    pub status: Option<JobStatus>,
    /// Created before this time.
    pub before: Option<Millis>,
}

/// `CollectionStats` of the source document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectionStats {
    /// Targets in the catalogue, those being deleted left out.
    pub total_targets: u64,
    /// Those whose last scrape succeeded.
    pub healthy_targets: u64,
    /// Samples stored since the store was created, by all processes.
    pub total_metrics_collected: u64,
    /// Samples stored a second, over the window.
    pub collection_rate_per_second: f64,
    /// Mean duration of the window's scrapes.
    pub average_scrape_duration_ms: f64,
    /// Share of the window's collections that failed, 0 to 1.
    pub error_rate: f64,
}

/// What [`CollectionStats`] says of collections, in numbers that add up over several stores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JobCounts {
    /// Samples stored since the store was created.
    pub total_stored: u64,
    /// Jobs of the window.
    pub jobs: u64,
    /// Those that failed.
    pub failed: u64,
    /// Samples that they stored.
    pub stored: u64,
    /// Those that were scrapes.
    pub scrapes: u64,
    /// Milliseconds that the scrapes took together.
    pub scrape_ms: f64,
}

impl JobCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total_stored: self.total_stored + other.total_stored,
            jobs: self.jobs + other.jobs,
            failed: self.failed + other.failed,
            stored: self.stored + other.stored,
            scrapes: self.scrapes + other.scrapes,
            scrape_ms: self.scrape_ms + other.scrape_ms,
        }
    }

    /// The statistics that they make with the targets of the catalogue. Of nothing, rates and means are 0.
    pub fn stats(self, total_targets: u64, healthy_targets: u64, window: Duration) -> CollectionStats {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        CollectionStats {
            total_targets,
            healthy_targets,
            total_metrics_collected: self.total_stored,
            collection_rate_per_second: share(self.stored as f64, window.as_secs_f64()),
            average_scrape_duration_ms: share(self.scrape_ms, self.scrapes as f64),
            error_rate: share(self.failed as f64, self.jobs as f64),
        }
    }
}

/// A running process of metricsd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// New at every start.
    pub id: Uuid,
    /// Names of its roles.
    pub roles: Vec<String>,
    /// Address that it listens on.
    pub listen: String,
    /// Version of the binary.
    pub version: String,
}

/// Targets, jobs and processes.
///
/// Target ids are unique. Every change of a target (not of its health) gives it a revision above all revisions that a
/// reader may have seen, so that asking for what came after a revision misses nothing.
///
/// A discovered target changes and goes with what its provider says alone: replacing, changing and deleting it answers
/// `None`, as if there were none.
#[async_trait]
pub trait Catalog: DiscoveryCatalog + TokenCatalog + Send + Sync + 'static {
    /// Creates a target unless its id is taken. Atomic: of two calls at once one finds `New`, the other `Existing`.
    async fn create_target(&self, spec: &TargetSpec) -> Result<Created, PortError>;

    /// One target; `None` where there is none.
    async fn target(&self, target_id: &str) -> Result<Option<Target>, PortError>;

    /// Targets that pass the filter, ordered by id, at most `limit`.
    async fn targets(&self, filter: &TargetFilter, limit: usize) -> Result<Vec<Target>, PortError>;

    /// Replaces what was asked for under `spec.target_id`; health and creation time stay (health as in
    /// [`TargetChange::enabled`] where that changes). A registered target becomes one that stays. `None` where there is no such target or it is being deleted.
    async fn replace_target(&self, spec: &TargetSpec) -> Result<Option<Target>, PortError>;

    /// Changes parts of a target. `None` as in [`Self::replace_target`].
    async fn change_target(
        &self,
        target_id: &str,
        change: &TargetChange,
    ) -> Result<Option<Target>, PortError>;

    /// Marks a target as being deleted, so that its worker stops and says goodbye. `None` where there is none, or it
    /// was discovered and its provider still finds it; asking again changes nothing.
    async fn request_deletion(&self, target_id: &str) -> Result<Option<Target>, PortError>;

    /// Removes a target that is being deleted; answers whether it was there.
    async fn finish_deletion(&self, target_id: &str) -> Result<bool, PortError>;

    /// Asks the target's worker for a scrape now. `None` where there is no such target or it is being deleted.
    async fn request_scrape(&self, target_id: &str, at: Millis) -> Result<Option<Target>, PortError>;

    /// Targets (those being deleted included) whose revision is above `revision`, in order of revision; revision 0
    /// asks for all. Waits up to `wait` for the first change; empty where none came.
    async fn changes(&self, revision: i64, wait: Duration) -> Result<Vec<Target>, PortError>;

    /// Notes targets' health. A health whose `last_scrape` is older than what is noted, an unknown id, or a target
    /// that is disabled changes nothing (a disabled target keeps `disabled`). Does not touch revisions.
    async fn record_health(&self, updates: &[(String, Health)]) -> Result<(), PortError>;

    /// Jobs, newest first, at most `limit`.
    async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, PortError>;

    /// The job of one batch; `None` where there is none, or it was removed.
    async fn job_of(&self, batch: BatchId) -> Result<Option<Job>, PortError>;

    /// Removes jobs created before `before`, at most some thousands a call; answers how many. Their sums stay in the
    /// integrity ledger.
    async fn purge_jobs(&self, before: Millis) -> Result<u64, PortError>;

    /// Statistics over all processes: catalogue now, jobs created in `(now - window, now]`.
    async fn stats(&self, now: Millis, window: Duration) -> Result<CollectionStats, PortError>;

    /// What [`Self::stats`] computes from of jobs: those created in `(now - window, now]`.
    async fn job_counts(&self, now: Millis, window: Duration) -> Result<JobCounts, PortError>;

    /// Says that a process is alive for `ttl` more, by the store's clock.
    async fn heartbeat(&self, process: &Process, ttl: Duration) -> Result<(), PortError>;

    /// Says that a process has gone.
    async fn goodbye(&self, process: Uuid) -> Result<(), PortError>;

    /// Processes that are alive, ordered by id.
    async fn processes(&self) -> Result<Vec<Process>, PortError>;
}

/// An event that waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Place in the outbox.
    pub seq: i64,
    /// What to publish.
    pub event: MetricsCollected,
}

/// Events that were committed with their data and wait to be published.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The oldest events, in order, at most `limit`. Only one relay at a time is given any: the first that asks, for as
    /// long as it asks again within `lease`; to others the outbox looks empty.
    async fn pending(
        &self,
        relay: Uuid,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, PortError>;

    /// Forgets events that were published.
    async fn published(&self, seqs: &[i64]) -> Result<(), PortError>;

    /// How many wait.
    async fn backlog(&self) -> Result<u64, PortError>;
}
