//! Discovery in this process: the file with the jobs is watched, and while this process leads, what its providers find is
//! brought into the catalogue.
//!
//! In the order of the flow: [`mod@file`] reads the file, again when it changes or someone asks; [`lead`] runs the providers
//! while no other process does; [`resolve`] makes targets of what they find and [`sync`] brings those into the catalogue.

mod factory;
mod file;
mod lead;
mod resolve;
mod state;
mod sync;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metricsd_discovery::metrics::DiscoveryMetrics;
use metricsd_discovery::{JobConfig, ProviderFactory};
use metricsd_ports::{Catalog, ConfigState};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(super) use factory::Factory;
pub(super) use file::Reloader;

/// How discovery is run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The file with the jobs.
    pub(super) file: PathBuf,
    /// Targets of all jobs.
    pub(super) max_targets: usize,
    /// Dropped targets of one job that are kept to be shown.
    pub(super) kept_dropped: usize,
    /// Address of this process, for who looks where discovery runs.
    pub(super) process: String,
}

/// What the file came to the last time.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    /// Counts the times that it was read.
    pub(super) generation: u64,
    /// Jobs of the last good one; `None` where there never was one.
    pub(super) jobs: Option<Arc<Vec<JobConfig>>>,
    /// How it went.
    pub(super) state: ConfigState,
}

/// What `/metrics` shows of the file and the catalogue.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    successful: Gauge,
    success_time: Gauge,
    leading: Gauge,
    targets: Gauge,
    sync_failures: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let config = registry.sub_registry_with_prefix("config");
        let what = "Whether the file with the jobs was good when it was last read: 1 or 0";
        config.register("last_reload_successful", what, metrics.successful.clone());
        let what = "When a good file with jobs was last read, in seconds since the epoch";
        config.register("last_reload_success_timestamp_seconds", what, metrics.success_time.clone());
        let discovery = registry.sub_registry_with_prefix("discovery");
        discovery.register("leading", "Whether this process runs discovery: 1 or 0", metrics.leading.clone());
        let what = "Discovered targets in the catalogue, as this process brought them there";
        discovery.register("catalogue_targets", what, metrics.targets.clone());
        let what = "Times that what was found could not be written into the catalogue";
        discovery.register("sync_failures", what, metrics.sync_failures.clone());
        metrics
    }
}

/// What the file's reader and the leader tell each other.
#[derive(Clone)]
struct Shared {
    settings: Arc<Settings>,
    catalog: Arc<dyn Catalog>,
    metrics: Metrics,
    /// What the file came to.
    loaded: watch::Sender<Loaded>,
    /// The generation that was taken up, while this process leads.
    applied: watch::Sender<Option<u64>>,
    stop: CancellationToken,
}

/// Starts to watch the file, and to run discovery while no other process does.
pub(super) fn start(
    settings: Settings,
    catalog: Arc<dyn Catalog>,
    factory: Arc<dyn ProviderFactory>,
    registry: &mut Registry,
    stop: CancellationToken,
) -> (Reloader, Vec<JoinHandle<()>>) {
    let shared = Shared {
        settings: Arc::new(settings),
        catalog,
        metrics: Metrics::register(registry),
        loaded: watch::Sender::default(),
        applied: watch::Sender::new(None),
        stop,
    };
    let providers = DiscoveryMetrics::register(registry);
    let (reloader, reader) = file::start(shared.clone());
    let leader = tokio::spawn(lead::run(shared, factory, providers));
    (reloader, vec![reader, leader])
}

/// Has the targets of all jobs go: there is no file any more.
pub(super) async fn forget(catalog: Arc<dyn Catalog>, stop: CancellationToken) {
    while let Err(error) = catalog.retain_jobs(&[]).await {
        warn!(error = error.chain(), "targets of jobs that are no longer configured stay for now");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How often lapsed targets are looked for.
const LAPSE_EVERY: Duration = Duration::from_secs(1);

/// Has targets that registered themselves go when their time has come, until told to stop.
pub(super) async fn expire(catalog: Arc<dyn Catalog>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LAPSE_EVERY) => {}
            () = stop.cancelled() => return,
        }
        match catalog.expire_lapsed().await {
            Ok(0) => failing = false,
            Ok(targets) => {
                failing = false;
                tracing::info!(targets, "registered targets have lapsed");
            }
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!(error = error.chain(), "lapsed targets cannot be looked for");
            }
            Err(_) => {}
        }
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
