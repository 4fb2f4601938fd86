//! Small builders for tests of any crate: series, frames, batches, targets, selections.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus,
    LabelSet, Layout, Ledger, MatchOp, Matcher, MetricSource, MetricType, Millis, NativeHistogram,
    PromDuration, ScrapeConfig, Series, SeriesId, Span, TargetSpec, TypeCounts,
};

use crate::{Catalog, Retention, SampleSink, SampleSource, SelectLimits, SelectedSeries, Selection};

/// What one database offers, or several as one. Implemented by whatever implements the four.
pub trait Store: SampleSink + SampleSource + Retention + Catalog {}

impl<T: SampleSink + SampleSource + Retention + Catalog> Store for T {}

/// 2025-06-21T10:00:00Z: the first millisecond of an hour.
pub const NOON: Millis = 1_750_500_000_000;

/// One hour in milliseconds.
pub const HOUR: Millis = 3_600_000;

/// Limits that no check reaches by accident.
pub const WIDE: SelectLimits = SelectLimits { max_series: 1_000_000, max_samples: 100_000_000 };

/// A label set of a metric.
pub fn labels(name: &str, pairs: &[(&str, &str)]) -> LabelSet {
    let named = [("__name__", name)];
    LabelSet::new(named.iter().chain(pairs).copied()).expect("a valid label set")
}

/// A gauge with these labels, as an application sends it.
pub fn series(name: &str, pairs: &[(&str, &str)]) -> Arc<Series> {
    let labels = labels(name, pairs);
    Arc::new(Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: MetricType::Gauge,
        source_type: MetricSource::Application,
        source: "fixture".into(),
        target_id: "".into(),
        help: None,
        unit: None,
    })
}

/// The same under an id that is not its own, to stage a collision of hashes.
pub fn series_with_id(id: u64, name: &str, pairs: &[(&str, &str)]) -> Arc<Series> {
    let series = series(name, pairs);
    Arc::new(Series { id: SeriesId(id), ..Series::clone(&series) })
}

/// `count` series of one metric that differ in the label `n` (`0000`, `0001`, …), in order of labels.
pub fn many_series(name: &str, count: usize) -> Vec<Arc<Series>> {
    (0..count).map(|n| series(name, &[("n", &format!("{n:04}"))])).collect()
}

/// A frame whose samples share one timestamp.
pub fn frame(layout: &Arc<Layout>, time: Millis, values: &[f64]) -> Frame {
    assert_eq!(layout.ids.len(), values.len(), "one value a column");
    Frame { layout: layout.clone(), time, offsets: None, values: values.to_vec(), histograms: Vec::new() }
}

/// A frame with a timestamp for each column, all within one hour.
pub fn frame_at(layout: &Arc<Layout>, samples: &[(Millis, f64)]) -> Frame {
    let time = samples.iter().map(|(at, _)| *at).min().unwrap_or_default();
    let offset = |at: Millis| i32::try_from(at - time).expect("within an hour");
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let offsets = Some(samples.iter().map(|(at, _)| offset(*at)).collect());
    Frame { offsets, ..frame(layout, time, &values) }
}

/// Puts a native histogram into a column of a frame.
pub fn put_histogram(frame: &mut Frame, column: usize, histogram: NativeHistogram) {
    frame.values[column] = f64::from_bits(HISTOGRAM_MARKER_BITS);
    frame.histograms.push((u32::try_from(column).expect("a column"), histogram));
    frame.histograms.sort_by_key(|(column, _)| *column);
}

/// A native histogram that differs with `seed`.
pub fn histogram(seed: f64) -> NativeHistogram {
    NativeHistogram {
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 7.0 + seed,
        sum: -1.5 * seed,
        positive_spans: vec![Span { offset: -4, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![1.0, 2.0, 2.0 + seed],
        ..NativeHistogram::default()
    }
}

/// What is known of a successful scrape that stored `stored` gauges.
pub fn collection(target_id: &str, started: Millis, stored: u64) -> Collection {
    Collection {
        source_id: format!("source-of-{target_id}"),
        target_id: target_id.to_owned(),
        method: CollectionMethod::PullScraping,
        started,
        duration_ms: 12.5,
        status: JobStatus::Completed,
        health: HealthStatus::Healthy,
        reason: None,
        error: None,
        ledger: Ledger { received: stored, stored, ..Ledger::default() },
        types: TypeCounts { gauges: stored, ..TypeCounts::default() },
    }
}

/// A batch whose id comes from the target and `key`, whose collection began at its first frame's time (or
/// [`NOON`]), and whose ledger counts every sample.
pub fn batch(target_id: &str, key: &str, frames: Vec<Frame>) -> Arc<Batch> {
    let started = frames.first().map_or(NOON, |frame| frame.time);
    let stored = frames.iter().map(|frame| frame.values.len() as u64).sum();
    Arc::new(Batch::new(
        BatchId::for_push(target_id, key.as_bytes()),
        collection(target_id, started, stored),
        frames,
    ))
}

/// A matcher: `matcher("job", "=~", "a|b")`.
pub fn matcher(name: &str, op: &str, value: &str) -> Matcher {
    let op = match op {
        "=" => MatchOp::Equal,
        "!=" => MatchOp::NotEqual,
        "=~" => MatchOp::Regex,
        "!~" => MatchOp::NotRegex,
        other => panic!("{other} is no matcher"),
    };
    Matcher::new(name, op, value).expect("a valid pattern")
}

/// All series of one metric in a range.
pub fn selection(name: &str, start: Millis, end: Millis) -> Selection {
    Selection { matchers: vec![Matcher::equal("__name__", name)], start, end, limits: WIDE }
}

/// What one series has, in a form that compares bit for bit: its labels as text, then (timestamp, bits).
pub type Row = (String, Vec<(Millis, u64)>);

/// Selected series as [`Row`]s, in the order given.
pub fn rows(selected: &[SelectedSeries]) -> Vec<Row> {
    let row = |series: &SelectedSeries| {
        assert_eq!(
            series.timestamps.len(),
            series.values.len(),
            "one value a timestamp in {}",
            series.labels
        );
        let values = series.values.iter().map(|value| value.to_bits());
        (series.labels.to_string(), series.timestamps.iter().copied().zip(values).collect())
    };
    selected.iter().map(row).collect()
}

/// The [`Row`] that is expected of a series.
pub fn row(series: &Series, samples: &[(Millis, f64)]) -> Row {
    (series.labels.to_string(), samples.iter().map(|(at, value)| (*at, value.to_bits())).collect())
}

/// All samples of a metric, far before and after [`NOON`].
pub async fn all_of(store: &(impl SampleSource + ?Sized), name: &str) -> Vec<Row> {
    let selected = store.select(&selection(name, NOON - 100 * HOUR, NOON + 100 * HOUR)).await;
    rows(&selected.expect("a selection"))
}

/// A target that asks for a scrape every 15 s.
pub fn target(target_id: &str) -> TargetSpec {
    TargetSpec {
        target_id: target_id.to_owned(),
        source_id: "fixture".to_owned(),
        source_type: MetricSource::CustomExporter,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: format!("http://{target_id}.example:9100"),
            scrape_interval: PromDuration::from_secs(15),
            scrape_timeout: PromDuration::from_secs(10),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: BTreeMap::from([("team".to_owned(), "observability".to_owned())]),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}
