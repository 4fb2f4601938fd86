//! The HTTP server of a process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metricsd_http::{
    Api, ApiSettings, Cardinality, CorsOrigins, Dependency, HttpMetrics, LineProtocols, Peer,
    PrometheusSettings, ReloadAccess, Roles, SystemResolver, UploadAccess, router,
};
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::Streams;
use metricsd_ingest::{Access, Door, Ingest, OtlpDoor};
use metricsd_promql::{Engine, EngineOptions};
use metricsd_scrape::{AddressPolicy, PageClient};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::warn;

use super::adapters::{Adapters, Member};
use super::connections::{self, ConnectionMetrics, Places};
use super::discovery::Reloader;
use super::sinks::Way;
use super::spool::Spools;
use crate::config::{Config, Effective, Role};

/// The configuration as the status pages show it, without secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// As a file.
    pub(super) yaml: String,
    /// Every key with its value.
    pub(super) flags: BTreeMap<String, String>,
}

impl From<&Effective> for Shown {
    fn from(effective: &Effective) -> Self {
        // What cannot be written is not worth refusing to serve for.
        Self { yaml: effective.yaml().unwrap_or_default(), flags: effective.flat() }
    }
}

/// What the server is made of beside the adapters.
pub(super) struct Parts<'a> {
    /// Who may come in.
    pub(super) access: Arc<Access>,
    pub(super) shown: Shown,
    /// Counts bodies that are not read, also those that come over gRPC.
    pub(super) refused: RefusedBodies,
    /// Where there are push routes.
    pub(super) ingest: Option<Ingest>,
    /// On top of that.
    pub(super) streams: Option<Arc<Streams>>,
    /// Where files are taken.
    pub(super) uploads: Option<UploadAccess>,
    /// On top of that.
    pub(super) otlp: Option<OtlpDoor>,
    /// The report of series.
    pub(super) cardinality: Arc<Cardinality>,
    pub(super) policy: Arc<AddressPolicy>,
    /// Fetches pages.
    pub(super) pages: PageClient,
    pub(super) registry: Registry,
    /// Reads the file with the jobs again.
    pub(super) reload: Option<Reloader>,
    /// Protocols of others.
    pub(super) protocols: LineProtocols,
    /// What batches pass on their way to the stores.
    pub(super) way: &'a Way,
}

/// Starts to serve. The task ends when `stop` is cancelled and the requests under way are answered.
pub(super) fn start(
    config: &Config,
    adapters: &Adapters,
    parts: Parts<'_>,
    listener: TcpListener,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let Parts {
        access,
        refused,
        shown,
        ingest,
        streams,
        uploads,
        otlp,
        cardinality,
        policy,
        pages,
        mut registry,
        reload,
        protocols,
        way,
    } = parts;
    let token = config.discovery.reload_token.clone();
    let reload = reload.map(|reloader| ReloadAccess { reload: Box::new(reloader), token });
    let metrics = HttpMetrics::register(&mut registry, refused);
    let connections = ConnectionMetrics::register(&mut registry);
    let places =
        Places::new(connections::room(config.http.max_connections), config.http.header_timeout, connections);
    let engine = Engine::new(adapters.source.clone(), engine_options(config));
    let public_address =
        listener.local_addr().map_or_else(|_| config.listen.clone(), |address| address.to_string());
    // An address that cannot be told is taken for one that others reach.
    let door = listener.local_addr().map_or(Door::Elsewhere, Door::of);
    let router = router(Api {
        access,
        door,
        roles: Roles { api: config.roles.has(Role::Api), ingest: config.roles.has(Role::Ingest) },
        settings: api_settings(config, shown, public_address),
        limits: Arc::new(config.limits.clone()),
        catalog: adapters.catalog.clone(),
        membership: adapters.membership.clone(),
        source: adapters.source.clone(),
        integrity: adapters.integrity.clone(),
        parked: adapters.members.iter().map(|member| member.log.clone()).collect(),
        engine: Arc::new(engine),
        cache: adapters.cache.clone(),
        events: adapters.bus.clone(),
        ingest,
        streams,
        uploads,
        lines: protocols,
        otlp,
        cardinality,
        policy: (*policy).clone(),
        pages,
        resolver: Arc::new(SystemResolver),
        dependencies: dependencies(config, adapters, way),
        reload,
        registry: Arc::new(registry),
        metrics,
        shutdown: stop.clone(),
    });
    tokio::spawn(serve(listener, router, places, stop))
}

fn engine_options(config: &Config) -> EngineOptions {
    EngineOptions {
        look_back: config.promql.look_back,
        subquery_step: config.promql.subquery_step,
        experimental: config.promql.experimental,
        rollups: config.retention.rollups.is_some(),
        timeout: config.promql.timeout,
        max_concurrent: config.promql.max_concurrent,
        // The engine counts moments, of which there is one more than steps between them.
        max_points: config.promql.max_points.saturating_add(1),
        max_bytes: config.promql.max_bytes,
        max_series: config.limits.max_query_series,
        max_samples: config.limits.max_query_samples,
    }
}

fn api_settings(config: &Config, shown: Shown, public_address: String) -> ApiSettings {
    ApiSettings {
        default_interval: config.scrape.default_interval,
        default_timeout: config.scrape.default_timeout,
        request_timeout: config.http.request_timeout,
        public_address,
        prometheus: PrometheusSettings {
            max_points: config.promql.max_points,
            look_back: config.promql.look_back,
            config_yaml: shown.yaml,
            flags: shown.flags,
            cors: CorsOrigins { origins: config.cors.origins.clone(), pattern: config.cors.pattern.clone() },
            retention: config.retention.default.map_or_else(String::new, metricsd_model::format_duration),
        },
        ..ApiSettings::default()
    }
}

/// Without the home database nothing works. Without another shard what does not touch its targets goes on, and so it is
/// not taken out of service.
/// Who only takes what comes goes on with a spool.
fn dependencies(config: &Config, adapters: &Adapters, way: &Way) -> Vec<Dependency> {
    let needed = way.spools.is_none() || config.roles.has(Role::Api);
    let store =
        |member: &Member| Dependency::store(&member.name, member.is_home && needed, member.sink.clone());
    let stores = adapters.members.iter().map(store).chain(way.spools.as_ref().map(Spools::dependency));
    let beside = [Dependency::cache(adapters.cache.clone()), Dependency::events(adapters.bus.clone())];
    stores.chain(way.log.clone()).chain(beside).collect()
}

/// How often a silent client of HTTP/2 is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Pause after a failure to accept, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then answers what is under way.
async fn serve(listener: TcpListener, router: Router, places: Arc<Places>, stop: CancellationToken) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(places.patience());
    server.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE);
    let open = GracefulShutdown::new();
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let Some(place) = places.take() else {
            connections::refuse(&socket);
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (guest, router) = (place.guest(), router.clone());
        let told = tower::service_fn(move |mut request: axum::http::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let (at_work, router) = (guest.work(), router.clone());
            async move {
                let answer = router.oneshot(request).await;
                drop(at_work);
                answer
            }
        });
        let service = TowerToHyperService::new(told);
        // A WebSocket takes its connection over, and is bounded by the number of streams from then on.
        let watched = TokioIo::new(place.watch(socket));
        let connection = server.serve_connection_with_upgrades(watched, service).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            // A client that goes away, or sends nonsense, is no event.
            tokio::select! {
                _ = connection => {}
                () = place.displaced() => {}
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}
