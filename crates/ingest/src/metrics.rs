//! What ingest counts about itself.

mod pushes;

use metricsd_model::{Batch, CollectionMethod, Protocol};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use pushes::{ProtocolLabel, PushMetrics, RemoteWriteMetrics};

/// Labels of refused samples.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    /// What they came by: a protocol's name, or `scrape`.
    pub protocol: &'static str,
    /// [`metricsd_model::Refusal::as_str`], or what [`crate::Denied::reason`] says.
    pub reason: &'static str,
}

/// What scraping is called among protocols.
const SCRAPE: &str = "scrape";

/// Labels of collections.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CollectionLabels {
    /// Of the process that brought them to the store: `worker` scraped them, `ingest` took them in, `writer` had them from
    /// the sample log.
    pub role: &'static str,
    /// What they came by: a protocol's name, or `scrape`.
    pub protocol: &'static str,
}

impl CollectionLabels {
    fn of(batch: &Batch, from_log: bool) -> Self {
        let role = match batch.protocol {
            _ if from_log => "writer",
            Some(_) => "ingest",
            None => "worker",
        };
        Self { role, protocol: batch.protocol.map_or(SCRAPE, Protocol::as_str) }
    }
}

/// Metrics of the door, the group commit, the caches and the event relay. Clones share their values.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// Samples committed.
    pub samples: Counter,
    /// Batches committed.
    pub batches: Counter,
    /// Batches that had been stored before.
    pub duplicates: Counter,
    /// What was pushed, and everything that was refused.
    pub pushes: PushMetrics,
    /// Batches that were durable outside of the store before they were stored.
    pub kept: Counter,
    /// Batches that could not be stored.
    pub failed: Counter,
    /// Groups that had to be tried again because the store was away.
    pub retries: Counter,
    /// Batches turned away because the queue was full.
    pub overloaded: Counter,
    /// Bytes that wait for the store.
    pub queue_bytes: Gauge,
    /// One group, from begin to commit.
    pub commit_seconds: Histogram,
    /// A batch, from its collection's start until it can be queried.
    pub queryable_seconds: Family<CollectionLabels, Histogram>,
    /// Notices for caches and health that were dropped because too many waited.
    pub notices_dropped: Counter,
    /// Failed attempts to write the caches.
    pub cache_errors: Counter,
    /// Events published.
    pub events: Counter,
    /// Failed attempts to publish.
    pub event_errors: Counter,
    /// Events that wait to be published.
    pub event_backlog: Gauge,
    /// Series that had a sample within the last hour.
    pub active_series: Gauge,
    /// What is remembered of the series of pushes.
    pub remote_write: RemoteWriteMetrics,
}

/// From a millisecond to 10 s, finer around 100 ms: the latency that we promise.
pub const LATENCY_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn latency() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

impl IngestMetrics {
    /// Creates and registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            samples: Counter::default(),
            batches: Counter::default(),
            duplicates: Counter::default(),
            pushes: PushMetrics::default(),
            kept: Counter::default(),
            failed: Counter::default(),
            retries: Counter::default(),
            overloaded: Counter::default(),
            queue_bytes: Gauge::default(),
            commit_seconds: latency(),
            queryable_seconds: Family::new_with_constructor(latency),
            notices_dropped: Counter::default(),
            cache_errors: Counter::default(),
            events: Counter::default(),
            event_errors: Counter::default(),
            event_backlog: Gauge::default(),
            active_series: Gauge::default(),
            remote_write: RemoteWriteMetrics::register(registry),
        };
        metrics.register_ingest(registry.sub_registry_with_prefix("ingest"));
        registry.register_with_unit(
            "collection_to_queryable",
            "From the start of a collection until its samples can be queried, by role of the process and by protocol",
            Unit::Seconds,
            metrics.queryable_seconds.clone(),
        );
        let cache = registry.sub_registry_with_prefix("cache");
        cache.register("errors", "Failed attempts to write the caches", metrics.cache_errors.clone());
        let events = registry.sub_registry_with_prefix("events");
        events.register("published", "Events published", metrics.events.clone());
        events.register("errors", "Failed attempts to publish events", metrics.event_errors.clone());
        events.register("backlog", "Events that wait to be published", metrics.event_backlog.clone());
        metrics
    }

    fn register_ingest(&self, registry: &mut Registry) {
        registry.register("samples", "Samples committed", self.samples.clone());
        registry.register("batches", "Batches committed", self.batches.clone());
        registry.register(
            "duplicate_batches",
            "Batches that had been stored before",
            self.duplicates.clone(),
        );
        self.pushes.register(registry);
        registry.register(
            "kept_batches",
            "Batches acknowledged from the spool or the sample log",
            self.kept.clone(),
        );
        registry.register("failed_batches", "Batches that could not be stored", self.failed.clone());
        registry.register(
            "commit_retries",
            "Groups tried again because the store was away",
            self.retries.clone(),
        );
        registry.register(
            "overloaded_batches",
            "Batches turned away by a full queue",
            self.overloaded.clone(),
        );
        registry.register(
            "active_series",
            "Series with a sample within the last hour",
            self.active_series.clone(),
        );
        registry.register_with_unit(
            "queue",
            "What waits for the store",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "One group of batches, from begin to commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "dropped_notices",
            "Notices for caches and health dropped",
            self.notices_dropped.clone(),
        );
    }

    /// Counts a committed batch; `from_log` where it came through the sample log.
    pub fn committed(&self, batch: &Batch, now: metricsd_model::Millis, from_log: bool) {
        self.batches.inc();
        self.samples.inc_by(batch.samples() as u64);
        // What was pushed is counted by its protocol where it came in.
        if batch.collection.method == CollectionMethod::PullScraping {
            for (reason, count) in &batch.collection.ledger.refused {
                self.pushes.refused_of_scrape(*reason, *count);
            }
        }
        let seconds = (now - batch.collection.started).max(0) as f64 / 1e3;
        self.queryable_seconds.get_or_create(&CollectionLabels::of(batch, from_log)).observe(seconds);
    }
}
