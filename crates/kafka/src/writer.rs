//! Bringing the sample log to the stores, each record once.
//!
//! A writer shares the partitions with others of its group. How far a partition is stored stands in the stores themselves,
//! moved in the transaction that appends: whatever Kafka believes, whoever is assigned a partition, and whoever was and
//! does not know yet that it is another's, reads on from there or is refused.

mod group;
mod positions;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::batch::BatchDecoder;
use metricsd_model::{Batch, Waited};
use metricsd_ports::{ErrorKind, LogSink, PortError, Receipt};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::KafkaOptions;
use crate::error::port_error;
use crate::parting::Parting;
use crate::topic::ensure;
use group::{Assigned, Member};

pub use status::LogStatus;

/// Told of every group that was stored, with what became of each batch.
pub type Stored = Arc<dyn Fn(&[Arc<Batch>], &[Receipt]) + Send + Sync>;

/// Which of the stores a batch goes to, by the ids of its target and its source.
pub type StoredRoute = Arc<dyn Fn(&str, &str) -> usize + Send + Sync>;

/// A group of records of so many bytes is stored at once.
const GROUP_BYTES: usize = 4 << 20;

/// Or of so many records.
const GROUP_RECORDS: usize = 2_000;

/// The first of a group waits so long for others.
const GROUP_DELAY: Duration = Duration::from_millis(20);

/// Questions to the brokers take no longer.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Pause before a store or a broker is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often the end of each partition is asked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A store that answers and refuses a group so often for a reason that passes is asked for one record at a time.
const MAX_REFUSALS: usize = 20;

/// Reads the sample log and fills the stores.
pub struct LogWriter {
    options: Arc<KafkaOptions>,
    stores: Vec<Arc<dyn LogSink>>,
    route: StoredRoute,
    stored: Stored,
    status: Arc<LogStatus>,
    decoder: BatchDecoder,
    /// Where each partition stands in each store; of those that were read since they were assigned.
    positions: BTreeMap<i32, Vec<i64>>,
    /// From where partitions were asked for since they were assigned.
    sought: BTreeMap<i32, i64>,
    assigned: Assigned,
}

type Client = Arc<Parting<StreamConsumer<Member>>>;

/// One record, read.
struct Entry {
    partition: i32,
    offset: i64,
    /// The batch, or the bytes and why they are none.
    batch: Result<Arc<Batch>, (String, Vec<u8>)>,
}

impl LogWriter {
    /// A writer that has not begun; at least one store.
    pub fn new(
        options: KafkaOptions,
        stores: Vec<Arc<dyn LogSink>>,
        route: StoredRoute,
        stored: Stored,
    ) -> Result<Self, PortError> {
        options.check()?;
        Ok(Self {
            options: Arc::new(options),
            stores,
            route,
            stored,
            status: Arc::default(),
            decoder: BatchDecoder::new(),
            positions: BTreeMap::new(),
            sought: BTreeMap::new(),
            assigned: Assigned::default(),
        })
    }

    /// How it stands.
    pub fn status(&self) -> Arc<LogStatus> {
        self.status.clone()
    }

    /// Works until told to stop. Whatever goes wrong is tried again.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let work = self.follow(&stop);
            let worked = tokio::select! {
                worked = work => worked,
                () = stop.cancelled() => return,
            };
            if let Err(error) = worked {
                self.status.failed();
                warn!(error = error.chain(), "the sample log is not read; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Joins the group and works until something is wrong with the connection.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), PortError> {
        ensure(&self.options, QUESTION_LIMIT).await?;
        let group = format!("{}-writers", self.options.topic);
        let member = Member::new(&self.options, self.assigned.clone());
        let consumer = StreamConsumer::from_config_and_context(&self.options.member(&group), member)
            .map_err(|error| port_error(&self.options, "the settings for Kafka are refused", &error))?;
        let consumer: Client = Arc::new(Parting::new(consumer));
        consumer
            .subscribe(&[&self.options.topic])
            .map_err(|error| port_error(&self.options, "the sample log cannot be followed", &error))?;
        self.forget_positions();
        let mut generation = self.assigned.generation();
        let look = look(consumer.clone(), self.options.topic.clone(), self.status.clone());
        let _looking = AbortOnDropHandle::new(tokio::spawn(look));
        info!(topic = self.options.topic, group, "reading the sample log");
        while !stop.is_cancelled() {
            let entries = self.next_group(&consumer).await?;
            let now = self.assigned.generation();
            if now != generation {
                // Who has which partition has changed: nothing that was believed about positions holds.
                generation = now;
                self.forget_positions();
            }
            self.status.holds(oldest(&entries));
            let entries = self.take_positions(&consumer, entries).await?;
            if !entries.is_empty() {
                self.bring(entries, stop).await;
                self.tell(&consumer);
            }
            self.status.holds(None);
        }
        Ok(())
    }

    /// Nothing that was believed about positions holds.
    fn forget_positions(&mut self) {
        self.positions.clear();
        self.sought.clear();
    }

    /// What has come within a moment; nothing where there is nothing.
    async fn next_group(&mut self, consumer: &Client) -> Result<Vec<Entry>, PortError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut deadline = Instant::now() + PAUSE;
        while bytes < GROUP_BYTES && entries.len() < GROUP_RECORDS {
            let Ok(received) = tokio::time::timeout_at(deadline, consumer.recv()).await else { break };
            let message = match received {
                Ok(message) => message,
                Err(error) => {
                    self.status.failed();
                    let what = "reading the sample log is disturbed";
                    warn!(error = self.options.redact(&error.to_string()), "{what}");
                    tokio::time::sleep(PAUSE / 5).await;
                    break;
                }
            };
            bytes += message.payload_len();
            if entries.is_empty() {
                deadline = Instant::now() + GROUP_DELAY;
            }
            entries.push(self.read(&message));
        }
        Ok(entries)
    }

    fn read(&mut self, message: &BorrowedMessage<'_>) -> Entry {
        let content = message.payload().unwrap_or_default();
        let batch = match self.decoder.decode(content) {
            Ok(mut batch) => {
                batch.collection.ledger.waited.get_or_insert(Waited::Log);
                Ok(Arc::new(batch))
            }
            Err(error) => Err((error.to_string(), content.to_vec())),
        };
        Entry { partition: message.partition(), offset: message.offset(), batch }
    }

    /// Tells Kafka how far the partitions are stored, for those who watch, and where the next member begins to look.
    fn tell(&self, consumer: &Client) {
        let mut offsets = TopicPartitionList::with_capacity(self.positions.len());
        for (partition, positions) in &self.positions {
            if let Some(lowest) = positions.iter().min() {
                let offset = Offset::Offset(*lowest);
                let _ = offsets.add_partition_offset(&self.options.topic, *partition, offset);
            }
        }
        let _ = consumer.commit(&offsets, CommitMode::Async);
    }

    /// Stores entries, in their order, however long the stores are away.
    async fn bring(&mut self, entries: Vec<Entry>, stop: &CancellationToken) {
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let good = rest.iter().take_while(|entry| entry.batch.is_ok()).count();
            let (group, after) = rest.split_at(good.max(1).min(rest.len()));
            rest = after;
            let brought = match good {
                0 => self.park_each(group, stop).await,
                _ => self.bring_group(group, stop).await,
            };
            if !brought {
                return;
            }
        }
    }

    /// Stores entries that are batches; `false` where the positions are another's by now, or it is time to stop.
    async fn bring_group(&mut self, group: &[Entry], stop: &CancellationToken) -> bool {
        let mut refusals = 0;
        loop {
            let error = match self.append(group).await {
                Ok(()) => return true,
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Conflict {
                info!(error = error.chain(), "another writer has read on; positions are looked up again");
                self.forget_positions();
                return false;
            }
            self.status.failed();
            warn!(
                error = error.chain(),
                records = group.len(),
                "batches of the sample log are not stored yet"
            );
            refusals += 1;
            let one_by_one = refusals == MAX_REFUSALS && group.len() > 1 && self.answers().await;
            if !error.is_retryable() || one_by_one {
                return Box::pin(self.bring_each(group, &error, stop)).await;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    /// Whether the stores answer.
    async fn answers(&self) -> bool {
        for store in &self.stores {
            if store.log_positions(&self.options.topic).await.is_err() {
                return false;
            }
        }
        true
    }

    /// One of them cannot be stored, or not now; its neighbours must not suffer for it. What a store does not take for a reason
    /// that passes, such as a full disk, waits: it was acknowledged.
    async fn bring_each(&mut self, group: &[Entry], error: &PortError, stop: &CancellationToken) -> bool {
        if let [only] = group {
            return self.bring_apart(only, error, stop).await;
        }
        for entry in group {
            if !Box::pin(self.bring_group(std::slice::from_ref(entry), stop)).await {
                return false;
            }
        }
        true
    }

    async fn park_each(&mut self, group: &[Entry], stop: &CancellationToken) -> bool {
        for entry in group {
            let why = entry.batch.as_ref().err().map_or_else(String::new, |(why, _)| why.clone());
            if !self.park(entry, &why, stop).await {
                return false;
            }
        }
        true
    }
}

/// When the first of the collections began.
fn oldest(entries: &[Entry]) -> Option<i64> {
    let batches = entries.iter().filter_map(|entry| entry.batch.as_ref().ok());
    batches.map(|batch| batch.collection.started).min()
}

/// Looks how far the partitions of this member are behind their ends, also while a store is waited for.
async fn look(consumer: Client, topic: String, status: Arc<LogStatus>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (client, topic) = (consumer.clone(), topic.clone());
        let asked = spawn_blocking(move || lag(&client, &topic));
        if let Ok(Ok((lag, partitions))) = asked.await {
            status.stands(lag.unsigned_abs(), partitions);
        }
    }
}

/// Records behind what is stored, as Kafka was told, and the number of partitions.
fn lag(client: &Client, topic: &str) -> Result<(i64, usize), KafkaError> {
    let stored = client.committed(QUESTION_LIMIT)?;
    let mut lag = 0;
    for partition in stored.elements() {
        let (begin, end) = client.fetch_watermarks(topic, partition.partition(), QUESTION_LIMIT)?;
        let stored = if let Offset::Offset(stored) = partition.offset() { stored } else { begin };
        lag += (end - stored.max(begin)).max(0);
    }
    Ok((lag, stored.count()))
}
