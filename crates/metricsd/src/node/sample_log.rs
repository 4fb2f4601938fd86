//! The sample log: the sink of those who collect, and the writer that brings it to the stores.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use metricsd_http::{Check, Dependency};
use metricsd_ingest::{AfterCommit, IngestMetrics, Stores};
use metricsd_kafka::{KafkaLog, KafkaOptions, LogStatus, LogWriter};
use metricsd_ports::{LogSink, PortError, SampleSink};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::adapters::Adapters;
use super::spool;
use crate::config::SampleLogConfig;

/// How often the metrics are brought up to date.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Bytes of one batch, compressed: more than the largest scrape that the limits allow takes.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// What the settings come to. Batches are compressed already.
fn options(settings: &SampleLogConfig) -> KafkaOptions {
    let mut options = KafkaOptions::new(settings.brokers.join(","), &settings.topic);
    options.partitions = i32::try_from(settings.partitions).unwrap_or(i32::MAX);
    options.max_record_bytes = MAX_RECORD_BYTES;
    options.extra = [("compression.type".to_owned(), "none".to_owned())].into();
    let extra = settings.settings.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    options.extra.extend(extra);
    options
}

/// The log in the place of the stores: batches go there, and only questions go to the stores.
pub(super) fn before(settings: &SampleLogConfig, stores: Stores) -> Result<Stores> {
    let log = KafkaLog::connect(options(settings), stores.whole.clone());
    let log = Arc::new(log.context("the sample log cannot be used (sample_log)")?);
    Ok(Stores { each: vec![log], route: Arc::new(|_, _| 0), ..stores })
}

/// Readiness of those who write to the log: with a spool they go on without it.
pub(super) fn dependency(stores: &Stores, has_spool: bool) -> Option<Dependency> {
    let log = stores.each.first()?.clone();
    Some(Dependency::new("sample log", !has_spool, Arc::new(Answers(log))))
}

struct Answers(Arc<dyn SampleSink>);

#[async_trait]
impl Check for Answers {
    async fn check(&self) -> Result<(), PortError> {
        self.0.ping().await
    }
}

/// Starts a writer and its metrics.
pub(super) fn start_writer(
    settings: &SampleLogConfig,
    adapters: &Adapters,
    metrics: &IngestMetrics,
    after: &AfterCommit,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>> {
    let stores: Vec<Arc<dyn LogSink>> = adapters.members.iter().map(|member| member.log.clone()).collect();
    let (route, stored) = (adapters.stores.route.clone(), spool::stored(metrics, after, true));
    let writer = LogWriter::new(options(settings), stores, route, stored);
    let writer = writer.context("the sample log cannot be read (sample_log)")?;
    let shown = Shown::register(registry);
    let status = writer.status();
    Ok(vec![tokio::spawn(writer.run(stop.clone())), tokio::spawn(show(status, shown, stop.clone()))])
}

struct Shown {
    lag: Gauge,
    partitions: Gauge,
    age: Gauge<f64, AtomicU64>,
    records: Counter,
    parked: Counter,
    lost: Counter,
    restarts: Counter,
    errors: Counter,
}

impl Shown {
    fn register(registry: &mut Registry) -> Self {
        let shown = Self {
            lag: Gauge::default(),
            partitions: Gauge::default(),
            age: Gauge::default(),
            records: Counter::default(),
            parked: Counter::default(),
            lost: Counter::default(),
            restarts: Counter::default(),
            errors: Counter::default(),
        };
        let log = registry.sub_registry_with_prefix("sample_log");
        log.register(
            "lag",
            "Records of the sample log that are not stored yet, of partitions read here",
            shown.lag.clone(),
        );
        log.register(
            "partitions",
            "Partitions of the sample log that are read here",
            shown.partitions.clone(),
        );
        log.register_with_unit(
            "age",
            "From the start of a collection until its batch was stored, of the last group; until now where it is not stored yet",
            Unit::Seconds,
            shown.age.clone(),
        );
        log.register("records", "Records of the sample log stored", shown.records.clone());
        log.register(
            "parked",
            "Records of the sample log that no store takes, put aside",
            shown.parked.clone(),
        );
        log.register(
            "lost",
            "Records of the sample log that its retention removed before they were stored",
            shown.lost.clone(),
        );
        log.register(
            "restarts",
            "Partitions of the sample log that ended before what was stored of them, and are read from their beginning",
            shown.restarts.clone(),
        );
        log.register(
            "errors",
            "Failed attempts to read the sample log or to store from it",
            shown.errors.clone(),
        );
        shown
    }
}

async fn show(status: Arc<LogStatus>, shown: Shown, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SHOW_EVERY);
    while !stop.is_cancelled() {
        shown.lag.set(status.lag().cast_signed());
        shown.partitions.set(status.partitions().cast_signed());
        shown.age.set(status.age_seconds());
        let counters = [
            (&shown.records, status.records()),
            (&shown.parked, status.parked()),
            (&shown.lost, status.lost_records()),
            (&shown.restarts, status.restarts()),
            (&shown.errors, status.errors()),
        ];
        for (counter, value) in counters {
            counter.inc_by(value.saturating_sub(counter.get()));
        }
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => {}
        }
    }
}
