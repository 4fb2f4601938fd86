//! What scraping counts about itself.

use metricsd_ingest::metrics::LATENCY_BUCKETS;
use metricsd_model::FailureReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// How a scrape ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `ok` or a failure's reason.
    pub result: &'static str,
}

/// Why a scrape was not even begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SkipLabel {
    /// Of `Missed::as_str` those that were due here; `lease` where the worker's ran out, `fenced` where the store said that
    /// the target is another worker's.
    pub reason: &'static str,
}

/// Metrics of the scrape pool. Clones share their values.
#[derive(Debug, Clone)]
pub struct ScrapeMetrics {
    pub(crate) targets: Gauge,
    pub(crate) scrapes: Family<ResultLabel, Counter>,
    pub(crate) skipped: Family<SkipLabel, Counter>,
    pub(crate) in_flight: Gauge,
    pub(crate) start_delay: Histogram,
    pub(crate) collection: Histogram,
    pub(crate) missed: Counter,
}

impl ScrapeMetrics {
    /// Creates and registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let latency = || Histogram::new(LATENCY_BUCKETS);
        let metrics = Self {
            targets: Gauge::default(),
            scrapes: Family::default(),
            skipped: Family::default(),
            in_flight: Gauge::default(),
            start_delay: latency(),
            collection: latency(),
            missed: Counter::default(),
        };
        let scrape = registry.sub_registry_with_prefix("scrape");
        scrape.register("targets", "Targets that this process scrapes", metrics.targets.clone());
        scrape.register("scrapes", "Scrapes by how they ended", metrics.scrapes.clone());
        scrape.register(
            "skipped",
            "Scheduled scrapes that were not begun, by reason",
            metrics.skipped.clone(),
        );
        let what =
            "Scheduled scrapes that were not done and are recorded as missed, whichever worker they were";
        scrape.register("missed", what, metrics.missed.clone());
        scrape.register("in_flight", "Scrapes under way", metrics.in_flight.clone());
        scrape.register_with_unit(
            "start_delay",
            "From the scheduled time of a scrape to its start",
            Unit::Seconds,
            metrics.start_delay.clone(),
        );
        registry.register_with_unit(
            "collection_duration",
            "From the start of a scrape until its samples are committed",
            Unit::Seconds,
            metrics.collection.clone(),
        );
        metrics
    }

    pub(crate) fn skip(&self, reason: &'static str) {
        self.skipped.get_or_create(&SkipLabel { reason }).inc();
    }

    pub(crate) fn ended(&self, reason: Option<FailureReason>) {
        let result = reason.map_or("ok", FailureReason::as_str);
        self.scrapes.get_or_create(&ResultLabel { result }).inc();
    }
}
