//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use metricsd_ports::Right;

use crate::access::{self, Needs};
use crate::api::{Api, Roles, Shared};
use crate::{
    cardinality, cluster, compress, cors, custom, discovery, events, explain, export, guard, health, home,
    influx, integrity, jobs, metrics, otlp, prometheus, pushgateway, query, reload, stats, stream, targets,
    tokens, upload, work,
};

/// One route: the methods are written down beside the handlers so that the OpenAPI document can be checked against
/// them; a test sees to it that they agree.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) methods: &'static [&'static str],
    handlers: MethodRouter<Arc<Shared>>,
    needs: Needs,
}

impl Route {
    /// The same for who may push.
    pub(crate) fn pushes(self) -> Self {
        Self { needs: Needs::Right(Right::Push), ..self }
    }

    /// The same for who may read, whatever the method.
    pub(crate) fn reads(self) -> Self {
        Self { needs: Needs::Right(Right::Read), ..self }
    }

    /// The same for who may manage, whatever the method.
    pub(crate) fn manages(self) -> Self {
        Self { needs: Needs::Right(Right::Manage), ..self }
    }

    /// The same for everyone.
    pub(crate) fn open(self) -> Self {
        Self { needs: Needs::Nothing, ..self }
    }

    /// The same for whom its handler lets in.
    pub(crate) fn decides(self) -> Self {
        Self { needs: Needs::Own, ..self }
    }
}

/// A route with the methods that its handlers take. Where nothing else is said of it, `GET` needs the right to read, and
/// everything else the right to manage.
pub(crate) fn route(
    path: &'static str,
    methods: &'static [&'static str],
    handlers: MethodRouter<Arc<Shared>>,
) -> Route {
    Route { path, methods, handlers, needs: Needs::ByMethod }
}

const TARGETS: &str = "/api/v1/metrics/targets";
const TARGET: &str = "/api/v1/metrics/targets/{target_id}";
const SCRAPE: &str = "/api/v1/metrics/targets/{target_id}/scrape";
const DEBUG: &str = "/api/v1/metrics/targets/{target_id}/debug";
const LATEST: &str = "/api/v1/metrics/targets/{target_id}/latest";
const CUSTOM: &str = "/api/v1/metrics/custom";
const UPLOAD: &str = "/api/v1/metrics/upload";
const UPLOAD_PARTS: &str = "/api/v1/metrics/upload/{upload_id}";
const QUERY: &str = "/api/v1/metrics/query";
const STREAM: &str = "/api/v1/metrics/stream";
const TOKENS: &str = "/api/v1/metrics/tokens";
const TOKEN: &str = "/api/v1/metrics/tokens/{token_id}";
const EVENTS: &str = "/api/v1/metrics/events";

/// The routes of a process with these roles.
pub(crate) fn routes(roles: Roles) -> Vec<Route> {
    let mut routes = own_routes(roles);
    routes.extend(prometheus_routes(roles));
    routes
}

/// Prometheus' API, which pages of other origins may ask.
fn prometheus_routes(roles: Roles) -> Vec<Route> {
    if roles.api { prometheus::routes() } else { Vec::new() }
}

fn own_routes(roles: Roles) -> Vec<Route> {
    let mut routes = vec![
        route("/", &["GET"], get(home::home)).open(),
        route("/healthz", &["GET"], get(health::healthz)).open(),
        route("/readyz", &["GET"], get(health::readyz)).open(),
        route("/-/healthy", &["GET"], get(health::healthy)).open(),
        route("/-/ready", &["GET"], get(health::ready)).open(),
        route("/metrics", &["GET"], get(metrics::metrics)).open(),
    ];
    if roles.api || roles.ingest {
        routes.push(route(CUSTOM, &["POST"], post(custom::push)).pushes());
        routes.push(route(UPLOAD, &["POST"], post(upload::create)).pushes());
        let parts = get(upload::show).put(upload::more);
        routes.push(route(UPLOAD_PARTS, &["GET", "PUT"], parts).pushes());
        routes.push(route(STREAM, &["GET", "POST"], get(stream::get).post(stream::post)).decides());
        let position = "/api/v1/metrics/stream/{stream_id}/position";
        routes.push(route(position, &["GET"], get(stream::position)).pushes());
        routes.push(route("/v1/metrics", &["POST"], post(otlp::export)).pushes());
        routes.push(route("/api/v1/otlp/v1/metrics", &["POST"], post(otlp::export)).pushes());
        let write = post(prometheus::write::write);
        routes.push(route("/api/v1/write", prometheus::POST, write).pushes());
        routes.extend(influx::routes());
        routes.extend(pushgateway::routes());
    }
    if roles.api {
        let target = get(targets::show).put(targets::replace).patch(targets::change).delete(targets::delete);
        routes.extend([
            route(TARGETS, &["GET", "POST"], get(targets::list).post(targets::create)),
            route(TARGET, &["GET", "PUT", "PATCH", "DELETE"], target),
            route(SCRAPE, &["POST"], post(targets::scrape)),
            route(DEBUG, &["GET"], get(targets::debug)),
            route(LATEST, &["GET"], get(targets::latest)),
            route(QUERY, &["GET"], get(query::query)),
            route("/api/v1/metrics/explain", &["GET"], get(explain::line)),
            route("/api/v1/metrics/cluster", &["GET"], get(cluster::cluster)),
            route("/api/v1/metrics/stats", &["GET"], get(stats::stats)),
            route("/api/v1/metrics/cardinality", &["GET"], get(cardinality::cardinality)),
            route("/api/v1/metrics/discovery", &["GET"], get(discovery::discovery)),
            route("/api/v1/metrics/http_sd", &["GET"], get(discovery::http_sd)),
            route("/-/reload", &["POST", "PUT"], post(reload::reload).put(reload::reload)).decides(),
            route("/api/v1/metrics/jobs", &["GET"], get(jobs::list)),
            route("/api/v1/metrics/jobs/{job_id}", &["GET", "DELETE"], get(work::show).delete(work::cancel)),
            route(export::PATH, &["GET"], get(export::export)),
            route("/api/v1/metrics/integrity", &["GET"], get(integrity::ledger)),
            route("/api/v1/metrics/integrity/recount", &["GET"], get(integrity::recount)),
            route("/api/v1/metrics/parked", &["GET"], get(integrity::parked)),
            route(EVENTS, &["GET"], get(events::stream)),
            route("/api/v1/openapi.json", &["GET"], get(home::openapi)).open(),
            route(TOKENS, &["GET", "POST"], get(tokens::list).post(tokens::create)).manages(),
            route(TOKEN, &["DELETE"], delete(tokens::revoke)).manages(),
        ]);
    }
    routes
}

/// How long requests of a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Answered even when everything else is turned away.
    Always,
    /// The general timeout.
    Bounded,
    /// A bound of its own: it waits for a worker, or streams.
    Own,
}

impl Patience {
    pub(crate) fn of(path: &str, method: &Method) -> Self {
        match path {
            "/healthz" | "/readyz" | "/metrics" | "/-/healthy" | "/-/ready" => Self::Always,
            EVENTS | SCRAPE | STREAM | UPLOAD | UPLOAD_PARTS | export::PATH => Self::Own,
            // The engine's timeout says more.
            QUERY | "/api/v1/query" | "/api/v1/query_range" => Self::Own,
            TARGET if *method == Method::DELETE => Self::Own,
            _ => Self::Bounded,
        }
    }
}

/// The routes that the roles of `api` ask for.
pub fn router(api: Api) -> Router {
    let roles = api.roles;
    let shared = Shared::new(api);
    let table = |routes: Vec<Route>| {
        routes.into_iter().fold(Router::new(), |router, route| {
            let enter = from_fn_with_state((shared.clone(), route.needs), access::enter);
            router.route(route.path, route.handlers.route_layer(enter))
        })
    };
    table(prometheus_routes(roles))
        // Before the layer, so that preflight requests pass through it.
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), cors::cors))
        .merge(table(own_routes(roles)))
        .fallback(guard::not_found)
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), guard::bound))
        .layer(from_fn_with_state(shared.clone(), guard::track))
        .layer(from_fn(compress::gzip))
        .with_state(shared)
}
