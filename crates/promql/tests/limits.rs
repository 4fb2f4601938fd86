//! The engine's bounds, its errors, and what becomes of the store's errors.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{FamilyMetadata, LabelSet, Matcher, MetricType, Millis, Series, stale_marker};
use metricsd_ports::{
    ErrorKind, IndexStatistics, LatestMetric, PortError, SampleSource, SelectedSeries, Selection,
    SeriesExemplars,
};
use metricsd_promql::{
    Engine, EngineOptions, QueryData, QueryEngine, QueryError, QueryErrorKind, QueryOptions, QueryValue,
};

const MINUTE: Millis = 60_000;
const STEP: Duration = Duration::from_secs(60);
const NOTHING: [f64; 0] = [];

#[derive(Default)]
struct Source {
    series: Vec<SelectedSeries>,
    fail: Option<ErrorKind>,
    hang: bool,
}

#[async_trait]
impl SampleSource for Source {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        if self.hang {
            std::future::pending::<()>().await;
        }
        if let Some(kind) = self.fail {
            return Err(PortError::new(kind, "what the store says").caused_by("a secret of the store"));
        }
        Ok(self.series.iter().filter_map(|series| within(series, selection)).collect())
    }

    async fn series(&self, _: &[Matcher], _: usize) -> Result<Vec<Arc<Series>>, PortError> {
        Ok(Vec::new())
    }

    async fn label_sets(&self, _: &[Matcher], _: usize) -> Result<Vec<LabelSet>, PortError> {
        Ok(Vec::new())
    }

    async fn label_names(&self, _: &[Matcher], _: usize) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn label_values(&self, _: &str, _: &[Matcher], _: usize) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn exemplars(&self, _: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        Ok(Vec::new())
    }

    async fn families(&self, _: Option<&str>, _: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        Ok(Vec::new())
    }

    async fn index_statistics(&self, _: usize) -> Result<IndexStatistics, PortError> {
        Ok(IndexStatistics::default())
    }

    async fn source_statistics(&self, _: &str, _: usize) -> Result<IndexStatistics, PortError> {
        Ok(IndexStatistics::default())
    }

    async fn latest(&self, _: &str, _: Millis) -> Result<Vec<LatestMetric>, PortError> {
        Ok(Vec::new())
    }
}

fn within(series: &SelectedSeries, selection: &Selection) -> Option<SelectedSeries> {
    let matches = selection.matchers.iter().all(|matcher| matcher.matches_labels(&series.labels));
    let mut found = SelectedSeries { timestamps: Vec::new(), values: Vec::new(), ..series.clone() };
    for (timestamp, value) in series.timestamps.iter().zip(&series.values) {
        if (selection.start..=selection.end).contains(timestamp) {
            found.timestamps.push(*timestamp);
            found.values.push(*value);
        }
    }
    (matches && !found.timestamps.is_empty()).then_some(found)
}

fn series(job: &str, samples: &[(Millis, f64)]) -> SelectedSeries {
    SelectedSeries {
        labels: LabelSet::new([("__name__", "up"), ("job", job)]).unwrap(),
        metric_type: MetricType::Gauge,
        timestamps: samples.iter().map(|sample| sample.0).collect(),
        values: samples.iter().map(|sample| sample.1).collect(),
        histograms: Vec::new(),
    }
}

fn engine_with(source: Source, options: EngineOptions) -> Engine {
    Engine::new(Arc::new(source), options)
}

fn engine(source: Source) -> Engine {
    engine_with(source, EngineOptions::default())
}

async fn instant(engine: &Engine, query: &str, at: Millis) -> Result<QueryValue, QueryError> {
    engine.instant(query, at, QueryOptions::default()).await
}

async fn range(engine: &Engine, query: &str, end: Millis) -> Result<QueryValue, QueryError> {
    engine.range(query, 0, end, STEP, QueryOptions::default()).await
}

fn vector(value: &QueryValue) -> Vec<f64> {
    match &value.data {
        QueryData::Vector(series) => series.iter().filter_map(|series| series.value.as_float()).collect(),
        other => panic!("no vector: {other:?}"),
    }
}

#[tokio::test]
async fn the_window_is_open_on_its_left() {
    let engine = engine(Source { series: vec![series("a", &[(MINUTE, 1.0)])], ..Source::default() });
    let at = async |moment| vector(&instant(&engine, "up", moment).await.unwrap());
    assert_eq!(at(MINUTE - 1).await, NOTHING);
    assert_eq!(at(MINUTE).await, [1.0]);
    assert_eq!(at(6 * MINUTE - 1).await, [1.0]);
    assert_eq!(at(6 * MINUTE).await, NOTHING);
    assert_eq!(at(Millis::MIN).await, NOTHING);
    assert_eq!(at(Millis::MAX).await, NOTHING);
}

#[tokio::test]
async fn names_that_are_dropped_at_once_are_in_no_remark() {
    let remark = "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\"";
    for (experimental, name) in [(false, ""), (true, " for metric name \"up\"")] {
        let source = Source { series: vec![series("a", &[(MINUTE, 1.0)])], ..Source::default() };
        let engine = engine_with(source, EngineOptions { experimental, ..EngineOptions::default() });
        let value = instant(&engine, "histogram_quantile(0.5, up)", MINUTE).await.unwrap();
        assert_eq!(value.warnings, [format!("{remark}{name} (1:25)")]);
    }
}

#[tokio::test]
async fn times_at_the_ends_of_time_do_no_harm() {
    let engine = engine(Source { series: vec![series("a", &[(MINUTE, 1.0)])], ..Source::default() });
    for query in ["rate(up[5m])", "up offset -1y", "up offset 1y", "sum_over_time(up[1h:1m])", "up @ end()"] {
        for at in [Millis::MIN, Millis::MIN + 1, -1, Millis::MAX - 1, Millis::MAX] {
            // An answer or an error, but no panic and no endless loop.
            let answer = instant(&engine, query, at).await;
            assert!(answer.is_ok_and(|answer| vector(&answer).is_empty() || query.contains("y")), "{query}");
        }
    }
}

#[tokio::test]
async fn a_staleness_marker_ends_a_series_until_it_comes_back() {
    let samples = [(MINUTE, 1.0), (2 * MINUTE, stale_marker()), (4 * MINUTE, 3.0)];
    let engine = engine(Source { series: vec![series("a", &samples)], ..Source::default() });
    let QueryData::Matrix(found) = range(&engine, "up", 10 * MINUTE).await.unwrap().data else {
        panic!("no matrix")
    };
    let expected =
        [(1, 1.0), (4, 3.0), (5, 3.0), (6, 3.0), (7, 3.0), (8, 3.0)].map(|(at, value)| (at * MINUTE, value));
    assert_eq!(found[0].floats, expected);
}

#[tokio::test]
async fn what_a_caller_asks_for_shortens_look_back_and_timeout() {
    let engine = engine(Source { series: vec![series("a", &[(MINUTE, 1.0)])], ..Source::default() });
    let options = QueryOptions { look_back: Some(Duration::from_secs(30)), ..QueryOptions::default() };
    let found = engine.instant("up", MINUTE + 29_999, options).await.unwrap();
    assert_eq!(vector(&found), [1.0]);
    let found = engine.instant("up", MINUTE + 30_000, options).await.unwrap();
    assert_eq!(vector(&found), NOTHING);
}

#[tokio::test]
async fn bad_ranges_are_refused() {
    let engine = engine(Source::default());
    let check = async |start, end, step, expected: &str| {
        let error = engine.range("up", start, end, step, QueryOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::BadData);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(0, MINUTE, Duration::ZERO, "zero or negative query resolution").await;
    check(MINUTE, 0, STEP, "before start").await;
    check(0, 11_000 * MINUTE, STEP, "exceeded maximum resolution").await;
    check(Millis::MIN, Millis::MAX, Duration::from_millis(1), "exceeded maximum resolution").await;
    assert!(range(&engine, "up", 10_999 * MINUTE).await.is_ok());
    let error = range(&engine, "up[5m]", MINUTE).await.unwrap_err();
    assert!(error.to_string().contains("must be Scalar or instant Vector"), "{error}");
    assert_eq!(instant(&engine, "up{", 0).await.unwrap_err().kind(), QueryErrorKind::BadData);
}

#[tokio::test]
async fn each_limit_is_named_when_it_is_passed() {
    let many: Vec<_> = (0..100).map(|job| series(&format!("j{job}"), &[(0, 1.0)])).collect();
    let check = async |options: EngineOptions, query: &str, expected: &str| {
        let source = Source { series: many.clone(), ..Source::default() };
        let error = range(&engine_with(source, options), query, 5 * MINUTE).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::Limit, "{query}: {error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    let samples = EngineOptions { max_samples: 150, ..EngineOptions::default() };
    check(samples.clone(), "up", "limits.max_query_samples").await;
    check(samples.clone(), "sum_over_time(vector(1)[5m:1s])", "limits.max_query_samples").await;
    check(samples, "count_values(\"v\", up + time())", "limits.max_query_samples").await;
    // What waits for the other operand counts, however the tree leans.
    let waiting = EngineOptions { max_samples: 3_000, ..EngineOptions::default() };
    let leaning = |levels: usize| format!("{}up{}", "up + (".repeat(levels), ")".repeat(levels));
    let source = Source { series: many.clone(), ..Source::default() };
    assert!(range(&engine_with(source, waiting.clone()), &leaning(1), 5 * MINUTE).await.is_ok());
    check(waiting.clone(), &leaning(20), "limits.max_query_samples").await;
    let nested = format!("{}up{}", "clamp_max(up, scalar(".repeat(20), "))".repeat(20));
    check(waiting, &nested, "limits.max_query_samples").await;
    let bytes = EngineOptions { max_bytes: 20_000, ..EngineOptions::default() };
    check(bytes, "up", "promql.max_memory").await;
}

#[tokio::test]
async fn the_stores_errors_keep_their_kind_and_hide_their_cause() {
    for (from, to) in [
        (ErrorKind::Unavailable, QueryErrorKind::Unavailable),
        (ErrorKind::Timeout, QueryErrorKind::Timeout),
        (ErrorKind::Limit, QueryErrorKind::Limit),
        (ErrorKind::Invalid, QueryErrorKind::BadData),
        (ErrorKind::Conflict, QueryErrorKind::Internal),
        (ErrorKind::Internal, QueryErrorKind::Internal),
    ] {
        let engine = engine(Source { fail: Some(from), ..Source::default() });
        let error = instant(&engine, "up", 0).await.unwrap_err();
        assert_eq!(error.kind(), to);
        assert!(!error.to_string().contains("secret") && error.chain().contains("secret"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_takes_too_long_is_given_up() {
    let hanging = engine(Source { hang: true, ..Source::default() });
    let error = instant(&hanging, "up", 0).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Timeout);
    assert!(error.to_string().contains("longer than 2m (promql.timeout)"), "{error}");
    let options = QueryOptions { timeout: Some(Duration::from_secs(3)), ..QueryOptions::default() };
    let error = hanging.instant("up", 0, options).await.unwrap_err();
    assert!(error.to_string().contains("longer than 3s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn queries_wait_for_their_turn() {
    let source = Source { hang: true, ..Source::default() };
    let options = EngineOptions { max_concurrent: 1, ..EngineOptions::default() };
    let engine = Arc::new(engine_with(source, options));
    let first = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { instant(&engine, "up", 0).await }
    });
    tokio::task::yield_now().await;
    // The second one never gets to the store, which would hang too; its waiting counts.
    let short = QueryOptions { timeout: Some(Duration::from_secs(1)), ..QueryOptions::default() };
    let error = engine.instant("1", 0, short).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Timeout);
    first.abort();
    assert!(first.await.is_err());
    assert!(engine.instant("1", 0, short).await.is_ok(), "whoever goes away makes room");
}

/// The thread that evaluates must notice too: long windows at many steps of one series take minutes.
#[test]
fn a_query_of_long_windows_is_given_up_in_its_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let options = EngineOptions { timeout: Duration::from_millis(300), ..EngineOptions::default() };
    let engine = Engine::new(Arc::new(Source::default()), options);
    let query = "max_over_time(max_over_time(vector(1)[1d:1s])[1d:1s])";
    let error = runtime.block_on(instant(&engine, query, 0)).unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Timeout);
    let begun = std::time::Instant::now();
    // Waits for the thread.
    drop(runtime);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
