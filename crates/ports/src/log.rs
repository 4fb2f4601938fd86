//! A store that is fed from a log of batches: it keeps with the batches how far the log was read.

use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{Batch, Millis};

use crate::{ErrorKind, PortError, Receipt};

/// A step along one partition of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStep {
    /// The log's name.
    pub log: String,
    /// Its partition.
    pub partition: i32,
    /// Where the partition stood before, as the caller knows it; of one that never moved, any.
    pub from: i64,
    /// Where it stands then: the position of the first record that is not stored.
    pub next: i64,
}

impl LogStep {
    /// What a store answers whose position is not what the step begins with: another has read on.
    pub fn conflict(&self) -> PortError {
        let Self { log, partition, from, .. } = self;
        let message = format!("partition {partition} of the log {log} does not stand at {from} any more");
        PortError::new(ErrorKind::Conflict, message)
    }
}

/// A record of a log that no store takes, kept for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRecord {
    /// The log's name.
    pub log: String,
    /// Its partition.
    pub partition: i32,
    /// The record's position there.
    pub position: i64,
    /// Why it is not stored.
    pub error: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What is told of a record that was parked: all but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEntry {
    /// The log's name.
    pub log: String,
    /// Its partition.
    pub partition: i32,
    /// The record's position there.
    pub position: i64,
    /// Why it is not stored.
    pub error: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Since when.
    pub parked_at: Millis,
}

/// Takes batches out of a log, each once.
#[async_trait]
pub trait LogSink: Send + Sync + 'static {
    /// Appends batches as `SampleSink::append` does and moves positions of the log, in one transaction: whoever reads on
    /// from the positions that are stored reads each record once. Fails with [`crate::ErrorKind::Conflict`], and stores
    /// nothing, where a position is not what the caller believes: another has read on from there.
    async fn append_from_log(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError>;

    /// Where each partition of a log stands, in order of partition; those that never moved are left out.
    async fn log_positions(&self, log: &str) -> Result<Vec<(i32, i64)>, PortError>;

    /// Keeps a record that is not stored and moves past it, in one transaction; fails as [`Self::append_from_log`] does.
    async fn park(&self, record: &ParkedRecord, step: &LogStep) -> Result<(), PortError>;

    /// Records that were parked, newest first, and how many there are. Their bytes stay where they are.
    async fn parked(&self, limit: usize) -> Result<(Vec<ParkedEntry>, u64), PortError>;
}
