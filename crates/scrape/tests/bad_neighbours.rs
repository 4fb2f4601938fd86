//! Bad targets of every kind beside good ones, in one pool: each has its reason in its health, and the good ones go on as if
//! they were alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_client::{Context, SecretAccess};
use metricsd_ingest::{AfterCommit, CommitOptions, GroupCommit, IngestMetrics, Limits};
use metricsd_model::{
    CollectionMethod, FailureReason, Health, HealthStatus, HttpOptions, Matcher, MetricSource, PromDuration,
    ScrapeConfig, ScrapeOptions, Secret, SecretSource, TargetSpec, TlsOptions, is_stale,
};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{Catalog, JobFilter, SampleSource, SelectLimits, Selection};
use metricsd_scrape::{PageClient, PoolOptions, ScrapeMetrics, ScrapePool};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const GOOD: usize = 3;

fn start(store: &Arc<MemoryStore>, stop: &CancellationToken) {
    let mut registry = Registry::default();
    let metrics = IngestMetrics::register(&mut registry);
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), CancellationToken::new());
    let options = CommitOptions { max_delay: Duration::from_millis(5), ..CommitOptions::default() };
    let (commit, _) =
        GroupCommit::start(store.clone(), options, metrics, after.clone(), CancellationToken::new());
    let context = Context::operator("/", Arc::default(), Arc::new(|_| None));
    let confined = SecretAccess::Confined { directory: None, env_prefix: "METRICSD_SECRET_".to_owned() };
    let options = PoolOptions {
        catalog: store.clone(),
        source: store.clone(),
        client: PageClient::new(context, confined, 1 << 20),
        commit,
        after,
        limits: Arc::new(Limits::default()),
        concurrency: 100,
        resync_every: Duration::from_secs(1),
        metrics: ScrapeMetrics::register(&mut registry),
        ownership: metricsd_scrape::Ownership::all(),
    };
    tokio::spawn(ScrapePool::new(options, stop.clone()).run());
}

fn spec(id: &str, url: &str, http: HttpOptions) -> TargetSpec {
    TargetSpec {
        target_id: id.into(),
        source_id: "shop".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: url.into(),
            scrape_interval: PromDuration(Duration::from_millis(500)),
            scrape_timeout: PromDuration(Duration::from_millis(450)),
            metrics_path: "/metrics".into(),
            scheme: url.split_once(':').unwrap().0.into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: Arc::new(ScrapeOptions { http, ..ScrapeOptions::default() }),
        },
        labels: BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

/// What a target does with a connection once it has read a request.
#[derive(Clone)]
enum Does {
    /// Writes this and closes.
    Writes(Vec<u8>),
    /// Writes this again and again, with pauses.
    Repeats(&'static [u8], Duration),
}

async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin, does: Does) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    match does {
        Does::Writes(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Does::Repeats(part, pause) => {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while socket.write_all(part).await.is_ok() {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

async fn serve(does: Does, tls: Option<rustls::ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (does, acceptor) = (does.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => answer(socket, does).await,
                    Some(acceptor) => {
                        if let Ok(socket) = acceptor.accept(socket).await {
                            answer(socket, does).await;
                        }
                    }
                }
            });
        }
    });
    url
}

fn page(headers: &str, body: &[u8]) -> Does {
    let head =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    Does::Writes([head.as_bytes(), body].concat())
}

fn raw(text: &str) -> Does {
    Does::Writes(text.as_bytes().to_vec())
}

fn gzip_bomb() -> Does {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'a'; 32 << 20]).unwrap();
    page("Content-Encoding: gzip\r\n", &bomb.finish().unwrap())
}

/// An authority, and servers whose certificates it signed: a good one, an expired one, one of another host.
fn secured() -> (String, [rustls::ServerConfig; 3]) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let server = |name: &str, year| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &issuer).unwrap().der().clone()];
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::into_owned).collect();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        builder.with_single_cert(chain, key).unwrap()
    };
    let servers = [server("localhost", 2100), server("localhost", 2020), server("other.example", 2100)];
    (ca, servers)
}

type Case = (&'static str, Does, Option<FailureReason>, &'static str);

/// Targets over plain HTTP: what each does, why it fails as a whole if it does, and what its health says.
fn plain() -> Vec<Case> {
    use FailureReason::{Connect, Parse, Redirect, Status, Timeout, TooLarge};
    let slow = Duration::from_millis(50);
    let loops = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /metrics\r\n\r\n";
    let flood: String = (0..200).map(|header| format!("X-{header}: {header}\r\n")).collect();
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na 1\n";
    let close = "Connection: close\r\n\r\n";
    vec![
        ("drip", Does::Repeats(b"a 1\n", slow), Some(Timeout), "450ms"),
        ("endless", Does::Repeats(&[b'a'; 65_536], Duration::ZERO), Some(TooLarge), "max_page_bytes"),
        ("html", page("Content-Type: text/html\r\n", b"<html></html>\n"), Some(Parse), "line 1"),
        ("no-utf8", page("", b"a 1\nb{x=\"\xff\"} 2\n"), Some(Parse), "line 2"),
        ("twice", page("", b"a 1\na 2\n"), None, "duplicate"),
        ("labels-twice", page("", b"a 1\nb{x=\"1\",x=\"2\"} 1\n"), Some(Parse), "more than once"),
        ("far-future", page("", b"a 1\nb 1 99999999999999999\n"), None, "refused"),
        ("retyped", page("", b"# TYPE a counter\na 1\n# TYPE a gauge\na{x=\"1\"} 2\n"), None, ""),
        (
            "retyped-open-metrics",
            page(
                "Content-Type: application/openmetrics-text; version=1.0.0\r\n",
                b"# TYPE a gauge\na 1\n# TYPE a unknown\na 2\n# EOF\n",
            ),
            None,
            "second time",
        ),
        ("loop", raw(loops), Some(Redirect), "more than 10 redirects"),
        ("bomb", gzip_bomb(), Some(TooLarge), "once decompressed"),
        ("flood", page(&flood, b"a 1\n"), Some(Connect), ""),
        ("cut", raw(cut), Some(Connect), ""),
        ("empty", raw(""), Some(Connect), ""),
        ("nothing", raw(&format!("HTTP/1.1 204 No Content\r\n{close}")), Some(Status), "204"),
        (
            "nowhere",
            raw(&format!("HTTP/1.1 301 X\r\nContent-Length: 0\r\n{close}")),
            Some(Redirect),
            "Location",
        ),
        ("old-http", raw("HTTP/1.0 200 OK\r\n\r\na 1\n"), None, ""),
    ]
}

async fn settled(store: &MemoryStore, id: &str) -> Health {
    let started = Instant::now();
    loop {
        let health = store.target(id).await.unwrap().unwrap().health;
        if health.last_scrape.is_some() {
            return health;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{id} was not scraped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is not as expected of a target's health, as a sentence.
fn odd(id: &str, health: &Health, reason: Option<FailureReason>, part: &str) -> Option<String> {
    let said = health.error.clone().unwrap_or_default();
    let status = if reason.is_some() { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
    let fine = health.reason == reason && health.status == status && said.contains(part);
    (!fine).then(|| {
        format!("{id}: {:?} {:?} {said:?}, expected {reason:?} {part:?}", health.status, health.reason)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_target_has_its_reason_and_the_good_ones_go_on() {
    let (store, stop) = (Arc::new(MemoryStore::new()), CancellationToken::new());
    start(&store, &stop);
    let good = serve(page("", b"good 1\n"), None).await;
    for number in 0..GOOD {
        let id = format!("good-{number}");
        store.create_target(&spec(&id, &good, HttpOptions::default())).await.unwrap();
    }
    let cases = plain();
    for (id, does, ..) in &cases {
        let url = serve(does.clone(), None).await;
        store.create_target(&spec(id, &url, HttpOptions::default())).await.unwrap();
    }
    let (ca, [fine, expired, other]) = secured();
    let ca = Some(SecretSource::Inline(Secret::new(ca)));
    let tls = TlsOptions { ca, ..TlsOptions::default() };
    let trusting = HttpOptions { tls, ..HttpOptions::default() };
    let secured = [
        ("tls-fine", fine.clone(), trusting.clone(), None, ""),
        ("tls-unknown", fine, HttpOptions::default(), Some(FailureReason::Tls), "nobody that we trust"),
        ("tls-expired", expired, trusting.clone(), Some(FailureReason::Tls), "expired"),
        ("tls-other", other, trusting, Some(FailureReason::Tls), "another host's"),
    ];
    for (id, config, http, ..) in &secured {
        let url = serve(page("", b"a 1\n"), Some(config.clone())).await;
        store.create_target(&spec(id, &url, http.clone())).await.unwrap();
    }
    let mut found = Vec::new();
    for (id, _, reason, part) in &cases {
        found.extend(odd(id, &settled(&store, id).await, *reason, part));
    }
    for (id, _, _, reason, part) in &secured {
        found.extend(odd(id, &settled(&store, id).await, *reason, part));
    }
    assert!(found.is_empty(), "{found:#?}");
    goes_on(&store).await;
    stop.cancel();
}

/// The good ones are scraped again and again, none of their samples missing or ended.
async fn goes_on(store: &MemoryStore) {
    let jobs = async |id: &str| {
        let filter = JobFilter { target_id: Some(id.into()), ..JobFilter::default() };
        store.jobs(&filter, 10_000).await.unwrap().len()
    };
    for number in 0..GOOD {
        let id = format!("good-{number}");
        let (before, started) = (jobs(&id).await, Instant::now());
        while jobs(&id).await < before + 2 {
            assert!(started.elapsed() < Duration::from_secs(10), "{id} is not scraped any more");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(odd(&id, &settled(store, &id).await, None, ""), None);
    }
    let limits = SelectLimits { max_series: 100, max_samples: 100_000 };
    let matchers = vec![Matcher::equal("__name__", "good")];
    let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
    for series in store.select(&selection).await.unwrap() {
        assert!(series.values.iter().all(|value| !is_stale(*value)), "no sample is missing");
    }
}
