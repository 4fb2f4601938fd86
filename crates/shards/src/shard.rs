//! One shard: a database by its name, which may still have to be opened.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Batch, BatchId, Millis, SeriesId};
use metricsd_ports::{
    Catalog, Compacted, Compaction, CompactionPolicy, ErrorKind, Integrity, LogSink, Membership, Outbox,
    OutboxEvent, PortError, PushedGroups, Receipt, Retention, RolledUp, RollupPolicy, Rollups, SampleSink,
    SampleSource, StoredPush, Unused, Upkeep, WorkQueue, partial,
};
use uuid::Uuid;

/// The ports of one database.
#[derive(Clone)]
pub struct Opened {
    /// Takes its batches.
    pub sink: Arc<dyn SampleSink>,
    /// Reads its samples.
    pub source: Arc<dyn SampleSource>,
    /// Removes its samples.
    pub retention: Arc<dyn Retention>,
    /// Its events.
    pub outbox: Arc<dyn Outbox>,
    /// Its jobs.
    pub jobs: Arc<dyn Catalog>,
    /// Its table of work.
    pub work: Arc<dyn WorkQueue>,
    /// Groups that were pushed.
    pub groups: Arc<dyn PushedGroups>,
    /// Who scrapes what.
    pub membership: Arc<dyn Membership>,
    /// What became of its collections.
    pub integrity: Arc<dyn Integrity>,
    /// Takes batches out of the sample log.
    pub log: Arc<dyn LogSink>,
    /// Turns its frames into segments and rolls them up, where it has segments.
    pub upkeep: Option<Arc<dyn Upkeep>>,
}

impl Opened {
    /// All ports of one store, but for its upkeep.
    pub fn of<S>(store: Arc<S>) -> Self
    where
        S: SampleSink
            + SampleSource
            + Retention
            + Outbox
            + Catalog
            + WorkQueue
            + PushedGroups
            + Membership
            + Integrity
            + LogSink,
    {
        Self {
            sink: store.clone(),
            source: store.clone(),
            retention: store.clone(),
            outbox: store.clone(),
            jobs: store.clone(),
            work: store.clone(),
            groups: store.clone(),
            membership: store.clone(),
            integrity: store.clone(),
            log: store,
            upkeep: None,
        }
    }

    /// The same with its upkeep.
    pub fn kept_up_by(self, upkeep: Arc<dyn Upkeep>) -> Self {
        Self { upkeep: Some(upkeep), ..self }
    }
}

/// One database of several. Calls before it is opened fail as those to a database that is away.
pub struct Shard {
    /// From 1, as people count.
    number: usize,
    /// Where it is, without a password.
    place: String,
    opened: OnceLock<Opened>,
}

/// A read that takes longer asks now and then whether the database is still there.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// A database that is there answers within this.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

impl Shard {
    /// A shard that is opened later. `place` says where it is, fit to be shown to anyone.
    pub fn new(number: usize, place: impl Into<String>) -> Self {
        Self { number, place: place.into(), opened: OnceLock::new() }
    }

    /// A shard that is open.
    pub fn open(number: usize, place: impl Into<String>, opened: Opened) -> Self {
        Self { opened: OnceLock::from(opened), ..Self::new(number, place) }
    }

    /// Opens it, once: what comes later changes nothing.
    pub fn opened(&self, opened: Opened) {
        // Whoever was first opened the same database.
        let _ = self.opened.set(opened);
    }

    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// `shard 2 (db-2/metricsd)`.
    pub fn name(&self) -> String {
        format!("shard {} ({})", self.number, self.place)
    }

    /// Its ports.
    pub fn ports(&self) -> Result<&Opened, PortError> {
        let closed =
            || PortError::new(ErrorKind::Unavailable, "the database was not reached since the start");
        self.opened.get().ok_or_else(closed)
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), PortError> {
        match tokio::time::timeout(PING_TIMEOUT, self.ports()?.sink.ping()).await {
            Ok(answer) => answer,
            Err(_) => Err(PortError::new(ErrorKind::Timeout, format!("no answer within {PING_TIMEOUT:?}"))),
        }
    }

    /// Carries out a call, unless the database goes away meanwhile: one that no longer answers may leave a connection
    /// open for hours.
    pub(crate) async fn watched<T>(
        &self,
        call: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let gone = async {
            loop {
                tokio::time::sleep(WATCH_EVERY).await;
                if let Err(error) = self.ping().await
                    && error.is_retryable()
                {
                    return error;
                }
            }
        };
        tokio::select! {
            biased;
            answer = call => answer,
            error = gone => Err(error),
        }
    }

    /// The same error with this shard's name; one that says that the database is away is meant for the one who asked.
    pub(crate) fn named(&self, error: PortError) -> PortError {
        if !error.is_retryable() || error.told().is_some() {
            return error;
        }
        PortError::new(error.kind(), self.is_away(&error)).for_askers().caused_by(error)
    }

    /// Notes in the question's answer that this shard is missing; `false` where the question does not allow that.
    pub(crate) fn leave_out(&self, error: &PortError) -> bool {
        error.is_retryable() && partial::leave_out(format!("{}; its series are missing", self.is_away(error)))
    }

    fn is_away(&self, error: &PortError) -> String {
        let how = match error.kind() {
            ErrorKind::Timeout => "does not answer in time",
            _ => "cannot be reached",
        };
        format!("{} {how}", self.name())
    }
}

/// Batches of this shard alone: for a writer of its own.
#[async_trait]
impl SampleSink for Shard {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.ports()?.sink.append(batches).await.map_err(|error| self.named(error))
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.ports()?.sink.stored_series(ids).await.map_err(|error| self.named(error))
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.ports()?.sink.stored_pushes(ids).await.map_err(|error| self.named(error))
    }

    async fn ping(&self) -> Result<(), PortError> {
        Self::ping(self).await.map_err(|error| self.named(error))
    }
}

/// Events of this shard alone: for a relay of its own, which no other shard holds up.
#[async_trait]
impl Outbox for Shard {
    async fn pending(
        &self,
        relay: Uuid,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, PortError> {
        self.ports()?.outbox.pending(relay, lease, limit).await.map_err(|error| self.named(error))
    }

    async fn published(&self, seqs: &[i64]) -> Result<(), PortError> {
        self.ports()?.outbox.published(seqs).await.map_err(|error| self.named(error))
    }

    async fn backlog(&self) -> Result<u64, PortError> {
        self.ports()?.outbox.backlog().await.map_err(|error| self.named(error))
    }
}

/// Removal from this shard alone.
#[async_trait]
impl Retention for Shard {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        self.ports()?.retention.remove_before(target_id, before).await.map_err(|error| self.named(error))
    }

    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError> {
        let removed = self.ports()?.retention.remove_others_before(spared, before).await;
        removed.map_err(|error| self.named(error))
    }

    async fn remove_unused(&self, before: Millis) -> Result<Unused, PortError> {
        self.ports()?.retention.remove_unused(before).await.map_err(|error| self.named(error))
    }

    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        self.ports()?.retention.bound_exemplars(newest).await.map_err(|error| self.named(error))
    }
}

/// Compaction of this shard alone.
#[async_trait]
impl Compaction for Shard {
    async fn compact(&self, policy: &CompactionPolicy) -> Result<Compacted, PortError> {
        match &self.ports()?.upkeep {
            Some(upkeep) => upkeep.compact(policy).await.map_err(|error| self.named(error)),
            None => Ok(Compacted::default()),
        }
    }
}

#[async_trait]
impl Rollups for Shard {
    async fn roll_up(&self, policy: &RollupPolicy) -> Result<RolledUp, PortError> {
        match &self.ports()?.upkeep {
            Some(upkeep) => upkeep.roll_up(policy).await.map_err(|error| self.named(error)),
            None => Ok(RolledUp::default()),
        }
    }

    async fn rolled_until(&self, before: Millis) -> Result<Millis, PortError> {
        match &self.ports()?.upkeep {
            Some(upkeep) => upkeep.rolled_until(before).await.map_err(|error| self.named(error)),
            None => Ok(before),
        }
    }
}
