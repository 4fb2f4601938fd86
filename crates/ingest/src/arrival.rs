//! How pushes have to arrive, whatever they come over.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// Bytes of a body that may come before it needs a place among those that are large.
pub const SMALL: usize = 64 << 10;

/// What has a place must come as fast as this, in bytes a second, …
const PACE: f64 = 16_384.0;

/// … but for so long at the beginning, in which a connection may falter.
const GRACE: Duration = Duration::from_secs(10);

/// When the next byte is due of a body of which so many bytes have come, and that has had a place since `began`.
pub fn due(began: Instant, read: usize) -> Instant {
    began + GRACE + Duration::from_secs_f64(read.saturating_sub(SMALL) as f64 / PACE)
}

/// What a sender is told that does not keep up with [`due`].
pub const AT_NO_PACE: &str =
    "comes too slowly: beyond its first 64 KiB, 16 KiB of it have to arrive a second";

/// Bodies and messages that were not read, by reason.
#[derive(Debug, Clone, Default)]
pub struct RefusedBodies(Family<ReasonLabel, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

impl RefusedBodies {
    /// Registers what is counted from now on.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("refused_bodies", "Bodies that were not read, by reason", self.0.clone());
    }

    /// Counts one.
    pub fn count(&self, reason: &'static str) {
        self.0.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// How many there were for a reason.
    pub fn counted(&self, reason: &'static str) -> u64 {
        self.0.get_or_create(&ReasonLabel { reason }).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_due_the_longer_it_takes() {
        let began = Instant::now();
        let after = |read: usize| (due(began, read) - began).as_secs();
        assert_eq!(
            [after(0), after(SMALL), after(SMALL + (16 << 10)), after(SMALL + (1 << 20))],
            [10, 10, 11, 74]
        );
    }
}
