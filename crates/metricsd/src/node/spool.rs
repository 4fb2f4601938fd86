//! The spool before each database: opened, shown, and asked by readiness.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use metricsd_http::{Check, Dependency};
use metricsd_ingest::{AfterCommit, IngestMetrics, Stores};
use metricsd_model::Batch;
use metricsd_ports::{Backlog, ErrorKind, PortError, Receipt, SampleSink};
use metricsd_spool::{
    Between, Folder, Order, SpoolLog, SpoolMetrics, SpoolOptions, SpoolStatus, SpooledSink,
};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SpoolConfig};

/// How often the metrics are brought up to date.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// The spools of a process.
pub(super) struct Spools {
    /// Held for as long as this lives.
    _folder: Folder,
    /// Of each database.
    statuses: Vec<Arc<SpoolStatus>>,
}

/// Puts a spool before each of the stores. The batches that one of them holds go to all stores together, which share them
/// out: the list of databases may have changed since they were written.
pub(super) fn before(
    config: &Config,
    settings: &SpoolConfig,
    stores: Stores,
    metrics: &IngestMetrics,
    after: &AfterCommit,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<(Stores, Spools, Vec<JoinHandle<()>>)> {
    let Stores { whole, each, route, .. } = stores;
    let folder = Folder::take(&settings.directory, each.len()).context("the spool cannot be opened")?;
    let shown = SpoolMetrics::register(registry);
    let options = SpoolOptions {
        max_bytes: settings.max_bytes / each.len().max(1) as u64,
        order: if settings.newest_first { Order::Newest } else { Order::Oldest },
        after: settings.after,
        ..SpoolOptions::default()
    };
    let (mut sinks, mut statuses, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    // One takes all, which need not be the store.
    let all = if each.len() == 1 { each.first().cloned() } else { None }.unwrap_or_else(|| whole.clone());
    for (place, store) in each.into_iter().enumerate() {
        let path = folder.path().join((place + 1).to_string());
        let log = SpoolLog::open(&path, options.clone());
        let log = log.with_context(|| format!("the spool {} cannot be read", path.display()))?;
        let between = Between {
            store,
            whole: all.clone(),
            pressure: pressure(config, metrics),
            replayed: stored(metrics, after, false),
        };
        let (sink, task) = SpooledSink::start(between, log, shown.clone(), stop.clone());
        statuses.push(sink.status().clone());
        sinks.push(sink as Arc<dyn SampleSink>);
        tasks.push(task);
    }
    tasks.push(tokio::spawn(show(statuses.clone(), shown, stop.clone())));
    let backlogs = statuses.iter().map(|status| status.clone() as Arc<dyn Backlog>).collect();
    Ok((Stores { whole, each: sinks, route, backlogs }, Spools { _folder: folder, statuses }, tasks))
}

/// When half of what may wait in memory does, the store is slower than what arrives.
fn pressure(config: &Config, metrics: &IngestMetrics) -> metricsd_spool::Pressure {
    let (queued, mark) = (metrics.queue_bytes.clone(), config.limits.max_queue_bytes as i64 / 2);
    Arc::new(move || queued.get() > mark)
}

/// What follows the commit of batches that waited; health and caches were told when they began to.
pub(super) fn stored(
    metrics: &IngestMetrics,
    after: &AfterCommit,
    from_log: bool,
) -> metricsd_spool::Replayed {
    let (metrics, after) = (metrics.clone(), after.clone());
    Arc::new(move |batches: &[Arc<Batch>], receipts: &[Receipt]| {
        let now = chrono::Utc::now().timestamp_millis();
        for (batch, receipt) in batches.iter().zip(receipts) {
            match receipt {
                Receipt::Stored => metrics.committed(batch, now, from_log),
                Receipt::Duplicate => drop(metrics.duplicates.inc()),
                // In the sample log now, or another worker's.
                Receipt::Kept | Receipt::Fenced => {}
            }
        }
        after.committed_late();
    })
}

async fn show(statuses: Vec<Arc<SpoolStatus>>, metrics: SpoolMetrics, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SHOW_EVERY);
    while !stop.is_cancelled() {
        metrics.show(statuses.iter().map(AsRef::as_ref), chrono::Utc::now().timestamp_millis());
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Spools {
    /// Readiness says that batches wait; the process goes on all the same.
    pub(super) fn dependency(&self) -> Dependency {
        Dependency::new("spool", false, Arc::new(IsEmpty(self.statuses.clone())))
    }
}

struct IsEmpty(Vec<Arc<SpoolStatus>>);

#[async_trait]
impl Check for IsEmpty {
    async fn check(&self) -> Result<(), PortError> {
        let (batches, bytes): (u64, u64) =
            self.0.iter().fold((0, 0), |sum, status| (sum.0 + status.batches(), sum.1 + status.bytes()));
        if batches == 0 {
            return Ok(());
        }
        let message = format!("{batches} batches of {bytes} bytes wait for the store");
        Err(PortError::new(ErrorKind::Limit, message).for_askers())
    }
}
