//! A whole service in memory, called through its router without a socket.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the harness")]

pub mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use metricsd_codec::otlp::{OtlpOptions, StreamLimits};
use metricsd_http::{
    Api, ApiSettings, Cardinality, Dependency, HttpMetrics, Resolve, Roles, UploadAccess, router,
};
use metricsd_ingest::access::NewToken;
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::{StreamOptions, Streams};
use metricsd_ingest::{
    Access, AccessMetrics, AccessOptions, AfterCommit, CommitOptions, Door, GroupCommit, Ingest,
    IngestMetrics, Limits, OtlpDoor,
};
use metricsd_ports::memory::bus::MemoryBus;
use metricsd_ports::memory::cache::MemoryCache;
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{AccessToken, Catalog, Process, Quota, Right, Rights, SampleSink, TokenCatalog};
use metricsd_promql::{Engine, EngineOptions};
use metricsd_scrape::guard::AddressPolicy;
use metricsd_scrape::{Context, PageClient, SecretAccess};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// The service and what stands behind it.
pub struct Service {
    pub store: Arc<MemoryStore>,
    pub cache: Arc<MemoryCache>,
    pub bus: Arc<MemoryBus>,
    pub shutdown: CancellationToken,
    pub router: Router,
}

/// One answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem document of this status, and answers it.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let length = self.body.len().to_string();
        assert_eq!(self.header("content-length"), length);
        let problem = self.json();
        for field in ["type", "title", "status", "detail", "instance"] {
            assert!(!problem[field].is_null(), "{field}: {problem}");
        }
        assert_eq!(problem["status"], status);
        problem
    }
}

/// Makes a token with this quota, which the service knows at once where it looks for tokens in its store; answers its id too.
pub async fn token(service: &Service, access: &Access, rights: &[Right], quota: Quota) -> (Uuid, String) {
    let made = NewToken::generate().unwrap();
    let token = AccessToken {
        id: made.id,
        name: "t".to_owned(),
        digest: made.digest,
        rights: Rights::new(rights.iter().copied()),
        source_id: None,
        quota,
        created_at: 0,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    service.store.create_token(&token).await.unwrap();
    access.refresh().await.unwrap();
    (made.id, format!("Bearer {}", made.text.expose()))
}

/// A service that asks everyone for a token, and who decides.
pub fn guarded() -> (Service, Arc<Access>) {
    let store = Arc::new(MemoryStore::new());
    let options = AccessOptions { required: true, ..AccessOptions::default() };
    let access = Access::new(store.clone(), options, AccessMetrics::default());
    let given = access.clone();
    (Service::over(store.clone(), store, Limits::default(), |api| api.access = given), access)
}

/// Resolves every name to addresses that are given.
struct FixedResolver(Option<Vec<SocketAddr>>);

#[async_trait]
impl Resolve for FixedResolver {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.clone().ok_or_else(|| io::Error::other("no such name"))
    }
}

pub fn resolver(addresses: Option<&[&str]>) -> Arc<dyn Resolve> {
    let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(FixedResolver(addresses.map(parse)))
}

impl Service {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// A service whose parts are changed before it starts.
    pub fn with(change: impl FnOnce(&mut Api)) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::over(store.clone(), store, Limits::default(), change)
    }

    pub fn with_limits(limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::over(store.clone(), store, limits, |_| {})
    }

    /// A service whose samples go elsewhere than to its store.
    pub fn over(
        store: Arc<MemoryStore>,
        sink: Arc<dyn SampleSink>,
        limits: Limits,
        change: impl FnOnce(&mut Api),
    ) -> Self {
        let cache = Arc::new(MemoryCache::new(1 << 20));
        let bus = Arc::new(MemoryBus::new(64));
        let shutdown = CancellationToken::new();
        let mut registry = Registry::with_prefix("metricsd");
        let counted = IngestMetrics::register(&mut registry);
        let http = HttpMetrics::register(&mut registry, RefusedBodies::default());
        let (after, _) = AfterCommit::start(store.clone(), cache.clone(), counted.clone(), shutdown.clone());
        let options = CommitOptions {
            max_delay: Duration::from_millis(1),
            patience: Duration::from_millis(300),
            series: limits.series(),
            ..CommitOptions::default()
        };
        let (commit, _) = GroupCommit::start(sink.clone(), options, counted, after, shutdown.clone());
        let limits = Arc::new(limits);
        let series = Some(commit.series().clone());
        let ingest = Ingest::new(commit, limits.clone());
        let mut api = Api {
            roles: Roles { api: true, ingest: true },
            settings: ApiSettings {
                deletion_patience: Duration::from_millis(200),
                scrape_patience: Duration::from_millis(100),
                poll_every: Duration::from_millis(5),
                ..ApiSettings::default()
            },
            limits: limits.clone(),
            catalog: store.clone(),
            membership: store.clone(),
            source: store.clone(),
            integrity: store.clone(),
            parked: vec![store.clone()],
            engine: Arc::new(Engine::new(store.clone(), EngineOptions::default())),
            cache: cache.clone(),
            events: bus.clone(),
            uploads: Some(UploadAccess {
                queue: store.clone(),
                signal: Arc::default(),
                max_bytes: 4 << 20,
                max_spool_bytes: 6 << 20,
                keep: Duration::from_secs(60),
                max_tries: 3,
                slots: tokio::sync::Semaphore::new(4),
            }),
            cardinality: Arc::new(Cardinality::new(store.clone(), series)),
            otlp: Some(OtlpDoor::new(ingest.clone(), OtlpOptions::default(), NO_STREAMS)),
            streams: Some(Streams::new(ingest.clone(), store.clone(), StreamOptions::default())),
            ingest: Some(ingest),
            access: Access::open(),
            door: Door::Loopback,
            policy: AddressPolicy::default(),
            pages: page_client(),
            resolver: resolver(None),
            dependencies: vec![
                Dependency::storage(sink),
                Dependency::cache(cache.clone()),
                Dependency::events(bus.clone()),
            ],
            lines: metricsd_http::LineProtocols::default(),
            reload: None,
            registry: Arc::new(registry),
            metrics: http,
            shutdown: shutdown.clone(),
        };
        change(&mut api);
        Self { store, cache, bus, shutdown, router: router(api) }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: to_bytes(body, 64 << 20).await.unwrap() }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.send(Request::get(uri).body(Body::empty()).unwrap()).await
    }

    pub async fn call(&self, method: &str, uri: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn create(&self, body: &Value) -> Answer {
        self.call("POST", "/api/v1/metrics/targets", body).await
    }

    /// Says that a worker lives.
    pub async fn announce_worker(&self) {
        let process = Process {
            id: Uuid::new_v4(),
            roles: vec!["worker".into()],
            listen: "127.0.0.1:9099".into(),
            version: "test".into(),
        };
        self.store.heartbeat(&process, Duration::from_secs(60)).await.unwrap();
    }
}

/// For options that remember nothing of streams.
pub const NO_STREAMS: StreamLimits = StreamLimits { max_bytes: 0, max_idle: 0 };

/// Fetches pages for debugging; the API may name no file.
fn page_client() -> PageClient {
    let context = Context::operator("/", Arc::default(), Arc::new(|_| None));
    let confined = SecretAccess::Confined { directory: None, env_prefix: "METRICSD_SECRET_".to_owned() };
    PageClient::new(context, confined, 1 << 20)
}

/// A request that creates a target.
pub fn request() -> Value {
    json!({"source_id": "node", "target_id": "node-1", "scrape_config": {"target_url": "http://127.0.0.1:9100"}})
}

/// The same with one part changed; the path is a JSON pointer.
pub fn request_with(pointer: &str, value: Value) -> Value {
    let mut request = request();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = request.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().insert(name.to_owned(), value);
    request
}
