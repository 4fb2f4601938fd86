//! The pool over a store in memory and targets on real sockets.

mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use metricsd_client::{Context, SecretAccess};
use metricsd_codec::metric_family::message::{
    BucketSpan, Exemplar, Histogram, LabelPair, Metric, MetricFamily, Timestamp, page,
};
use metricsd_ingest::{AfterCommit, CommitOptions, GroupCommit, IngestMetrics, Limits};
use metricsd_model::{
    CollectionMethod, FailureReason, HealthStatus, Matcher, MetricSource, PromDuration, ResetHint,
    ScrapeConfig, ScrapeOptions, TargetSpec, is_stale,
};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{
    Catalog, Completeness, DiscoveredTarget, DiscoveryCatalog, JobFilter, SampleSink, SampleSource,
    SelectLimits, SelectedSeries, Selection, TargetChange,
};
use metricsd_scrape::{Ownership, PageClient, PoolOptions, ScrapeMetrics, ScrapePool};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn page_client() -> PageClient {
    let context = Context::operator("/", Arc::default(), Arc::new(|_| None));
    let confined = SecretAccess::Confined { directory: None, env_prefix: "METRICSD_SECRET_".to_owned() };
    PageClient::new(context, confined, 1 << 20)
}

struct Bench {
    store: Arc<MemoryStore>,
    registry: Registry,
    stop: CancellationToken,
    pool: JoinHandle<()>,
}

fn start(store: Arc<MemoryStore>, concurrency: usize) -> Bench {
    start_with(store.clone(), store, concurrency, Ownership::all())
}

fn start_with(
    store: Arc<MemoryStore>,
    sink: Arc<dyn SampleSink>,
    concurrency: usize,
    ownership: Ownership,
) -> Bench {
    let mut registry = Registry::with_prefix("metricsd");
    let metrics = IngestMetrics::register(&mut registry);
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), CancellationToken::new());
    let options = CommitOptions { max_delay: Duration::from_millis(5), ..CommitOptions::default() };
    let (commit, _) = GroupCommit::start(sink, options, metrics, after.clone(), CancellationToken::new());
    let options = PoolOptions {
        catalog: store.clone(),
        source: store.clone(),
        client: page_client(),
        commit,
        after,
        limits: Arc::new(Limits::default()),
        concurrency,
        resync_every: Duration::from_millis(300),
        metrics: ScrapeMetrics::register(&mut registry),
        ownership,
    };
    let pool = tokio::spawn(ScrapePool::new(options, stop.clone()).run());
    Bench { store, registry, stop, pool }
}

impl Bench {
    fn counter(&self, series: &str) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    async fn select(&self, name: &str) -> Vec<SelectedSeries> {
        let limits = SelectLimits { max_series: 100, max_samples: 100_000 };
        let matchers = vec![Matcher::equal("__name__", name)];
        let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
        self.store.select(&selection).await.unwrap()
    }

    async fn jobs(&self, target: &str) -> usize {
        let filter = JobFilter { target_id: Some(target.into()), ..JobFilter::default() };
        self.store.jobs(&filter, 10_000).await.unwrap().len()
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A target that takes `delay` a page, and the most requests that it ever had at once.
async fn slow_target(delay: Duration) -> (String, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let answer = move || {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(delay).await;
            now.fetch_sub(1, Ordering::SeqCst);
            "value 1\n"
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(answer))).await });
    (url, seen)
}

fn spec(id: &str, url: &str, interval_ms: u64) -> TargetSpec {
    TargetSpec {
        target_id: id.into(),
        source_id: "shop".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: url.into(),
            scrape_interval: PromDuration(Duration::from_millis(interval_ms)),
            scrape_timeout: PromDuration::from_secs(2),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

#[tokio::test]
async fn a_slow_target_is_never_scraped_twice_at_once_and_what_is_skipped_is_counted() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, most) = slow_target(Duration::from_millis(250)).await;
    bench.store.create_target(&spec("slow", &url, 100)).await.unwrap();
    until("four scrapes", async || bench.jobs("slow").await >= 4).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let skipped = bench.counter("metricsd_scrape_skipped_total{reason=\"busy\"}");
    assert!(skipped >= 3, "{skipped} skipped");
    let values = bench.select("value").await;
    assert!(values[0].timestamps.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn more_targets_than_permits_are_skipped_not_queued() {
    let bench = start(Arc::new(MemoryStore::new()), 2);
    let (url, most) = slow_target(Duration::from_millis(300)).await;
    for target in 0..10 {
        bench.store.create_target(&spec(&format!("t{target}"), &url, 200)).await.unwrap();
    }
    until("skips", async || bench.counter("metricsd_scrape_skipped_total{reason=\"concurrency\"}") > 5).await;
    assert!(most.load(Ordering::SeqCst) <= 2);
}

/// A page of a native histogram with an exemplar.
fn protobuf_page() -> Vec<u8> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let timestamp = Some(Timestamp { seconds: since.as_secs() as i64, nanos: 0 });
    let created = Some(Timestamp { seconds: since.as_secs() as i64 - 60, nanos: 0 });
    let histogram = Histogram {
        sample_count: 3,
        sample_sum: 4.5,
        schema: 2,
        positive_span: vec![BucketSpan { offset: 1, length: 2 }],
        positive_delta: vec![1, 1],
        created_timestamp: created,
        exemplars: vec![Exemplar { label: LabelPair::list([("trace_id", "abc")]), value: 1.5, timestamp }],
        ..Histogram::default()
    };
    let metric = vec![Metric { histogram: Some(histogram), ..Metric::default() }];
    page(&[MetricFamily { name: "latency".into(), r#type: 4, metric, ..MetricFamily::default() }])
}

#[tokio::test]
async fn native_histograms_are_asked_for_and_stored_with_their_exemplars() {
    let asked = Arc::new(std::sync::Mutex::new(String::new()));
    let heard = asked.clone();
    let body = protobuf_page();
    let answer = move |headers: axum::http::HeaderMap| {
        let accept = headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or("");
        accept.clone_into(&mut heard.lock().unwrap());
        let kind =
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        let body = body.clone();
        async move { ([("content-type", kind)], body) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(answer))).await });
    let bench = start(Arc::new(MemoryStore::new()), 10);
    let mut target = spec("native", &url, 100);
    target.scrape_config.options = Arc::new(ScrapeOptions {
        scrape_native_histograms: true,
        created_timestamp_zero: true,
        ..ScrapeOptions::default()
    });
    bench.store.create_target(&target).await.unwrap();
    until("three scrapes", async || bench.jobs("native").await >= 3).await;
    assert!(asked.lock().unwrap().starts_with("application/vnd.google.protobuf;proto="));
    let found = bench.select("latency").await;
    let (place, nothing) = &found[0].histograms[0];
    assert_eq!(
        (*place, nothing.count, nothing.reset_hint),
        (0, 0.0, ResetHint::Yes),
        "a zero at the beginning"
    );
    let (_, histogram) = found[0].histograms.last().unwrap();
    assert_eq!((histogram.schema, histogram.count, histogram.sum), (2, 3.0, 4.5));
    assert_eq!(histogram.positive_buckets, [1.0, 2.0]);
    assert_eq!(found[0].histograms.iter().filter(|(_, histogram)| histogram.count == 0.0).count(), 1);
    let limits = SelectLimits { max_series: 10, max_samples: 100 };
    let matchers = vec![Matcher::equal("__name__", "latency")];
    let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
    let exemplars = bench.store.exemplars(&selection).await.unwrap();
    assert_eq!((exemplars.len(), exemplars[0].exemplars.len()), (1, 1));
    assert_eq!(exemplars[0].exemplars[0].labels.get("trace_id"), Some("abc"));
}

#[tokio::test]
async fn targets_come_change_pause_and_go() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    bench.store.create_target(&spec("t", &url, 100)).await.unwrap();
    until("scrapes", async || bench.jobs("t").await >= 2).await;
    let labels = Some([("zone".to_owned(), "z1".to_owned())].into());
    bench.store.change_target("t", &TargetChange { labels, ..TargetChange::default() }).await.unwrap();
    until("the new labels", async || bench.select("value").await.len() == 2).await;
    let values = bench.select("value").await;
    let old = values.iter().find(|series| series.labels.get("zone").is_none()).unwrap();
    assert!(is_stale(*old.values.last().unwrap()), "the series under the old labels has ended");
    let pause = TargetChange { enabled: Some(false), ..TargetChange::default() };
    bench.store.change_target("t", &pause).await.unwrap();
    until("the pause", async || {
        bench.select("value").await.iter().all(|s| is_stale(*s.values.last().unwrap()))
    })
    .await;
    assert!(bench.select("up").await.iter().all(|series| is_stale(*series.values.last().unwrap())));
    let jobs = bench.jobs("t").await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(bench.jobs("t").await, jobs, "a disabled target is not scraped");
    let resume = TargetChange { enabled: Some(true), ..TargetChange::default() };
    bench.store.change_target("t", &resume).await.unwrap();
    until("scrapes again", async || bench.jobs("t").await > jobs).await;
    bench.store.request_deletion("t").await.unwrap();
    until("the deletion", async || bench.store.target("t").await.unwrap().is_none()).await;
    assert!(bench.select("value").await.iter().all(|series| is_stale(*series.values.last().unwrap())));
}

#[tokio::test]
async fn a_target_that_was_being_deleted_when_the_process_died_is_deleted_by_the_next() {
    let store = Arc::new(MemoryStore::new());
    let first = start(store.clone(), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    store.create_target(&spec("t", &url, 100)).await.unwrap();
    until("a scrape", async || first.jobs("t").await >= 1).await;
    first.pool.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.request_deletion("t").await.unwrap();
    let second = start(store.clone(), 100);
    until("the deletion", async || store.target("t").await.unwrap().is_none()).await;
    assert!(is_stale(*second.select("value").await[0].values.last().unwrap()));
}

#[tokio::test]
async fn a_scrape_out_of_turn_is_done_at_once_and_health_is_noted() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    bench.store.create_target(&spec("t", &url, 3_600_000)).await.unwrap();
    let at = chrono::Utc::now().timestamp_millis();
    bench.store.request_scrape("t", at).await.unwrap();
    until("the scrape", async || {
        let health = bench.store.target("t").await.unwrap().unwrap().health;
        health.status == HealthStatus::Healthy
            && health.last_scrape >= Some(at)
            && health.samples_scraped == 1
    })
    .await;
    bench.store.create_target(&spec("gone", "http://127.0.0.1:1", 100)).await.unwrap();
    until("bad health", async || {
        let health = bench.store.target("gone").await.unwrap().unwrap().health;
        health.status == HealthStatus::Unhealthy && health.reason == Some(FailureReason::Connect)
    })
    .await;
    bench.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), bench.pool).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_target_that_went_while_nobody_looked_is_let_go() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    bench.store.create_target(&spec("t", &url, 100)).await.unwrap();
    until("a scrape", async || bench.jobs("t").await >= 1).await;
    // Another worker ends it before this one has asked for changes.
    bench.store.request_deletion("t").await.unwrap();
    bench.store.finish_deletion("t").await.unwrap();
    until("the end", async || is_stale(*bench.select("value").await[0].values.last().unwrap())).await;
    let jobs = bench.jobs("t").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.jobs("t").await, jobs);
}

#[tokio::test]
async fn pausing_and_resuming_during_a_slow_scrape_keeps_one_scrape_at_a_time() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, most) = slow_target(Duration::from_millis(500)).await;
    bench.store.create_target(&spec("t", &url, 300)).await.unwrap();
    until("the first request", async || most.load(Ordering::SeqCst) > 0).await;
    for enabled in [false, true] {
        let change = TargetChange { enabled: Some(enabled), ..TargetChange::default() };
        bench.store.change_target("t", &change).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let at = chrono::Utc::now().timestamp_millis();
    bench.store.request_scrape("t", at).await.unwrap();
    until("the scrape", async || {
        let health = bench.store.target("t").await.unwrap().unwrap().health;
        health.status == HealthStatus::Healthy && health.last_scrape >= Some(at)
    })
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(!is_stale(*bench.select("value").await[0].values.last().unwrap()), "it is alive");
}

#[tokio::test]
async fn a_restart_before_a_failing_target_ends_what_the_target_had() {
    let store = Arc::new(MemoryStore::new());
    let first = start(store.clone(), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    store.create_target(&spec("t", &url, 100)).await.unwrap();
    until("a scrape", async || first.jobs("t").await >= 1).await;
    first.stop.cancel();
    first.pool.await.unwrap();
    let moved = spec("t", "http://127.0.0.1:1", 100);
    store.replace_target(&moved).await.unwrap();
    let second = start(store.clone(), 100);
    until("the end", async || is_stale(*second.select("value").await[0].values.last().unwrap())).await;
}

/// A target whose value changes when told to.
async fn changing_target() -> (String, Arc<AtomicUsize>) {
    let value = Arc::new(AtomicUsize::new(1));
    let seen = value.clone();
    let answer = move || {
        let value = value.clone();
        async move { format!("value {}\n", value.load(Ordering::SeqCst)) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(answer))).await });
    (url, seen)
}

#[tokio::test]
async fn a_target_that_does_not_change_is_scraped_less_until_it_does() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, value) = changing_target().await;
    let plain = spec("plain", &url, 100);
    let mut adaptive = spec("adaptive", &url, 100);
    adaptive.scrape_config.options =
        Arc::new(ScrapeOptions { adaptive_interval_max_ms: Some(800), ..ScrapeOptions::default() });
    bench.store.create_target(&plain).await.unwrap();
    bench.store.create_target(&adaptive).await.unwrap();
    until("the longest interval", async || {
        let health = bench.store.target("adaptive").await.unwrap().unwrap().health;
        health.error.is_some_and(|note| note.contains("every 800ms instead of every 100ms"))
    })
    .await;
    let health = bench.store.target("adaptive").await.unwrap().unwrap().health;
    assert_eq!(health.status, HealthStatus::Healthy);
    let (slow, fast) = (bench.jobs("adaptive").await, bench.jobs("plain").await);
    until("sixteen scrapes of the plain one", async || bench.jobs("plain").await >= fast + 16).await;
    let meanwhile = bench.jobs("adaptive").await - slow;
    assert!((1..=5).contains(&meanwhile), "{meanwhile} scrapes in 1.6 s at an interval of 800 ms");
    value.store(2, Ordering::SeqCst);
    until("the change to be seen", async || {
        bench.select("value").await.iter().all(|series| series.values.last() == Some(&2.0))
    })
    .await;
    let (slow, fast) = (bench.jobs("adaptive").await, bench.jobs("plain").await);
    until("the old interval", async || bench.jobs("adaptive").await >= slow + 3).await;
    let meanwhile = bench.jobs("plain").await - fast;
    assert!(meanwhile <= 8, "three scrapes at once took as long as {meanwhile} of the plain target");
}

fn found(spec: TargetSpec) -> DiscoveredTarget {
    DiscoveredTarget { spec, provider: "file".to_owned(), labels: BTreeMap::new(), prompt: false }
}

/// One that its provider no longer finds is scraped once more, then its series end; one that comes back goes on.
#[tokio::test]
async fn discovered_targets_are_scraped_at_once_once_more_and_end() {
    let bench = start(Arc::new(MemoryStore::new()), 100);
    let (url, _) = slow_target(Duration::ZERO).await;
    // Its turn would come in an hour.
    let target = [found(spec("found", &url, 3_600_000))];
    let sync = async |targets: &[DiscoveredTarget]| {
        bench.store.sync_discovered("job", targets, Completeness::All).await.unwrap()
    };
    sync(&target).await;
    until("the first scrape", async || bench.jobs("found").await == 1).await;
    sync(&[]).await;
    until("the end", async || bench.store.target("found").await.unwrap().is_none()).await;
    let values = bench.select("value").await;
    let (last, before) = values[0].values.split_last().unwrap();
    assert!(is_stale(*last), "its series have ended");
    assert_eq!(before, [1.0, 1.0], "it was scraped once more");

    sync(&target).await;
    until("a scrape of the new one", async || {
        bench.select("value").await[0].values.last().is_some_and(|value| !is_stale(*value))
    })
    .await;
    for _ in 0..5 {
        sync(&[]).await;
        sync(&target).await;
    }
    let mut prompt = target.clone();
    prompt[0].prompt = true;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sync(&prompt).await;
    until("a scrape after all", async || {
        bench.select("value").await[0].values.last().is_some_and(|value| !is_stale(*value))
    })
    .await;
    assert!(!bench.store.target("found").await.unwrap().unwrap().deleting);
}
