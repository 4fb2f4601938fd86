//! Sending records: a producer until its first failure, then another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::KafkaOptions;
use crate::context::Context;
use crate::error::port_error;
use crate::parting::Parting;
use crate::topic::{crashed, ensure, find};

/// Finding out about the topic takes no longer; so does a ping.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// Closing waits no longer for what is under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Pause while librdkafka's queue is full.
const QUEUE_FULL: Duration = Duration::from_millis(10);

/// One record.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

/// Sends records to a topic.
///
/// Brokers may be away when this is made and at any later time: calls then fail within their limits with an error that
/// is worth a retry. Records of one key keep their order: they share a partition, the producer is idempotent, and
/// after a failure nothing of the failed call is sent any more before the caller repeats it from its beginning.
pub(crate) struct Sender {
    pub(crate) options: Arc<KafkaOptions>,
    /// What the records are called in messages.
    what: &'static str,
    producer: Mutex<Option<Arc<Producer>>>,
    topic_is_there: AtomicBool,
}

/// A producer until its first failure.
struct Producer {
    client: Parting<FutureProducer<Context>>,
    context: Context,
}

impl Sender {
    /// Does not wait for any broker, so it fails only where the options are wrong.
    pub(crate) fn new(options: KafkaOptions, what: &'static str) -> Result<Self, PortError> {
        options.check()?;
        let options = Arc::new(options);
        let producer = Arc::new(Producer::new(&options)?);
        Ok(Self {
            options,
            what,
            producer: Mutex::new(Some(producer)),
            topic_is_there: AtomicBool::new(false),
        })
    }

    /// Waits for what is under way, some seconds at most, and lets go of the brokers. Publishing again connects again.
    pub(crate) async fn close(&self) {
        let Some(producer) = self.producer.lock().take() else {
            return;
        };
        let flushed = spawn_blocking(move || producer.client.flush(CLOSE_LIMIT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(
                topic = self.options.topic,
                what = self.what,
                "records under way were left behind; they will be sent again"
            );
        }
    }

    fn producer(&self) -> Result<Arc<Producer>, PortError> {
        let mut current = self.producer.lock();
        if let Some(producer) = current.as_ref() {
            return Ok(Arc::clone(producer));
        }
        let producer = Arc::new(Producer::new(&self.options)?);
        *current = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Makes sure that nothing which this producer still holds is ever sent.
    fn discard(&self, producer: &Arc<Producer>) {
        let mut current = self.producer.lock();
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, producer)) {
            *current = None;
        }
        drop(current);
        producer.client.purge(PurgeConfig::default().queue().inflight());
        // Perhaps the topic was deleted: whoever comes next looks again.
        self.topic_is_there.store(false, Ordering::Relaxed);
    }

    pub(crate) async fn ensure_topic(&self) -> Result<(), PortError> {
        if !self.topic_is_there.load(Ordering::Relaxed) {
            ensure(&self.options, QUESTION_LIMIT).await?;
            self.topic_is_there.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Hands all records to the producer, in order, and waits until the brokers have all of them.
    async fn send(
        &self,
        producer: &Producer,
        records: &[Record],
        headers: &OwnedHeaders,
    ) -> Result<(), PortError> {
        let mut reports = Vec::with_capacity(records.len());
        for Record { key, value } in records {
            let mut record = FutureRecord::to(&self.options.topic)
                .key(key.as_str())
                .payload(value)
                .headers(headers.clone());
            loop {
                match producer.client.send_result(record) {
                    Ok(report) => break reports.push(report),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        record = again
                    }
                    Err((error, _)) => return Err(self.refused(producer, &error)),
                }
                sleep(QUEUE_FULL).await;
            }
        }
        for report in reports {
            match report.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(self.refused(producer, &error)),
                Err(_) => return Err(self.refused(producer, &KafkaError::Canceled)),
            }
        }
        Ok(())
    }

    fn refused(&self, producer: &Producer, error: &KafkaError) -> PortError {
        // After a fatal error every record reports that there was one; which one it was, only the client knows.
        let fatal = producer.client.client().fatal_error().map(|(_, text)| self.options.redact(&text));
        let message = format!("Kafka did not take all {} for the topic {}", self.what, self.options.topic);
        match fatal {
            Some(text) => PortError::new(ErrorKind::Unavailable, message).caused_by(text),
            None => port_error(&self.options, message, error),
        }
    }

    fn too_late(&self, trouble: Option<crate::context::Trouble>) -> PortError {
        let message = format!(
            "Kafka at {} did not take all {} within {:?}",
            self.options.brokers, self.what, self.options.publish_timeout
        );
        match trouble {
            Some(trouble) if trouble.away => {
                PortError::new(ErrorKind::Unavailable, message).caused_by(trouble.text)
            }
            Some(trouble) => PortError::new(ErrorKind::Timeout, message).caused_by(trouble.text),
            None => PortError::new(ErrorKind::Timeout, message),
        }
    }

    /// Sends all records; on `Ok` the brokers have all of them.
    pub(crate) async fn publish(&self, records: &[Record], headers: &OwnedHeaders) -> Result<(), PortError> {
        let deadline = Instant::now() + self.options.publish_timeout;
        timeout_at(deadline, self.ensure_topic()).await.unwrap_or_else(|_| Err(self.too_late(None)))?;
        let producer = self.producer()?;
        let mut attempt = Attempt { sender: self, producer: &producer, succeeded: false };
        match timeout_at(deadline, self.send(&producer, records, headers)).await {
            Ok(Ok(())) => {
                attempt.succeeded = true;
                producer.context.all_is_well();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.too_late(producer.context.trouble())),
        }
    }

    /// Whether the brokers answer.
    pub(crate) async fn ping(&self) -> Result<(), PortError> {
        let late =
            || PortError::new(ErrorKind::Timeout, format!("Kafka at {} is slow", self.options.brokers));
        if !self.topic_is_there.load(Ordering::Relaxed) {
            return timeout(QUESTION_LIMIT, self.ensure_topic()).await.unwrap_or_else(|_| Err(late()));
        }
        let (producer, options) = (self.producer()?, Arc::clone(&self.options));
        spawn_blocking(move || find(producer.client.client(), &options, QUESTION_LIMIT))
            .await
            .map_err(crashed)??;
        Ok(())
    }
}

impl Producer {
    fn new(options: &Arc<KafkaOptions>) -> Result<Self, PortError> {
        let context = Context::new(options);
        let client = FutureProducer::from_config_and_context(&options.producer(), context.clone())
            .map_err(|error| port_error(options, "the settings for Kafka are refused", &error))?;
        Ok(Self { client: Parting::new(client), context })
    }
}

/// Discards a producer unless its call succeeds, also when the caller stops waiting.
struct Attempt<'a> {
    sender: &'a Sender,
    producer: &'a Arc<Producer>,
    succeeded: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.succeeded {
            self.sender.discard(self.producer);
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("options", &self.options).finish_non_exhaustive()
    }
}
