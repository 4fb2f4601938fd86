//! The bus as a whole: publishing, and following what is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use metricsd_model::MetricsCollected;
use metricsd_ports::{EventBus, PortError};

use crate::KafkaOptions;
use crate::reader;
use crate::sender::{Record, Sender};

/// Subscribing takes no longer, making the topic left out.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// `metrics_collected` events on a Kafka topic.
///
/// Brokers may be away when this is made and at any later time: calls then fail within their limits with an error that
/// is worth a retry. Events of one source keep their order: they share a partition, the producer is idempotent, and
/// after a failure nothing of the failed call is sent any more before the caller repeats it from its beginning.
#[derive(Debug)]
pub struct KafkaBus {
    sender: Sender,
    poisoned: Arc<AtomicU64>,
}

impl KafkaBus {
    /// A bus on a topic. Does not wait for any broker, so it fails only where the options are wrong.
    pub fn connect(options: KafkaOptions) -> Result<Self, PortError> {
        Ok(Self { sender: Sender::new(options, "events")?, poisoned: Arc::default() })
    }

    /// Records that subscribers have left out because they do not hold an event.
    pub fn poisoned(&self) -> u64 {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Waits for what is under way, some seconds at most, and lets go of the brokers. Publishing again connects again.
    pub async fn close(&self) {
        self.sender.close().await;
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    async fn publish(&self, events: &[MetricsCollected]) -> Result<(), PortError> {
        if events.is_empty() {
            return Ok(());
        }
        let format = self.sender.options.format;
        let record = |event: &MetricsCollected| {
            let key = event.metrics_collected.source_id.clone();
            Ok(Record { key, value: format.encode(event)? })
        };
        let records = events.iter().map(record).collect::<Result<Vec<_>, PortError>>()?;
        self.sender.publish(&records, &format.headers()).await
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, MetricsCollected>, PortError> {
        self.sender.ensure_topic().await?;
        reader::subscribe(&self.sender.options, &self.poisoned, SUBSCRIBE_LIMIT).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.sender.ping().await
    }
}
