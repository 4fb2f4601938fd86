//! The event bus of one process: a bounded broadcast channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, unfold};
use metricsd_model::MetricsCollected;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{EventBus, PortError};

/// Events kept for readers that fall behind, unless another number is asked for: some 4 MiB of full events.
const DEFAULT_CAPACITY: usize = 8_192;

/// The channel allocates its slots at once, and refuses capacities beyond half the address space.
const MAX_CAPACITY: usize = 1 << 20;

/// Carries events to the readers of one process. A reader that is too slow misses the oldest and goes on.
#[derive(Debug)]
pub struct MemoryBus {
    sender: broadcast::Sender<Arc<MetricsCollected>>,
    missed: Arc<AtomicU64>,
}

impl MemoryBus {
    /// A bus that keeps the newest `capacity` events for readers that fall behind.
    pub fn new(capacity: usize) -> Self {
        let (sender, _) = broadcast::channel(capacity.clamp(1, MAX_CAPACITY));
        Self { sender, missed: Arc::default() }
    }

    /// How many events slow readers have missed, all readers together.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.sender.receiver_count()
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(&self, events: &[MetricsCollected]) -> Result<(), PortError> {
        for event in events {
            // Without readers there is nobody to tell, which is no error.
            if self.sender.receiver_count() == 0 {
                break;
            }
            let _ = self.sender.send(Arc::new(event.clone()));
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, MetricsCollected>, PortError> {
        let start = (self.sender.subscribe(), Arc::clone(&self.missed));
        let events = unfold(start, |(mut receiver, missed)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((Arc::unwrap_or_clone(event), (receiver, missed))),
                    Err(RecvError::Lagged(count)) => {
                        missed.fetch_add(count, Ordering::Relaxed);
                        tracing::debug!(count, "a reader of events was too slow and missed some");
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Ok(events.boxed())
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::events::{all, event};

    #[tokio::test]
    async fn the_memory_bus_keeps_the_promises() {
        all(&MemoryBus::default()).await;
    }

    #[tokio::test]
    async fn a_slow_reader_misses_the_oldest_and_goes_on() {
        let bus = MemoryBus::new(4);
        let mut slow = bus.subscribe().await.unwrap();
        for n in 0..10 {
            bus.publish(&[event("slow", n)]).await.unwrap();
        }
        assert_eq!(slow.next().await, Some(event("slow", 6)), "the oldest that is still kept");
        assert_eq!(bus.missed(), 6);
        bus.publish(&[event("slow", 10)]).await.unwrap();
        for n in 7..=10 {
            assert_eq!(slow.next().await, Some(event("slow", n)));
        }
    }

    #[tokio::test]
    async fn readers_leave_by_being_dropped_and_end_with_the_bus() {
        let bus = MemoryBus::new(0);
        let first = bus.subscribe().await.unwrap();
        let mut second = bus.subscribe().await.unwrap();
        assert_eq!(bus.readers(), 2);
        drop(first);
        assert_eq!(bus.readers(), 1);
        drop(bus);
        assert_eq!(second.next().await, None);
    }
}
