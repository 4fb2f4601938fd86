//! What remote writers sent, and what became of it.

use metricsd_model::Refusal;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::ReasonLabel;
use crate::Written;

/// Counters of remote write. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct RemoteWriteMetrics {
    /// Samples in bodies that could be read.
    pub received: Counter,
    /// Samples stored by requests that were not stored before.
    pub stored: Counter,
    /// Samples not stored, by reason.
    pub refused: Family<ReasonLabel, Counter>,
    /// Requests that had been stored before.
    pub duplicates: Counter,
    /// Exemplars not stored.
    pub exemplars_dropped: Counter,
    /// Series that are remembered.
    pub cached_series: Gauge,
    /// Bytes of what is remembered.
    pub cached_bytes: Gauge,
}

impl RemoteWriteMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let own = registry.sub_registry_with_prefix("remote_write");
        own.register("received_samples", "Samples in readable requests", metrics.received.clone());
        own.register("stored_samples", "Samples committed", metrics.stored.clone());
        own.register("refused_samples", "Samples refused, by reason", metrics.refused.clone());
        own.register(
            "duplicate_requests",
            "Requests that had been stored before",
            metrics.duplicates.clone(),
        );
        own.register("dropped_exemplars", "Exemplars not stored", metrics.exemplars_dropped.clone());
        own.register("cached_series", "Series of remote writers remembered", metrics.cached_series.clone());
        let cached = "What remembering remote writers' series takes";
        own.register_with_unit("cache", cached, Unit::Bytes, metrics.cached_bytes.clone());
        metrics
    }

    /// Counts a request that was read.
    pub(crate) fn read(&self, outcome: &Written, (series, bytes): (usize, usize)) {
        self.received.inc_by(outcome.received);
        self.cached_series.set(series as i64);
        self.cached_bytes.set(bytes as i64);
    }

    /// Counts a request that was committed.
    pub(crate) fn committed(&self, outcome: &Written) {
        if outcome.duplicate {
            self.duplicates.inc();
            return;
        }
        self.stored.inc_by(outcome.stored);
        for (reason, count) in &outcome.refused {
            self.refused(*reason, *count);
        }
        if outcome.repeated > 0 {
            self.refused(Refusal::Duplicate, outcome.repeated);
        }
        self.exemplars_dropped.inc_by(outcome.exemplars_dropped);
    }

    fn refused(&self, reason: Refusal, count: u64) {
        self.refused.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc_by(count);
    }
}
