//! The HTTP server of a process.

use std::sync::Arc;
use std::time::Duration;

use metricsd_http::{Api, ApiSettings, Dependency, HttpMetrics, Roles, SystemResolver, router};
use metricsd_ingest::Ingest;
use metricsd_promql::{Engine, EngineOptions};
use metricsd_scrape::AddressPolicy;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::adapters::Adapters;
use crate::config::{Config, Role};

/// Starts to serve. The task ends when `stop` is cancelled and the requests under way are answered.
pub(super) fn start(
    config: &Config,
    adapters: &Adapters,
    ingest: Option<Ingest>,
    policy: Arc<AddressPolicy>,
    mut registry: Registry,
    listener: TcpListener,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let metrics = HttpMetrics::register(&mut registry);
    let engine = Engine::new(
        adapters.source.clone(),
        EngineOptions {
            look_back: config.query.look_back,
            timeout: config.query.timeout,
            max_concurrent: config.query.max_concurrent,
            max_series: config.limits.max_query_series,
            max_samples: config.limits.max_query_samples,
            ..EngineOptions::default()
        },
    );
    let public_address =
        listener.local_addr().map_or_else(|_| config.listen.clone(), |address| address.to_string());
    let router = router(Api {
        roles: Roles { api: config.roles.has(Role::Api), ingest: config.roles.has(Role::Ingest) },
        settings: ApiSettings {
            default_interval: config.scrape.default_interval,
            default_timeout: config.scrape.default_timeout,
            // A query's own limit speaks first: its error says more.
            request_timeout: ApiSettings::default()
                .request_timeout
                .max(config.query.timeout + Duration::from_secs(5)),
            public_address,
            ..ApiSettings::default()
        },
        limits: Arc::new(config.limits.clone()),
        catalog: adapters.catalog.clone(),
        source: adapters.source.clone(),
        engine: Arc::new(engine),
        cache: adapters.cache.clone(),
        events: adapters.bus.clone(),
        ingest,
        policy: (*policy).clone(),
        resolver: Arc::new(SystemResolver),
        dependencies: vec![
            Dependency::storage(adapters.sink.clone()),
            Dependency::cache(adapters.cache.clone()),
            Dependency::events(adapters.bus.clone()),
        ],
        registry: Arc::new(registry),
        metrics,
        shutdown: stop.clone(),
    });
    tokio::spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            error!(%error, "the HTTP server ended");
        }
    })
}
