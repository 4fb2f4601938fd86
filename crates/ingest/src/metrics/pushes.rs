//! What was pushed, by protocol, and what became of it.

use metricsd_model::Refusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{RefusedLabels, SCRAPE};
use crate::{Protocol, Written};

/// Label of what came by a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProtocolLabel {
    /// [`Protocol::as_str`].
    pub protocol: &'static str,
}

/// Counters of pushes, and of everything that was refused. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct PushMetrics {
    /// Samples in bodies that could be read.
    received: Family<ProtocolLabel, Counter>,
    /// Samples stored by requests that were not stored before.
    stored: Family<ProtocolLabel, Counter>,
    /// Requests that had been stored before.
    duplicates: Family<ProtocolLabel, Counter>,
    /// Requests that share a collection with others.
    joined: Family<ProtocolLabel, Counter>,
    /// Exemplars not stored.
    exemplars_dropped: Family<ProtocolLabel, Counter>,
    /// Samples not stored, of scrapes too.
    refused: Family<RefusedLabels, Counter>,
}

fn of(protocol: Protocol) -> ProtocolLabel {
    ProtocolLabel { protocol: protocol.as_str() }
}

impl PushMetrics {
    /// Registers them below `ingest`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let received = "Samples in pushes that could be read, by protocol";
        registry.register("received_samples", received, self.received.clone());
        let stored = "Samples of pushes committed, by protocol";
        registry.register("stored_samples", stored, self.stored.clone());
        let duplicates = "Pushes that had been stored before, by protocol";
        registry.register("duplicate_requests", duplicates, self.duplicates.clone());
        let joined = "Pushes that shared a collection with others, by protocol";
        registry.register("joined_requests", joined, self.joined.clone());
        let dropped = "Exemplars not stored, by protocol";
        registry.register("dropped_exemplars", dropped, self.exemplars_dropped.clone());
        let refused = "Samples refused, by protocol and reason; protocol scrape is scraping";
        registry.register("rejected_samples", refused, self.refused.clone());
    }

    /// Counts a push that was read.
    pub(crate) fn received(&self, protocol: Protocol, samples: u64) {
        self.received.get_or_create(&of(protocol)).inc_by(samples);
    }

    /// Counts a push that was committed.
    pub(crate) fn committed(&self, protocol: Protocol, outcome: &Written) {
        if outcome.duplicate {
            self.duplicate(protocol);
            return;
        }
        self.stored(protocol, outcome.stored);
        for (reason, count) in &outcome.refused {
            self.refused(protocol, reason.as_str(), *count);
        }
        if outcome.repeated > 0 {
            self.refused(protocol, Refusal::Duplicate.as_str(), outcome.repeated);
        }
        if outcome.exemplars_dropped > 0 {
            self.exemplars_dropped.get_or_create(&of(protocol)).inc_by(outcome.exemplars_dropped);
        }
    }

    pub(crate) fn duplicate(&self, protocol: Protocol) {
        self.duplicates.get_or_create(&of(protocol)).inc();
    }

    /// Counts pushes that share a collection.
    pub(crate) fn joined(&self, protocol: Protocol, requests: u64) {
        self.joined.get_or_create(&of(protocol)).inc_by(requests);
    }

    pub(crate) fn stored(&self, protocol: Protocol, samples: u64) {
        self.stored.get_or_create(&of(protocol)).inc_by(samples);
    }

    /// Counts samples that were not stored.
    pub(crate) fn refused(&self, protocol: Protocol, reason: &'static str, samples: u64) {
        let labels = RefusedLabels { protocol: protocol.as_str(), reason };
        self.refused.get_or_create(&labels).inc_by(samples);
    }

    /// The same of a scrape.
    pub(super) fn refused_of_scrape(&self, reason: Refusal, samples: u64) {
        let labels = RefusedLabels { protocol: SCRAPE, reason: reason.as_str() };
        self.refused.get_or_create(&labels).inc_by(samples);
    }
}

/// What is remembered of the series of pushes.
#[derive(Debug, Clone, Default)]
pub struct RemoteWriteMetrics {
    /// Series that are remembered.
    pub cached_series: Gauge,
    /// Bytes of what is remembered.
    pub cached_bytes: Gauge,
}

impl RemoteWriteMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let own = registry.sub_registry_with_prefix("remote_write");
        own.register("cached_series", "Series of pushes remembered", metrics.cached_series.clone());
        let cached = "What remembering the series of pushes takes";
        own.register_with_unit("cache", cached, Unit::Bytes, metrics.cached_bytes.clone());
        metrics
    }

    /// Shows how much is remembered.
    pub(crate) fn remembered(&self, (series, bytes): (usize, usize)) {
        self.cached_series.set(series as i64);
        self.cached_bytes.set(bytes as i64);
    }
}
