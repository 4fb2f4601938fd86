//! The bus that carries `metrics_collected` events.

use async_trait::async_trait;
use futures::stream::BoxStream;
use metricsd_model::MetricsCollected;

use crate::PortError;

/// Publishes events and lets others follow them.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes events, keyed by `source_id`, keeping their order per source. On `Ok` the bus has all of them; on `Err`
    /// it may have some, and the caller publishes all again.
    async fn publish(&self, events: &[MetricsCollected]) -> Result<(), PortError>;

    /// Events published from now on, by any process. A reader that is too slow misses some, and the stream goes on;
    /// a connection that breaks is made again.
    async fn subscribe(&self) -> Result<BoxStream<'static, MetricsCollected>, PortError>;

    /// Whether the bus answers.
    async fn ping(&self) -> Result<(), PortError>;
}
