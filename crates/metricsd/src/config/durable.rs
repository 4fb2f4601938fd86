//! What keeps batches on their way to the store: the spool and the sample log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use metricsd_model::{PromDuration, Secret};
use serde::{Deserialize, Serialize};

use super::size::ByteSize;

/// The section `spool`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Spool {
    pub(super) enabled: bool,
    pub(super) directory: Option<String>,
    pub(super) max_bytes: ByteSize,
    pub(super) after: PromDuration,
    pub(super) order: String,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: None,
            max_bytes: ByteSize(1 << 30),
            after: PromDuration::from_secs(5),
            order: "oldest".to_owned(),
        }
    }
}

/// The section `sample_log`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SampleLog {
    pub(super) brokers: Vec<String>,
    pub(super) topic: String,
    pub(super) partitions: u32,
    pub(super) settings: BTreeMap<String, String>,
}

impl Default for SampleLog {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: "metricsd_samples".to_owned(),
            partitions: 12,
            settings: BTreeMap::new(),
        }
    }
}

/// Where batches wait on disk while the store does not take them.
#[derive(Debug, Clone)]
pub(crate) struct SpoolConfig {
    /// Its folder.
    pub(crate) directory: PathBuf,
    /// Bytes on disk, at most.
    pub(crate) max_bytes: u64,
    /// How long the store may take for a group of batches.
    pub(crate) after: Duration,
    /// Whether new batches go before those that wait.
    pub(crate) newest_first: bool,
}

/// A topic that carries batches to the writers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampleLogConfig {
    /// `host:port`, at least one.
    pub(crate) brokers: Vec<String>,
    /// Where batches are written.
    pub(crate) topic: String,
    /// Of a topic that is made.
    pub(crate) partitions: u32,
    /// For librdkafka as they are.
    pub(crate) settings: BTreeMap<String, Secret>,
}
