//! Following the topic: every partition from the moment of subscribing on, without a group to join.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt, unfold};
use metricsd_model::MetricsCollected;
use metricsd_ports::{ErrorKind, PortError};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::KafkaOptions;
use crate::context::Context;
use crate::error::port_error;
use crate::parting::Parting;
use crate::topic::{Found, crashed, find};
use crate::wire::decode;

/// How often partitions are looked for that were added since.
const PARTITIONS_EVERY: Duration = Duration::from_secs(5);

/// How long one question to the brokers may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// Pause before asking again about a topic that has no leaders yet.
const SETTLING: Duration = Duration::from_millis(50);

/// Pause after an error while reading: librdkafka mends the connection meanwhile.
const AFTER_ERROR: Duration = Duration::from_millis(100);

type Client = Arc<Parting<StreamConsumer<Context>>>;

/// One subscription.
struct Reader {
    options: Arc<KafkaOptions>,
    consumer: Client,
    partitions: BTreeSet<i32>,
    look_again: Interval,
    poisoned: Arc<AtomicU64>,
}

/// Events that are published after this has answered.
pub(crate) async fn subscribe(
    options: &Arc<KafkaOptions>,
    poisoned: &Arc<AtomicU64>,
    limit: Duration,
) -> Result<BoxStream<'static, MetricsCollected>, PortError> {
    let consumer = StreamConsumer::from_config_and_context(&options.consumer(), Context::new(options))
        .map_err(|error| port_error(options, "the settings for Kafka are refused", &error))?;
    let consumer = Arc::new(Parting::new(consumer));
    let (client, about) = (Arc::clone(&consumer), Arc::clone(options));
    let partitions =
        spawn_blocking(move || start_at_the_end(&client, &about, limit)).await.map_err(crashed)??;
    let mut look_again = interval_at(tokio::time::Instant::now() + PARTITIONS_EVERY, PARTITIONS_EVERY);
    look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (options, poisoned) = (Arc::clone(options), Arc::clone(poisoned));
    let reader = Reader { options, consumer, partitions, look_again, poisoned };
    Ok(unfold(reader, |mut reader| async move { Some((reader.next().await, reader)) }).boxed())
}

/// Assigns every partition at the offset where it ends now. Asking for the numbers first, rather than for "the end",
/// fixes the moment: librdkafka looks for "the end" some time later. Blocks.
fn start_at_the_end(
    consumer: &Client,
    options: &KafkaOptions,
    limit: Duration,
) -> Result<BTreeSet<i32>, PortError> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(ends) = ends(consumer, options, left.min(QUESTION_LIMIT))? {
            let assigned = consumer.assign(&ends);
            assigned.map_err(|error| port_error(options, "following the topic was refused", &error))?;
            return Ok(ends.elements().iter().map(|element| element.partition()).collect());
        }
        if left < SETTLING {
            let message = format!("the topic {} has partitions without a leader", options.topic);
            return Err(PortError::new(ErrorKind::Unavailable, message));
        }
        std::thread::sleep(SETTLING);
    }
}

/// The end of every partition; `None` while some have no leader.
fn ends(
    consumer: &Client,
    options: &KafkaOptions,
    limit: Duration,
) -> Result<Option<TopicPartitionList>, PortError> {
    let Found::Partitions(partitions) = find(consumer.client(), options, limit)? else {
        return Ok(None);
    };
    if partitions.is_empty() || !partitions.iter().all(|(_, has_leader)| *has_leader) {
        return Ok(None);
    }
    let failed = |error: KafkaError| port_error(options, "Kafka does not say where the topic ends", &error);
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for (partition, _) in &partitions {
        asked.add_partition_offset(&options.topic, *partition, Offset::End).map_err(failed)?;
    }
    // One question for all partitions. In place of a time it takes "the end" as well.
    let answers = match consumer.offsets_for_times(asked, limit) {
        Ok(answers) => answers,
        Err(error) if limit < QUESTION_LIMIT => return Err(failed(error)),
        Err(_) => return Ok(None),
    };
    let mut ends = TopicPartitionList::with_capacity(partitions.len());
    for answer in answers.elements() {
        match (answer.error(), answer.offset()) {
            (Ok(()), Offset::Offset(offset)) => {
                ends.add_partition_offset(&options.topic, answer.partition(), Offset::Offset(offset))
                    .map_err(failed)?;
            }
            _ => return Ok(None),
        }
    }
    Ok((ends.count() == partitions.len()).then_some(ends))
}

impl Reader {
    /// The next event. Whatever goes wrong is mended or left out: following a topic does not end.
    async fn next(&mut self) -> MetricsCollected {
        loop {
            let record = tokio::select! {
                record = self.consumer.recv() => record,
                _ = self.look_again.tick() => {
                    self.look_for_partitions().await;
                    continue;
                }
            };
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let error = self.options.redact(&error.to_string());
                    tracing::warn!(
                        topic = self.options.topic,
                        error,
                        "reading events from Kafka is disturbed"
                    );
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            match decode(&record, self.options.format) {
                Ok(event) => return event,
                Err(error) => {
                    let count = self.poisoned.fetch_add(1, Ordering::Relaxed) + 1;
                    // A topic full of them must not fill the log as well.
                    if count.is_power_of_two() {
                        let (topic, partition, offset) =
                            (&self.options.topic, record.partition(), record.offset());
                        tracing::warn!(topic, partition, offset, error, count, "a record is not an event");
                    }
                }
            }
        }
    }

    /// Follows partitions that were added since, from their beginning: all they hold is later than the subscription.
    async fn look_for_partitions(&mut self) {
        let (client, options) = (Arc::clone(&self.consumer), Arc::clone(&self.options));
        let found = spawn_blocking(move || find(client.client(), &options, QUESTION_LIMIT)).await;
        let Ok(Ok(Found::Partitions(partitions))) = found else {
            return;
        };
        let mut added = TopicPartitionList::new();
        for (partition, _) in &partitions {
            if !self.partitions.contains(partition) {
                let _ = added.add_partition_offset(&self.options.topic, *partition, Offset::Beginning);
            }
        }
        if added.count() == 0 {
            return;
        }
        match self.consumer.incremental_assign(&added) {
            Ok(()) => self.partitions.extend(partitions.iter().map(|(partition, _)| partition)),
            Err(error) => {
                let error = self.options.redact(&error.to_string());
                tracing::warn!(topic = self.options.topic, error, "new partitions cannot be followed");
            }
        }
    }
}
