//! What a client pushes: checked item by item, so that a bad one harms none of its neighbours.

use std::sync::Arc;

use metricsd_model::batch::content_key;
use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, HealthStatus, JobStatus, LabelSet, Ledger, METRIC_NAME,
    MetricSource, MetricType, Millis, Refusal, SampleValue, Series, SeriesId, TypeCounts,
};
use metricsd_ports::Receipt;

use crate::remote_write::{SeenLists, SeriesCache, may_store};
use crate::validate::{Fault, check_labels, check_metric_name, check_timestamp};
use crate::{
    Acquaintance, Admission, BatchBuilder, Caller, GroupCommit, IngestError, IngestMetrics, Limits, Protocol,
    SeriesTracker,
};

/// One pushed sample, as decoded.
#[derive(Debug, Clone)]
pub struct PushSample {
    /// Place in the request, for the answer.
    pub index: usize,
    /// Metric name.
    pub name: String,
    /// Labels, the name left out; in any order.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: SampleValue,
    /// Absent: the time of arrival.
    pub timestamp: Option<Millis>,
    /// Declared type.
    pub metric_type: MetricType,
    /// Declared kind of source.
    pub source_type: MetricSource,
    /// Help text.
    pub help: Option<String>,
    /// Unit.
    pub unit: Option<String>,
}

/// One push request.
#[derive(Debug, Clone)]
pub struct Push {
    /// Who pushes; at most 100 characters.
    pub source_id: String,
    /// Target that the push speaks for; usually empty.
    pub target_id: String,
    /// How it came.
    pub method: CollectionMethod,
    /// The client's `Idempotency-Key`; absent: the body's content decides.
    pub idempotency_key: Option<String>,
    /// Hash of the body (see [`content_key`]).
    pub content: [u8; 16],
    /// Arrival.
    pub received_at: Millis,
    /// Who was let in to push it: its quotas are used up by it.
    pub caller: Caller,
    /// What the body held and could be read.
    pub samples: Vec<PushSample>,
    /// What the body held and could not be read.
    pub unreadable: Vec<Rejected>,
}

/// One item that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Place in the request.
    pub index: usize,
    /// Closed-set reason.
    pub reason: Refusal,
    /// Which field was wrong.
    pub field: String,
    /// What was wrong with it, and what is expected.
    pub message: String,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Under which it was, or had been, stored.
    pub id: BatchId,
    /// `collection_batch_id`.
    pub batch_id: String,
    /// The batch was stored before; this request changed nothing.
    pub duplicate: bool,
    /// Items stored.
    pub accepted: u64,
    /// Items not stored, in order of index.
    pub rejected: Vec<Rejected>,
}

/// The door for pushes.
#[derive(Clone)]
pub struct Ingest {
    commit: GroupCommit,
    limits: Arc<Limits>,
    writers: Arc<SeriesCache>,
    lists: Arc<SeenLists>,
}

impl Ingest {
    /// Builds the door before a store.
    pub fn new(commit: GroupCommit, limits: Arc<Limits>) -> Self {
        let writers = Arc::new(SeriesCache::new(limits.max_write_cache_bytes));
        let lists = Arc::new(SeenLists::new(limits.max_write_cache_bytes / 8));
        Self { commit, limits, writers, lists }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is remembered of remote writers' series.
    pub(crate) fn write_cache(&self) -> &SeriesCache {
        &self.writers
    }

    /// What is remembered of the lists of series that remote writers sent.
    pub(crate) fn seen_lists(&self) -> &SeenLists {
        &self.lists
    }

    /// Which series may come.
    pub fn series(&self) -> &Arc<SeriesTracker> {
        self.commit.series()
    }

    pub(crate) fn metrics(&self) -> &IngestMetrics {
        self.commit.metrics()
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Receipt, IngestError> {
        self.commit.append(batch).await
    }

    /// Checks and stores one push. On `Ok` everything that was accepted is committed.
    pub async fn push(&self, push: Push) -> Result<Pushed, IngestError> {
        let started = std::time::Instant::now();
        let Judged { builder, types, rejected } = self.judge(&push).await?;
        let mut ledger =
            Ledger { received: (push.samples.len() + push.unreadable.len()) as u64, ..Ledger::default() };
        for item in &rejected {
            ledger.refuse(item.reason);
        }
        ledger.stored = builder.len() as u64;
        let accepted = ledger.stored;
        let id = batch_id(&push, accepted);
        let collection = Collection {
            source_id: push.source_id,
            target_id: push.target_id,
            method: push.method,
            started: push.received_at,
            duration_ms: started.elapsed().as_secs_f64() * 1e3,
            status: status(accepted, rejected.len()),
            health: if accepted > 0 || rejected.is_empty() {
                HealthStatus::Healthy
            } else {
                HealthStatus::Unhealthy
            },
            reason: None,
            error: rejected.first().map(|item| format!("item {}: {}", item.index, item.message)),
            ledger,
            types,
        };
        let batch_id = id.collection_batch_id(push.received_at);
        let batch = builder.finish(id, collection);
        let (received, refused) = (batch.collection.ledger.received, batch.collection.ledger.refused.clone());
        let counts = &self.metrics().pushes;
        counts.received(Protocol::Custom, received);
        if let Err(denied) = may_store(&push.caller, Some(&batch), received) {
            counts.refused(Protocol::Custom, denied.reason(), received);
            return Err(denied.into());
        }
        let receipt = self.commit(batch).await.inspect_err(|_| push.caller.put_back_samples(received))?;
        let duplicate = receipt == Receipt::Duplicate;
        if duplicate {
            counts.duplicate(Protocol::Custom);
        } else {
            counts.stored(Protocol::Custom, accepted);
            for (reason, count) in refused {
                counts.refused(Protocol::Custom, reason.as_str(), count);
            }
        }
        Ok(Pushed { id, batch_id, duplicate, accepted, rejected })
    }

    /// What of a push can be stored. A limit on series may refuse what the store knows; then it is asked.
    async fn judge(&self, push: &Push) -> Result<Judged, IngestError> {
        let mut admission = self.commit.series().admission(&push.source_id);
        let judged = self.judge_once(push, &mut admission);
        if admission.in_doubt() && admission.settle().await? {
            return Ok(self.judge_once(push, &mut admission));
        }
        Ok(judged)
    }

    fn judge_once(&self, push: &Push, admission: &mut Admission) -> Judged {
        let mut rejected = push.unreadable.clone();
        let mut types = TypeCounts::default();
        let mut builder = BatchBuilder::default();
        for sample in &push.samples {
            match self.admit(push, sample, &mut builder, admission) {
                Ok(()) => types.add(sample.metric_type),
                Err(fault) => rejected.push(Rejected {
                    index: sample.index,
                    reason: fault.reason,
                    field: fault.field,
                    message: fault.message,
                }),
            }
        }
        rejected.sort_by_key(|item| item.index);
        Judged { builder, types, rejected }
    }

    fn admit(
        &self,
        push: &Push,
        sample: &PushSample,
        builder: &mut BatchBuilder,
        admission: &mut Admission,
    ) -> Result<(), Fault> {
        check_metric_name(&sample.name, &self.limits)?;
        check_labels(&sample.labels, &self.limits)?;
        let timestamp = sample.timestamp.unwrap_or(push.received_at);
        check_timestamp(timestamp, push.received_at, &self.limits)?;
        let name = [(METRIC_NAME, sample.name.as_str())];
        let pairs = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels =
            LabelSet::new(name.into_iter().chain(pairs)).map_err(|error| Fault::label(error.to_string()))?;
        let id = SeriesId::of(&labels);
        admission.admit(id, Acquaintance::New).map_err(|reason| admission.fault(reason))?;
        let series = Series {
            id,
            labels,
            metric_type: sample.metric_type,
            source_type: sample.source_type,
            source: push.source_id.as_str().into(),
            target_id: push.target_id.as_str().into(),
            help: sample.help.as_deref().map(Into::into),
            unit: sample.unit.as_deref().map(Into::into),
        };
        if builder.push_unique(Arc::new(series), timestamp, sample.value.clone()) {
            Ok(())
        } else {
            Err(Fault::new(
                Refusal::Duplicate,
                "timestamp",
                "the same series has two values at this time in one request",
            ))
        }
    }
}

/// A push, item by item.
struct Judged {
    builder: BatchBuilder,
    types: TypeCounts,
    /// In order of index.
    rejected: Vec<Rejected>,
}

/// The client's key decides, or the content. A push of which nothing is accepted does not take the key: its corrected
/// repeat under the same key must be stored.
fn batch_id(push: &Push, accepted: u64) -> BatchId {
    match &push.idempotency_key {
        Some(_) if accepted == 0 => {
            let key = [b"rejected".as_slice(), &push.content, &push.received_at.to_le_bytes()].concat();
            BatchId::for_push(&push.source_id, &key)
        }
        Some(key) => BatchId::for_push(&push.source_id, key.as_bytes()),
        None => BatchId::for_push(&push.source_id, &push.content),
    }
}

fn status(accepted: u64, rejected: usize) -> JobStatus {
    match (accepted, rejected) {
        (_, 0) => JobStatus::Completed,
        (0, _) => JobStatus::Failed,
        _ => JobStatus::Partial,
    }
}

/// The key of a body without an `Idempotency-Key`, over the bytes as they were decoded.
pub fn content_of(body: &[u8]) -> [u8; 16] {
    content_key(body)
}
