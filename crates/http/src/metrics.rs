//! What the routes count of themselves, and `/metrics`.

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use metricsd_ingest::arrival::RefusedBodies;

use crate::Problem;
use crate::api::AppState;

/// Of one answer. The route is the pattern that matched, so that no address from outside becomes a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

/// Bounds of the histogram, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters of the routes.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<AnswerLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    pub(crate) streams: Gauge,
    pub(crate) refused_bodies: RefusedBodies,
}

impl HttpMetrics {
    /// Creates and registers them, in a registry that carries the prefix `metricsd`. What is `refused` is counted by others too.
    pub fn register(registry: &mut Registry, refused: RefusedBodies) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            streams: Gauge::default(),
            refused_bodies: refused,
        };
        let http = registry.sub_registry_with_prefix("http");
        http.register("requests", "Requests answered, by route, method and status", metrics.requests.clone());
        metrics.refused_bodies.register(http);
        http.register_with_unit(
            "request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        http.register("event_streams", "Event streams that are open", metrics.streams.clone());
        metrics
    }

    pub(crate) fn answered(&self, route: &str, method: &Method, status: StatusCode, seconds: f64) {
        let labels =
            AnswerLabels { route: route.to_owned(), method: name_of(method), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabel { route: route.to_owned() }).observe(seconds);
    }
}

/// A method's name out of a closed set.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The media type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`
pub(crate) async fn metrics(State(shared): AppState) -> Response {
    let mut text = String::new();
    match encode(&mut text, &shared.api.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "own metrics were not written");
            Problem::internal().into_response()
        }
    }
}
