//! `/healthz`: the process runs. `/readyz`: what it needs answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use metricsd_ports::{Cache, ErrorKind, EventBus, PortError, SampleSink};
use serde::Serialize;
use tracing::debug;

use crate::api::{AppState, Shared};

/// Something that can be asked whether it answers.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Whether it answers.
    async fn check(&self) -> Result<(), PortError>;
}

/// Something that this process depends on.
#[derive(Clone)]
pub struct Dependency {
    name: String,
    critical: bool,
    check: Arc<dyn Check>,
}

impl Dependency {
    /// Without a critical dependency the process is not ready; without another it goes on and says so.
    pub fn new(name: impl Into<String>, critical: bool, check: Arc<dyn Check>) -> Self {
        Self { name: name.into(), critical, check }
    }

    /// A store: critical.
    pub fn storage(sink: Arc<dyn SampleSink>) -> Self {
        Self::store("storage", true, sink)
    }

    /// One store of several.
    pub fn store(name: impl Into<String>, critical: bool, sink: Arc<dyn SampleSink>) -> Self {
        Self::new(name, critical, Arc::new(SinkCheck(sink)))
    }

    /// A cache: the service works without it.
    pub fn cache(cache: Arc<dyn Cache>) -> Self {
        Self::new("cache", false, Arc::new(CacheCheck(cache)))
    }

    /// An event bus: events wait in the outbox while it is away.
    pub fn events(bus: Arc<dyn EventBus>) -> Self {
        Self::new("events", false, Arc::new(BusCheck(bus)))
    }
}

struct SinkCheck(Arc<dyn SampleSink>);
struct CacheCheck(Arc<dyn Cache>);
struct BusCheck(Arc<dyn EventBus>);

#[async_trait]
impl Check for SinkCheck {
    async fn check(&self) -> Result<(), PortError> {
        self.0.ping().await
    }
}

#[async_trait]
impl Check for CacheCheck {
    async fn check(&self) -> Result<(), PortError> {
        self.0.ping().await
    }
}

#[async_trait]
impl Check for BusCheck {
    async fn check(&self) -> Result<(), PortError> {
        self.0.ping().await
    }
}

/// A dependency that has not answered by then is down.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    dependencies: Vec<DependencyStatus>,
}

#[derive(Serialize)]
struct DependencyStatus {
    name: String,
    critical: bool,
    status: &'static str,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'static, str>>,
}

impl DependencyStatus {
    fn is_down(&self) -> bool {
        self.error.is_some()
    }
}

/// `GET /healthz`
pub(crate) async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /-/healthy`: the same as Prometheus asks it.
pub(crate) async fn healthy() -> &'static str {
    "metricsd is healthy.\n"
}

/// `GET /-/ready`: the same as `/readyz`, as Prometheus asks it.
pub(crate) async fn ready(State(shared): AppState) -> (StatusCode, &'static str) {
    match readiness(&shared).await {
        (StatusCode::OK, _) => (StatusCode::OK, "metricsd is ready.\n"),
        (code, _) => (code, "metricsd is not ready; /readyz says why.\n"),
    }
}

/// `GET /readyz`: 503 when something critical is down or the process drains.
pub(crate) async fn readyz(State(shared): AppState) -> Response {
    let (code, readiness) = readiness(&shared).await;
    (code, Json(readiness)).into_response()
}

async fn readiness(shared: &Shared) -> (StatusCode, Readiness) {
    let dependencies = join_all(shared.api.dependencies.iter().map(ask)).await;
    let status = if shared.api.shutdown.is_cancelled() {
        "draining"
    } else if dependencies.iter().any(|dependency| dependency.critical && dependency.is_down()) {
        "unavailable"
    } else if dependencies.iter().any(DependencyStatus::is_down) {
        "degraded"
    } else {
        "ready"
    };
    let code = match status {
        "ready" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Readiness { status, dependencies })
}

async fn ask(dependency: &Dependency) -> DependencyStatus {
    let started = Instant::now();
    let answer = tokio::time::timeout(CHECK_TIMEOUT, dependency.check.check()).await;
    let error = match answer {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            debug!(dependency = dependency.name, error = error.chain(), "a dependency is down");
            Some(error.told().map_or_else(
                || {
                    Cow::Borrowed(match error.kind() {
                        ErrorKind::Unavailable => "cannot be reached",
                        ErrorKind::Timeout => "does not answer in time",
                        _ => "answers with an error; the log says more",
                    })
                },
                |told| Cow::Owned(told.to_owned()),
            ))
        }
        Err(_) => Some(Cow::Borrowed("does not answer in time")),
    };
    DependencyStatus {
        name: dependency.name.clone(),
        critical: dependency.critical,
        status: if error.is_some() { "down" } else { "up" },
        latency_ms: started.elapsed().as_secs_f64() * 1e3,
        error,
    }
}
