//! What the routes stand on. The binary fills it in; nothing is taken from globals.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metricsd_ingest::stream::Streams;
use metricsd_ingest::{Access, Door, Ingest, Limits, OtlpDoor};
use metricsd_model::{Millis, PromDuration};
use metricsd_ports::{
    Cache, Catalog, CollectionStats, EventBus, Integrity, LogSink, Membership, SampleSource,
};
use metricsd_promql::QueryEngine;
use metricsd_scrape::PageClient;
use metricsd_scrape::guard::AddressPolicy;
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{Cardinality, CorsOrigins, Dependency, HttpMetrics, LineProtocols, ReloadAccess, UploadAccess};

/// Which routes exist in this process; `/`, `/metrics`, `/healthz` and `/readyz` always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Everything.
    pub api: bool,
    /// The push routes.
    pub ingest: bool,
}

/// Defaults and bounds of the routes.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// `scrape_interval` where a request names none.
    pub default_interval: PromDuration,
    /// `scrape_timeout` where a request names none; never more than the interval.
    pub default_timeout: PromDuration,
    /// Requests that may be at work at once; more are answered 503.
    pub max_concurrent_requests: usize,
    /// Pushes that may be at work at once, and larger ones whose bodies may be in memory; more wait.
    pub max_concurrent_pushes: usize,
    /// Event streams that may be open at once.
    pub max_event_streams: usize,
    /// How long a request may take, those that wait for a worker left out.
    pub request_timeout: Duration,
    /// How long a deletion waits for the target's worker before it is answered as pending.
    pub deletion_patience: Duration,
    /// How much longer than its timeout a scrape out of turn is waited for.
    pub scrape_patience: Duration,
    /// How often a waiting request looks whether its worker is done.
    pub poll_every: Duration,
    /// Address that this process is reached at, for the examples of the home page.
    pub public_address: String,
    /// What only Prometheus' API needs.
    pub prometheus: PrometheusSettings,
}

/// What Prometheus' API shows and bounds beside the engine.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Steps of one range, as the engine bounds them: asked here first, so that the answer is Prometheus'.
    pub max_points: usize,
    /// How long a sample speaks for its series, for federation.
    pub look_back: Duration,
    /// The configuration that took effect, as YAML without secrets.
    pub config_yaml: String,
    /// The same, key by key.
    pub flags: BTreeMap<String, String>,
    /// How long samples are kept, as a duration; empty for ever.
    pub retention: String,
    /// Origins whose pages may ask.
    pub cors: CorsOrigins,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            max_points: 11_000,
            look_back: Duration::from_secs(300),
            config_yaml: String::new(),
            flags: BTreeMap::new(),
            retention: String::new(),
            cors: CorsOrigins::default(),
        }
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            default_interval: PromDuration::from_secs(15),
            default_timeout: PromDuration::from_secs(10),
            max_concurrent_requests: 1_024,
            max_concurrent_pushes: 32,
            max_event_streams: 256,
            request_timeout: Duration::from_secs(40),
            deletion_patience: Duration::from_secs(10),
            scrape_patience: Duration::from_secs(2),
            poll_every: Duration::from_millis(50),
            public_address: "127.0.0.1:9099".to_owned(),
            prometheus: PrometheusSettings::default(),
        }
    }
}

/// Turns a target's host name into addresses, so that they can be checked when the target is created.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Everything that the routes need.
pub struct Api {
    /// Which routes exist.
    pub roles: Roles,
    /// Defaults and bounds.
    pub settings: ApiSettings,
    /// Limits on bodies, labels and names.
    pub limits: Arc<Limits>,
    /// Targets, jobs, processes.
    pub catalog: Arc<dyn Catalog>,
    /// Leases of workers.
    pub membership: Arc<dyn Membership>,
    /// Samples.
    pub source: Arc<dyn SampleSource>,
    /// What became of all collections.
    pub integrity: Arc<dyn Integrity>,
    /// Where records of the sample log are kept that no store takes.
    pub parked: Vec<Arc<dyn LogSink>>,
    /// Queries.
    pub engine: Arc<dyn QueryEngine>,
    /// The four caches.
    pub cache: Arc<dyn Cache>,
    /// `metrics_collected`.
    pub events: Arc<dyn EventBus>,
    /// The door for pushes; without it there are no push routes.
    pub ingest: Option<Ingest>,
    /// Streams of items; shared with other protocols of the process.
    pub streams: Option<Arc<Streams>>,
    /// Files that are taken; without it there are none.
    pub uploads: Option<UploadAccess>,
    /// Which protocols of others are spoken beside our own.
    pub lines: LineProtocols,
    /// The door for OTLP, on top of that one.
    pub otlp: Option<OtlpDoor>,
    /// The report of series; it is watched by a task of its own.
    pub cardinality: Arc<Cardinality>,
    /// Who may come in.
    pub access: Arc<Access>,
    /// Where the listener listens that these routes are served on.
    pub door: Door,
    /// Addresses that may be targets.
    pub policy: AddressPolicy,
    /// Fetches pages for those who want to see what a target says.
    pub pages: PageClient,
    /// Resolves targets' names.
    pub resolver: Arc<dyn Resolve>,
    /// What readiness depends on.
    pub dependencies: Vec<Dependency>,
    /// Reads the file with the jobs again; absent where this process runs no discovery.
    pub reload: Option<ReloadAccess>,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// What the routes count.
    pub metrics: HttpMetrics,
    /// Cancelled when the process begins to drain: readiness turns, event streams end.
    pub shutdown: CancellationToken,
}

/// The state of the routes: what was given, and what they share beside.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) requests: Arc<Semaphore>,
    /// Pushes that are read, unpacked and prepared.
    pub(crate) pushes: Semaphore,
    /// Pushes of more than some bytes, from when they are so large until they are prepared.
    pub(crate) large: Semaphore,
    pub(crate) streams: Arc<Semaphore>,
    /// Remote reads at work at once; more wait, since each may hold a large answer.
    pub(crate) reads: Semaphore,
    /// When remotely written series began, as far as it was told.
    pub(crate) starts: crate::prometheus::write::KnownStarts,
    /// Exports at work at once; more are turned away, since each may take long.
    pub(crate) exports: Arc<Semaphore>,
    /// When the process began to serve.
    pub(crate) started: Millis,
    /// The last statistics; the lock also keeps many askers from computing the same at once.
    pub(crate) stats: Mutex<Option<(Instant, CollectionStats)>>,
}

/// As many as Prometheus has by default.
const MAX_REMOTE_READS: usize = 10;

/// Each holds some tens of megabytes.
const MAX_EXPORTS: usize = 4;

/// How handlers see it.
pub(crate) type AppState = axum::extract::State<Arc<Shared>>;

impl Shared {
    pub(crate) fn new(api: Api) -> Arc<Self> {
        let settings = &api.settings;
        Arc::new(Self {
            requests: Arc::new(Semaphore::new(settings.max_concurrent_requests)),
            pushes: Semaphore::new(settings.max_concurrent_pushes),
            large: Semaphore::new(settings.max_concurrent_pushes),
            streams: Arc::new(Semaphore::new(settings.max_event_streams)),
            reads: Semaphore::new(MAX_REMOTE_READS),
            starts: Default::default(),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            started: now(),
            stats: Mutex::new(None),
            api,
        })
    }
}

/// The wall clock.
pub(crate) fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}
