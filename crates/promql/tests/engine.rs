//! The engine over a small source: look-back, staleness, limits and errors.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{
    HISTOGRAM_MARKER_BITS, LabelSet, Matcher, MetricType, Millis, NativeHistogram, Series, stale_marker,
};
use metricsd_ports::{ErrorKind, LatestMetric, PortError, SampleSource, SelectedSeries, Selection};
use metricsd_promql::{Engine, EngineOptions, QueryData, QueryEngine, QueryErrorKind, QueryValue};

const MINUTE: Millis = 60_000;
const STEP: Duration = Duration::from_secs(60);

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
        histograms: Vec::<(usize, NativeHistogram)>::new(),
    }
}

fn engine(source: Source) -> Engine {
    Engine::new(Arc::new(source), EngineOptions::default())
}

fn vector(value: &QueryValue) -> Vec<f64> {
    match &value.data {
        QueryData::Vector(series) => series.iter().map(|series| series.value).collect(),
        QueryData::Matrix(_) => panic!("a matrix"),
    }
}

#[tokio::test]
async fn the_window_is_open_on_its_left() {
    let engine = engine(Source { series: vec![series("a", &[(MINUTE, 1.0)])], ..Source::default() });
    let at = async |moment| vector(&engine.instant("up", moment).await.unwrap());
    assert_eq!(at(MINUTE - 1).await, []);
    assert_eq!(at(MINUTE).await, [1.0]);
    assert_eq!(at(6 * MINUTE - 1).await, [1.0]);
    assert_eq!(at(6 * MINUTE).await, []);
    assert_eq!(at(Millis::MIN).await, []);
    assert_eq!(at(Millis::MAX).await, []);
}

#[tokio::test]
async fn matchers_choose_and_the_moment_is_the_one_asked_for() {
    let source = Source {
        series: vec![series("a", &[(MINUTE, 1.0)]), series("b", &[(MINUTE, f64::NAN)])],
        ..Source::default()
    };
    let value = engine(source).instant(r#"up{job="b"}"#, 2 * MINUTE).await.unwrap();
    let QueryData::Vector(found) = &value.data else { panic!("a matrix") };
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].timestamp, found[0].labels.get("job")), (2 * MINUTE, Some("b")));
    assert!(found[0].value.is_nan());
    assert_eq!((value.stats.series, value.stats.samples), (1, 1));
}

#[tokio::test]
async fn a_staleness_marker_ends_a_series_until_it_comes_back() {
    let samples = [(MINUTE, 1.0), (2 * MINUTE, stale_marker()), (4 * MINUTE, 3.0)];
    let engine = engine(Source { series: vec![series("a", &samples)], ..Source::default() });
    let value = engine.range("up", 0, 10 * MINUTE, STEP).await.unwrap();
    let QueryData::Matrix(found) = value.data else { panic!("a vector") };
    let expected =
        [(1, 1.0), (4, 3.0), (5, 3.0), (6, 3.0), (7, 3.0), (8, 3.0)].map(|(at, value)| (at * MINUTE, value));
    assert_eq!(found[0].points, expected);
}

#[tokio::test]
async fn histograms_are_left_out_with_a_warning() {
    let samples = [(MINUTE, 1.0), (2 * MINUTE, f64::from_bits(HISTOGRAM_MARKER_BITS))];
    let engine = engine(Source { series: vec![series("a", &samples)], ..Source::default() });
    let value = engine.instant("up", 2 * MINUTE).await.unwrap();
    assert_eq!((vector(&value).len(), value.warnings.len()), (0, 1));
    let value = engine.range("up", MINUTE, 2 * MINUTE, STEP).await.unwrap();
    assert_eq!((value.data.series(), value.warnings.len()), (1, 1));
}

#[tokio::test]
async fn bad_ranges_are_refused() {
    let engine = engine(Source::default());
    let check = async |start, end, step, expected: &str| {
        let error = engine.range("up", start, end, step).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::BadData);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(0, MINUTE, Duration::ZERO, "at least one millisecond").await;
    check(MINUTE, 0, STEP, "before the start").await;
    check(0, 11_000 * MINUTE, STEP, "11001 steps").await;
    check(Millis::MIN, Millis::MAX, Duration::from_millis(1), "more than the limit of 11000").await;
    assert!(engine.range("up", 0, 10_999 * MINUTE, STEP).await.is_ok());
    let error = engine.instant("up{", 0).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::BadData);
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_is_refused() {
    let source = Source { series: vec![series("a", &[(0, 1.0)])], ..Source::default() };
    let options = EngineOptions { max_samples: 3, ..EngineOptions::default() };
    let engine = Engine::new(Arc::new(source), options);
    let error = engine.range("up", 0, MINUTE, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Limit);
}

#[tokio::test]
async fn the_stores_errors_keep_their_kind_and_hide_their_cause() {
    for (from, to) in [
        (ErrorKind::Unavailable, QueryErrorKind::Unavailable),
        (ErrorKind::Timeout, QueryErrorKind::Timeout),
        (ErrorKind::Limit, QueryErrorKind::Limit),
        (ErrorKind::Invalid, QueryErrorKind::BadData),
        (ErrorKind::Conflict, QueryErrorKind::Execution),
        (ErrorKind::Internal, QueryErrorKind::Execution),
    ] {
        let engine = engine(Source { fail: Some(from), ..Source::default() });
        let error = engine.instant("up", 0).await.unwrap_err();
        assert_eq!(error.kind(), to);
        assert!(!error.to_string().contains("secret") && error.chain().contains("secret"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_takes_too_long_is_given_up() {
    let error = engine(Source { hang: true, ..Source::default() }).instant("up", 0).await.unwrap_err();
    assert_eq!(error.kind(), QueryErrorKind::Timeout);
    assert_eq!(error.to_string(), "the query took longer than 30s");
}
