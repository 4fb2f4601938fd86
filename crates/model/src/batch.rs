//! A batch: what one scrape or one push brought, on its way to the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::series::names;
use crate::{
    CollectionMethod, FailureReason, FamilyMetadata, HealthStatus, JobStatus, MetricType, Millis,
    NativeHistogram, Protocol, Series, SeriesExemplar, SeriesId,
};

/// Frames never cross a multiple of this (one hour), so that whole chunks of frames can be compacted and dropped.
pub const FRAME_BUCKET_MILLIS: i64 = 3_600_000;

/// The idempotency key of a batch: appending two batches of one id stores the first of them only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u128);

impl BatchId {
    /// The id of one scheduled scrape. Two workers that both believe they own the target arrive at the same id.
    pub fn for_scrape(target_id: &str, scheduled: Millis) -> Self {
        Self::hash("scrape", target_id, &scheduled.to_le_bytes())
    }

    /// The id of a push: its `Idempotency-Key`, or its content where it has none.
    pub fn for_push(source_id: &str, key: &[u8]) -> Self {
        Self::hash("push", source_id, key)
    }

    /// The id of a collection that pushes were joined into: of the same pushes in the same order the same.
    pub fn for_joined(source_id: &str, pushes: &[Self]) -> Self {
        let key: Vec<u8> = pushes.iter().flat_map(|push| push.0.to_le_bytes()).collect();
        Self::hash("joined", source_id, &key)
    }

    fn hash(kind: &str, owner: &str, key: &[u8]) -> Self {
        let mut hasher = Xxh3::new();
        for part in [kind.as_bytes(), owner.as_bytes(), key] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.digest128())
    }

    /// As databases keep it.
    pub fn to_uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    /// `batch_YYYYMMDD_N…`: the day of the collection and the id in decimal. Unique, and the same on every repeat.
    pub fn collection_batch_id(self, started: Millis) -> String {
        let day = chrono::DateTime::from_timestamp_millis(started).unwrap_or_default().format("%Y%m%d");
        format!("batch_{day}_{}", self.0)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({:032x})", self.0)
    }
}

/// A stable 64-bit name of a list of series ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayoutId(pub u64);

/// The columns of a frame: which series its values belong to, in order.
#[derive(Debug, Clone)]
pub struct Layout {
    /// `Some` where the list is likely to come again and is stored once (scrapes);
    /// `None` where the ids travel in the frame (pushes, staleness markers).
    pub id: Option<LayoutId>,
    /// Ids as ingest computed them, one a column.
    pub ids: Vec<SeriesId>,
    /// What each column's series is; same length as `ids`. A store writes those that it does not know yet.
    pub series: Vec<Arc<Series>>,
}

impl Layout {
    /// A layout that is stored once and shared by many frames. Its series must be distinct.
    pub fn shared(series: Vec<Arc<Series>>) -> Arc<Self> {
        let ids: Vec<SeriesId> = series.iter().map(|series| series.id).collect();
        Arc::new(Self { id: Some(Self::id_of(&ids)), ids, series })
    }

    /// A layout for one frame only.
    pub fn inline(series: Vec<Arc<Series>>) -> Arc<Self> {
        let ids = series.iter().map(|series| series.id).collect();
        Arc::new(Self { id: None, ids, series })
    }

    /// The id of a list of series: stable across processes, as frames refer to it.
    pub fn id_of(ids: &[SeriesId]) -> LayoutId {
        let mut hasher = Xxh3::new();
        let mut bytes = [0; 1_024];
        for part in ids.chunks(bytes.len() / 8) {
            for (place, id) in bytes.chunks_exact_mut(8).zip(part) {
                place.copy_from_slice(&id.0.to_le_bytes());
            }
            hasher.update(bytes.get(..part.len() * 8).unwrap_or_default());
        }
        LayoutId(hasher.digest())
    }
}

/// One row of the `frames` table: one value for each column of its layout.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which series.
    pub layout: Arc<Layout>,
    /// The timestamp of all samples, or the earliest where `offsets` says more.
    pub time: Millis,
    /// Milliseconds to add to `time`, one a column; absent when all samples share `time`.
    /// `time + offset` stays within the same hour (see [`FRAME_BUCKET_MILLIS`]).
    pub offsets: Option<Vec<i32>>,
    /// One a column. [`crate::STALE_NAN_BITS`] ends a series, [`crate::HISTOGRAM_MARKER_BITS`] points to `histograms`.
    pub values: Vec<f64>,
    /// Native histograms with the column that each stands in, in order of column.
    pub histograms: Vec<(u32, NativeHistogram)>,
}

impl Frame {
    /// Timestamp of a column's sample.
    pub fn timestamp(&self, column: usize) -> Millis {
        self.time + self.offsets.as_ref().map_or(0, |offsets| i64::from(offsets[column]))
    }

    /// Bytes that the frame takes in queues, approximately.
    pub fn size(&self) -> usize {
        64 + self.values.len() * if self.offsets.is_some() { 12 } else { 8 } + self.histograms.len() * 256
    }
}

/// Why a sample was not stored. A closed set, small enough to be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The same series twice at one timestamp within a batch.
    Duplicate,
    /// Older than `limits.max_sample_age`.
    TooOld,
    /// Further ahead than `limits.max_sample_future`.
    TooNew,
    /// A metric name that is missing, malformed or too long.
    InvalidName,
    /// A label that is malformed, reserved or too long.
    InvalidLabel,
    /// A value or a field that does not read.
    InvalidValue,
    /// More labels than allowed.
    LabelLimit,
    /// More samples in the batch than allowed.
    SampleLimit,
    /// A new series of a source that has `limits.max_active_series_per_source`.
    SeriesLimit,
    /// A new series of a source that brings more than `limits.max_new_series_per_minute_per_source`.
    SeriesRateLimit,
}

names!(Refusal {
    Duplicate = "duplicate",
    TooOld = "too_old",
    TooNew = "too_new",
    InvalidName = "invalid_name",
    InvalidLabel = "invalid_label",
    InvalidValue = "invalid_value",
    LabelLimit = "label_limit",
    SampleLimit = "sample_limit",
    SeriesLimit = "series_limit",
    SeriesRateLimit = "series_rate_limit",
});

/// Why a scrape that was due was not done. A closed set, small enough to be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The scrape before was still under way.
    Busy,
    /// The process slept past it.
    Late,
    /// As many scrapes as are allowed at once were under way.
    Concurrency,
    /// What waits for the store had no room left.
    QueueFull,
    /// Scrapes are fewer while what waits for the store has little room left.
    Stretched,
    /// It was done and could not be stored.
    NotStored,
    /// Nobody held the target's lease: its process was killed, or cut off.
    Unowned,
}

names!(Missed {
    Busy = "busy",
    Late = "late",
    Concurrency = "concurrency",
    QueueFull = "queue_full",
    Stretched = "stretched",
    NotStored = "not_stored",
    Unowned = "unowned",
});

/// Where a batch waited between its collection and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waited {
    /// In the local spool: the store was away or slow.
    Spool,
    /// In the sample log.
    Log,
}

names!(Waited { Spool = "spool", Log = "log" });

/// What became of a collection's samples: `received = dropped + refused + stored`.
/// Samples that metricsd adds itself (`up`, staleness markers) are not among these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Samples that the page or the body held.
    pub received: u64,
    /// Dropped by filters, as configured.
    pub dropped: u64,
    /// Not stored, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Handed to the store.
    pub stored: u64,
    /// Samples that metricsd added itself. A store counts them as it writes the job row, whatever stands here.
    #[serde(default)]
    pub added: u64,
    /// Scrapes of this target that were due since its last collection and were not done, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missed: BTreeMap<Missed, u64>,
    /// Where the batch waited, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<Waited>,
}

impl Ledger {
    /// Counts one refused sample.
    pub fn refuse(&mut self, reason: Refusal) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// All refused samples.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Received samples of which it is not known what became of them: 0, or there is a fault.
    pub fn unexplained(&self) -> i64 {
        let explained = u128::from(self.dropped) + u128::from(self.refused_total()) + u128::from(self.stored);
        let difference = i128::from(self.received) - i128::try_from(explained).unwrap_or(i128::MAX);
        i64::try_from(difference).unwrap_or(i64::MAX)
    }
}

/// Stored samples by the type of their metric, for the event's summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCounts {
    /// Samples of counters.
    pub counters: u64,
    /// Samples of gauges, and of metrics whose type nobody declared.
    pub gauges: u64,
    /// Samples of histograms: buckets, sums and counts.
    pub histograms: u64,
    /// Samples of summaries: quantiles, sums and counts.
    pub summaries: u64,
}

impl TypeCounts {
    /// Counts one sample.
    pub fn add(&mut self, metric_type: MetricType) {
        match metric_type {
            MetricType::Counter => self.counters += 1,
            MetricType::Gauge | MetricType::Custom => self.gauges += 1,
            MetricType::Histogram => self.histograms += 1,
            MetricType::Summary => self.summaries += 1,
        }
    }
}

/// What is known of a collection: becomes its job row and its event, in the transaction that stores its samples.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Who the metrics belong to; key of the event.
    pub source_id: String,
    /// Where they were collected; empty for a push that names no target.
    pub target_id: String,
    /// How.
    pub method: CollectionMethod,
    /// When the collection began.
    pub started: Millis,
    /// From start until the samples were parsed and ready to store.
    pub duration_ms: f64,
    /// Outcome.
    pub status: JobStatus,
    /// The target's health after it.
    pub health: HealthStatus,
    /// Closed-set reason where it failed.
    pub reason: Option<FailureReason>,
    /// A sentence for people where it failed.
    pub error: Option<String>,
    /// What became of the samples.
    pub ledger: Ledger,
    /// Stored samples by type.
    pub types: TypeCounts,
}

/// Which worker scraped, and what it knew of who owns the target: the store refuses what has another owner by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The worker, by its lease.
    pub member: uuid::Uuid,
    /// The last change of the table of owners that it knew.
    pub epoch: u64,
    /// The target's bucket.
    pub bucket: u16,
    /// When the scrape was scheduled.
    pub slot: Millis,
}

/// One of the pushes that were joined into a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedPush {
    /// The id that it would have had alone.
    pub id: BatchId,
    /// How many columns of each frame are its own, one number a frame. They follow those of the push before it.
    pub columns: Vec<u32>,
    /// How many exemplars are its own, in the same way.
    pub exemplars: u32,
    /// How many families are its own: those that no push before it told of.
    pub families: u32,
}

/// All that one collection stores, in one transaction or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Idempotency key.
    pub id: BatchId,
    /// Job and event.
    pub collection: Collection,
    /// Samples; usually one frame.
    pub frames: Vec<Frame>,
    /// Examples of single observations, in no order; a store keeps each (series, timestamp, labels) once.
    pub exemplars: Vec<SeriesExemplar>,
    /// What the sender says of metric families, whether or not samples of them are in this batch.
    pub families: Vec<FamilyMetadata>,
    /// Who scraped it, where several workers share the targets.
    pub fence: Option<Fence>,
    /// What it was pushed by; `None` where it was scraped.
    pub protocol: Option<Protocol>,
    /// The pushes that were joined into it, by which a store knows those that come again and leaves them out. Empty where
    /// its own id says all.
    pub joined: Vec<JoinedPush>,
}

/// What a batch costs beside its samples while it waits: strings, the account, the task that waits for the answer.
const WAITING_BYTES: usize = 4 << 10;

impl Batch {
    /// A batch of samples alone.
    pub fn new(id: BatchId, collection: Collection, frames: Vec<Frame>) -> Self {
        Self {
            id,
            collection,
            frames,
            exemplars: Vec::new(),
            families: Vec::new(),
            fence: None,
            protocol: None,
            joined: Vec::new(),
        }
    }

    /// Bytes that the batch takes in queues, approximately.
    pub fn size(&self) -> usize {
        let texts =
            (self.exemplars.len() + self.families.len()) * 256 + self.joined.len() * size_of::<JoinedPush>();
        WAITING_BYTES + texts + self.frames.iter().map(Frame::size).sum::<usize>()
    }

    /// All samples, those that metricsd adds included.
    pub fn samples(&self) -> usize {
        self.frames.iter().map(|frame| frame.values.len()).sum()
    }

    /// Samples that metricsd added itself.
    pub fn added(&self) -> u64 {
        (self.samples() as u64).saturating_sub(self.collection.ledger.stored)
    }
}

/// A content hash for pushes that carry no `Idempotency-Key`.
pub fn content_key(body: &[u8]) -> [u8; 16] {
    xxh3_128(body).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a replayed batch is no longer recognised. Do not change the values.
    #[test]
    fn batch_ids_are_pinned() {
        assert_eq!(BatchId::for_scrape("node-1", 1_750_500_000_000).0, GOLDEN_SCRAPE);
        let id = BatchId(42).collection_batch_id(1_750_500_000_000);
        assert_eq!(id, "batch_20250621_42");
        assert_ne!(BatchId::for_push("a", b"bc"), BatchId::for_push("ab", b"c"));
        assert_eq!(Layout::id_of(&[SeriesId(1), SeriesId(2)]).0, GOLDEN_LAYOUT);
    }

    const GOLDEN_SCRAPE: u128 = 0xc4a17cc24d0e7fe7230608d6d948deed;
    const GOLDEN_LAYOUT: u64 = 0x7ee86c281446bef;
}
