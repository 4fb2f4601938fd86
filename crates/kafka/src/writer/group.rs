//! What a member of the group hears, and what it does with a group of records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use metricsd_model::Batch;
use metricsd_ports::{ErrorKind, LogStep, ParkedRecord, PortError, Receipt};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Entry, LogWriter, PAUSE};
use crate::KafkaOptions;
use crate::context::Context;

/// Counts how often the partitions of this member were given or taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Assigned(Arc<AtomicU64>);

impl Assigned {
    pub(super) fn generation(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Hears one member's messages.
pub(super) struct Member {
    context: Context,
    assigned: Assigned,
}

impl Member {
    pub(super) fn new(options: &Arc<KafkaOptions>, assigned: Assigned) -> Self {
        Self { context: Context::new(options), assigned }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.assigned.0.fetch_add(1, Ordering::AcqRel);
        info!(?rebalance, "the partitions of the sample log are shared out anew");
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.assigned.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl LogWriter {
    /// Appends the batches of a group to their stores, each with the steps along all partitions of the group: what is a
    /// store's before its own position it has already.
    pub(super) async fn append(&mut self, group: &[Entry]) -> Result<(), PortError> {
        let parts: Vec<(Vec<Arc<Batch>>, Vec<LogStep>)> = (0..self.stores.len())
            .map(|place| (self.batches_of(group, place), self.steps_of(group, place)))
            .collect();
        let appends = self.stores.iter().zip(&parts).map(async |(store, (batches, steps))| {
            if steps.is_empty() { Ok(Vec::new()) } else { store.append_from_log(batches, steps).await }
        });
        let mut failed: Option<PortError> = None;
        for (place, (answer, (batches, steps))) in join_all(appends).await.into_iter().zip(&parts).enumerate()
        {
            match answer {
                Ok(receipts) => {
                    self.stepped(place, steps);
                    self.told(batches, &receipts);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn position(&self, partition: i32, place: usize) -> i64 {
        self.positions.get(&partition).and_then(|stores| stores.get(place)).copied().unwrap_or(i64::MAX)
    }

    fn batches_of(&self, group: &[Entry], place: usize) -> Vec<Arc<Batch>> {
        let of_store = |entry: &&Entry| entry.offset >= self.position(entry.partition, place);
        let batches = group.iter().filter(of_store).filter_map(|entry| entry.batch.as_ref().ok());
        let is_here = |batch: &&Arc<Batch>| {
            let (target, source) = (&batch.collection.target_id, &batch.collection.source_id);
            (self.route)(target, source) == place
        };
        batches.filter(is_here).cloned().collect()
    }

    fn steps_of(&self, group: &[Entry], place: usize) -> Vec<LogStep> {
        let mut steps: Vec<LogStep> = Vec::new();
        for entry in group {
            let (partition, next) = (entry.partition, entry.offset + 1);
            match steps.iter_mut().find(|step| step.partition == partition) {
                Some(step) => step.next = step.next.max(next),
                None => {
                    let from = self.position(partition, place);
                    steps.push(LogStep { log: self.options.topic.clone(), partition, from, next });
                }
            }
        }
        steps.retain(|step| step.next > step.from);
        steps
    }

    fn stepped(&mut self, place: usize, steps: &[LogStep]) {
        for step in steps {
            if let Some(position) =
                self.positions.get_mut(&step.partition).and_then(|stores| stores.get_mut(place))
            {
                *position = step.next;
            }
        }
    }

    fn told(&self, batches: &[Arc<Batch>], receipts: &[Receipt]) {
        let oldest = batches.iter().map(|batch| batch.collection.started).min();
        if let Some(oldest) = oldest {
            self.status.stored(batches.len(), (now() - oldest).max(0));
            (self.stored)(batches, receipts);
        }
    }

    /// Puts a record aside that no store takes, in the first store, and moves past it in all; `false` where that is
    /// another's to do by now, or it is time to stop.
    pub(super) async fn park(&mut self, entry: &Entry, why: &str, stop: &CancellationToken) -> bool {
        let group = std::slice::from_ref(entry);
        loop {
            match self.try_park(group, why).await {
                Ok(()) => return true,
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.forget_positions();
                    return false;
                }
                Err(error) => {
                    self.status.failed();
                    warn!(error = error.chain(), "a record of the sample log cannot be put aside yet");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    async fn try_park(&mut self, group: &[Entry], why: &str) -> Result<(), PortError> {
        let Some(Entry { partition, offset, batch }) = group.first() else { return Ok(()) };
        // Those that follow first: where this fails between two stores, the record is parked when it comes again.
        for place in (0..self.stores.len()).rev() {
            let steps = self.steps_of(group, place);
            let (Some(step), Some(store)) = (steps.first(), self.stores.get(place)) else { continue };
            if place > 0 {
                store.append_from_log(&[], &steps).await?;
            } else {
                let content = match batch {
                    Ok(batch) => {
                        let encoded = metricsd_codec::batch::BatchEncoder::new().encode(batch);
                        encoded.map(|encoded| encoded.bytes).unwrap_or_default()
                    }
                    Err((_, content)) => content.clone(),
                };
                let record = ParkedRecord {
                    log: self.options.topic.clone(),
                    partition: *partition,
                    position: *offset,
                    error: why.to_owned(),
                    content,
                    parked_at: 0,
                };
                store.park(&record, step).await?;
                self.status.parked_one();
                error!(partition, offset, why, "a record of the sample log that no store takes is put aside");
            }
            self.stepped(place, &steps);
        }
        Ok(())
    }
}
