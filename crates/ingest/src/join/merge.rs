//! Several batches of one source become one: their samples in the order in which they came, their accounts added up.

use std::collections::{HashMap, HashSet};

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{
    Batch, BatchId, Collection, FamilyMetadata, Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus,
    JoinedPush, MetricType, Millis, Refusal, TypeCounts,
};

use crate::BatchBuilder;
use crate::builder::Added;

/// Joins batches of one source and target; `None` of none. A sample that an earlier one has of the same series and time is
/// not stored again, and stands in the ledger as a duplicate: of two such batches stored apart the first would be read.
pub(super) fn merge(batches: &[Batch]) -> Option<Batch> {
    let (first, others) = batches.split_first()?;
    let samples = batches.iter().map(Batch::samples).sum();
    let builder = BatchBuilder::with_capacity(samples);
    let mut joined = Joined { builder, types: TypeCounts::default(), repeated: 0 };
    let mut collection = first.collection.clone();
    let mut counts = vec![joined.take(&first.frames)];
    for batch in others {
        counts.push(joined.take(&batch.frames));
        add(&mut collection, &batch.collection);
    }
    let ledger = &mut collection.ledger;
    if joined.repeated > 0 {
        *ledger.refused.entry(Refusal::Duplicate).or_default() += joined.repeated;
    }
    ledger.stored = joined.builder.len() as u64;
    collection.types = joined.types;
    judge(&mut collection, batches.iter().any(|batch| batch.collection.status != JobStatus::Completed));
    let exemplars = batches.iter().flat_map(|batch| batch.exemplars.iter().cloned()).collect();
    let (families, families_of) = distinct_families(batches);
    let ids: Vec<BatchId> = batches.iter().map(|batch| batch.id).collect();
    let id = BatchId::for_joined(&collection.source_id, &ids);
    let batch = joined.builder.finish(id, collection);
    let columns = |of: HashMap<i64, u32>| {
        let in_hour = |frame: &Frame| of.get(&hour(frame.time)).copied().unwrap_or(0);
        batch.frames.iter().map(in_hour).collect()
    };
    let pushes = batches.iter().zip(counts).zip(families_of);
    let joined = pushes.map(|((of, counts), families)| JoinedPush {
        id: of.id,
        columns: columns(counts),
        exemplars: count(of.exemplars.len()),
        families: count(families),
    });
    let joined = joined.collect();
    Some(Batch { exemplars, families, joined, protocol: first.protocol, ..batch })
}

/// Each statement once, in the order in which they came, and how many new ones each batch brought.
fn distinct_families(batches: &[Batch]) -> (Vec<FamilyMetadata>, Vec<usize>) {
    let (mut seen, mut families, mut counts) = (HashSet::new(), Vec::new(), Vec::new());
    for batch in batches {
        let before = families.len();
        families.extend(batch.families.iter().filter(|family| seen.insert(*family)).cloned());
        counts.push(families.len() - before);
    }
    (families, counts)
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Frames hold an hour each.
fn hour(time: Millis) -> i64 {
    time.div_euclid(FRAME_BUCKET_MILLIS)
}

struct Joined {
    builder: BatchBuilder,
    types: TypeCounts,
    repeated: u64,
}

impl Joined {
    /// Answers how many samples of each hour were added.
    fn take(&mut self, frames: &[Frame]) -> HashMap<i64, u32> {
        let mut counts = HashMap::new();
        for frame in frames {
            let mut histograms = frame.histograms.iter().peekable();
            for (column, (series, value)) in frame.layout.series.iter().zip(&frame.values).enumerate() {
                let at = frame.timestamp(column);
                let histogram = match value.to_bits() {
                    HISTOGRAM_MARKER_BITS => histograms.next_if(|(place, _)| *place as usize == column),
                    _ => None,
                };
                let (added, kind) = match histogram {
                    Some((_, histogram)) => {
                        (self.builder.push_histogram(series, at, histogram.clone()), MetricType::Histogram)
                    }
                    None => (self.builder.push_float(series, series.id, at, *value), series.metric_type),
                };
                match added {
                    Added::New => {
                        self.types.add(kind);
                        *counts.entry(hour(at)).or_default() += 1;
                    }
                    Added::Repeated | Added::Conflicting => self.repeated += 1,
                }
            }
        }
        counts
    }
}

fn add(to: &mut Collection, more: &Collection) {
    to.started = to.started.min(more.started);
    to.duration_ms = to.duration_ms.max(more.duration_ms);
    to.error = to.error.take().or_else(|| more.error.clone());
    to.ledger.received += more.ledger.received;
    to.ledger.dropped += more.ledger.dropped;
    for (reason, count) in &more.ledger.refused {
        *to.ledger.refused.entry(*reason).or_default() += count;
    }
}

/// What was refused of one push makes the whole a partial success; what only came twice does not.
fn judge(collection: &mut Collection, at_fault: bool) {
    let nothing = collection.ledger.stored == 0;
    collection.status = match at_fault {
        false => JobStatus::Completed,
        true if nothing => JobStatus::Failed,
        true => JobStatus::Partial,
    };
    collection.health = if at_fault && nothing { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
}
