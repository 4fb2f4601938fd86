//! What a member of the group hears, and what it does with a group of records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use metricsd_model::Batch;
use metricsd_ports::{Apart, ErrorKind, LogStep, ParkedRecord, PortError, Receipt};
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

    /// Stores a record that is refused for good push by push, where several were joined into it; what is refused by itself is
    /// put aside. `false` where that is another's to do by now, or it is time to stop.
    pub(super) async fn bring_apart(
        &mut self,
        entry: &Entry,
        error: &PortError,
        stop: &CancellationToken,
    ) -> bool {
        let apart = entry.batch.as_ref().ok().and_then(|batch| Some((batch, Apart::of(batch)?)));
        let Some((batch, mut apart)) = apart else { return self.park(entry, &error.chain(), stop).await };
        let place = (self.route)(&batch.collection.target_id, &batch.collection.source_id);
        let Some(store) = self.stores.get(place).cloned() else {
            return self.park(entry, &error.chain(), stop).await;
        };
        warn!(
            error = error.chain(),
            pushes = batch.joined.len(),
            "a record of the sample log is stored push by push"
        );
        while let Some(group) = apart.next_group() {
            // The position moves when all of them are through: who goes this way again stores none of them twice.
            match store.append_from_log(&group, &[]).await {
                Ok(receipts) => self.told(&group, &receipts),
                Err(error) if error.is_retryable() => {
                    self.status.failed();
                    warn!(error = error.chain(), "pushes of the sample log are not stored yet");
                    apart.again(group);
                    if !self.rest(stop).await {
                        return false;
                    }
                }
                Err(error) => apart.refused(group, error),
            }
        }
        match apart.left() {
            Some((left, error)) => {
                let entry = Entry { partition: entry.partition, offset: entry.offset, batch: Ok(left) };
                self.park(&entry, &error.chain(), stop).await
            }
            None => self.pass(entry, None, stop).await,
        }
    }

    /// A moment; `false` where it is time to stop.
    async fn rest(&self, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => true,
            () = stop.cancelled() => false,
        }
    }

    /// Puts a record aside that no store takes, in the first store, and moves past it in all; `false` where that is
    /// another's to do by now, or it is time to stop.
    pub(super) async fn park(&mut self, entry: &Entry, why: &str, stop: &CancellationToken) -> bool {
        self.pass(entry, Some(why), stop).await
    }

    /// Moves past a record in all stores, and puts it aside where it says why.
    async fn pass(&mut self, entry: &Entry, why: Option<&str>, stop: &CancellationToken) -> bool {
        loop {
            match self.try_pass(entry, why).await {
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
            if !self.rest(stop).await {
                return false;
            }
        }
    }

    async fn try_pass(&mut self, entry: &Entry, why: Option<&str>) -> Result<(), PortError> {
        // Those that follow first: where this fails between two stores, the record is parked when it comes again.
        for place in (0..self.stores.len()).rev() {
            let steps = self.steps_of(std::slice::from_ref(entry), place);
            let (Some(step), Some(store)) = (steps.first(), self.stores.get(place)) else { continue };
            match why.filter(|_| place == 0) {
                None => {
                    store.append_from_log(&[], &steps).await?;
                }
                Some(why) => {
                    store.park(&self.parked(entry, why), step).await?;
                    self.status.parked_one();
                    let Entry { partition, offset, .. } = entry;
                    error!(
                        partition,
                        offset, why, "a record of the sample log that no store takes is put aside"
                    );
                }
            }
            self.stepped(place, &steps);
        }
        Ok(())
    }

    fn parked(&self, entry: &Entry, why: &str) -> ParkedRecord {
        let content = match &entry.batch {
            Ok(batch) => {
                let encoded = metricsd_codec::batch::BatchEncoder::new().encode(batch);
                encoded.map(|encoded| encoded.bytes).unwrap_or_default()
            }
            Err((_, content)) => content.clone(),
        };
        ParkedRecord {
            log: self.options.topic.clone(),
            partition: entry.partition,
            position: entry.offset,
            error: why.to_owned(),
            content,
        }
    }
}
