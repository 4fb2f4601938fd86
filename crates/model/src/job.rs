//! Collection jobs: one row for every collection that was done.

use serde::{Deserialize, Serialize};

use crate::series::names;
use crate::{CollectionMethod, Ledger, Millis};

/// How a collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Everything that was received was stored or dropped as configured.
    Completed,
    /// Some samples were refused.
    Partial,
    /// Nothing could be collected.
    Failed,
}

names!(JobStatus { Completed = "completed", Partial = "partial", Failed = "failed" });

/// One row of `collection_jobs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `collection_batch_id` of the batch.
    pub job_id: String,
    /// Target; empty for a push that names none.
    pub target_id: String,
    /// Source.
    pub source_id: String,
    /// How it was collected.
    pub collection_method: CollectionMethod,
    /// How it ended.
    pub status: JobStatus,
    /// Samples stored.
    pub metrics_collected: u64,
    /// Start to parsed.
    pub collection_duration_ms: f64,
    /// `reason: sentence` where it failed.
    pub error_details: Option<String>,
    /// What became of every sample.
    pub ledger: Ledger,
    /// When the collection began.
    pub created_at: Millis,
}
