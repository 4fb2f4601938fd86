//! What goes in comes out, bit for bit.

use std::sync::Arc;

use metricsd_model::{Layout, NativeHistogram, ResetHint, STALE_NAN_BITS, Series, Span};

use crate::Receipt;
use crate::conformance::fixtures::*;

/// Every kind of float, in shared and in inline layouts.
pub async fn check_round_trip(store: &impl Store) {
    let values: Vec<f64> = [
        0.0f64.to_bits(),
        (-0.0f64).to_bits(),
        1.5f64.to_bits(),
        f64::MAX.to_bits(),
        f64::MIN_POSITIVE.to_bits(),
        1, // the smallest subnormal
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        0x7ff8_0000_0000_0000, // the usual NaN
        0x7ff8_0000_dead_beef, // one with a payload
        0xfff8_0000_0000_0001, // a negative one
        STALE_NAN_BITS,
    ]
    .map(f64::from_bits)
    .to_vec();
    for (name, shared) in [("round_trip_shared", true), ("round_trip_inline", false)] {
        let series = many_series(name, values.len());
        let layout = if shared { Layout::shared(series.clone()) } else { Layout::inline(series.clone()) };
        let batch = batch("round-trip", name, vec![frame(&layout, NOON, &values)]);
        assert_eq!(store.append(&[batch]).await.expect("an append"), [Receipt::Stored]);
        let expected: Vec<Row> = series.iter().zip(&values).map(|(s, v)| row(s, &[(NOON, *v)])).collect();
        assert_eq!(all_of(store, name).await, expected, "every float comes back bit for bit");
    }
}

/// A series over many batches, its layout changing in between: one ascending column.
pub async fn check_all_time_series(store: &impl Store) {
    let (a, b) = (series("over_time", &[("s", "a")]), series("over_time", &[("s", "b")]));
    let layouts = [
        Layout::shared(vec![a.clone(), b.clone()]),
        Layout::shared(vec![b.clone(), a.clone()]),
        Layout::inline(vec![a.clone(), b.clone()]),
    ];
    // Not in order of time: late batches are merged.
    for n in [3i64, 0, 5, 1, 4, 2] {
        let layout = &layouts[usize::try_from(n).unwrap_or(0) % 3];
        let values: Vec<f64> = layout.series.iter().map(|s| if s.id == a.id { 1.0 } else { 2.0 }).collect();
        let batch = batch("over-time", &n.to_string(), vec![frame(layout, NOON + n * 1_000, &values)]);
        store.append(&[batch]).await.expect("an append");
    }
    let expected = |series: &Arc<Series>, value: f64| {
        let samples: Vec<_> = (0..6).map(|n| (NOON + n * 1_000, value)).collect();
        row(series, &samples)
    };
    assert_eq!(all_of(store, "over_time").await, [expected(&a, 1.0), expected(&b, 2.0)]);
}

/// Any text that a label may hold, and many labels.
pub async fn check_labels(store: &impl Store) {
    let long = "x".repeat(2_000);
    let texts =
        ["plain", "quote\" slash\\ tab\t", "new\nline", "ünï © 🦀", "%_{}[]'", " ", "0", "null", &long];
    let mut all: Vec<_> = texts.iter().map(|text| series("label_texts", &[("text", text)])).collect();
    let names: Vec<String> = (0..60).map(|n| format!("label_{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    all.push(series("label_texts", &pairs));
    all.push(series("label_texts", &[("http.request/method", "dots and slashes in the name")]));
    all.push(series("label_texts", &[]));
    let values: Vec<f64> = (0..all.len()).map(|n| n as f64).collect();
    let layout = Layout::inline(all.clone());
    store.append(&[batch("labels", "1", vec![frame(&layout, NOON, &values)])]).await.expect("an append");
    let found = store.select(&selection("label_texts", NOON, NOON)).await.expect("a selection");
    assert_eq!(found.len(), all.len());
    for (series, value) in all.iter().zip(values) {
        let found = found.iter().find(|found| found.labels == series.labels);
        let found = found.unwrap_or_else(|| panic!("{} is found", series.labels));
        assert_eq!((found.values.as_slice(), found.metric_type), (&[value][..], series.metric_type));
    }
}

/// Native histograms beside floats, and before a staleness marker.
pub async fn check_histograms(store: &impl Store) {
    let (a, b) = (series("native", &[("s", "a")]), series("native", &[("s", "b")]));
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let inline = Layout::inline(vec![b.clone(), a.clone()]);
    let mut first = frame(&shared, NOON, &[0.0, 4.0]);
    put_histogram(&mut first, 0, histogram(1.0));
    let mut second = frame_at(&inline, &[(NOON + 2_000, 0.0), (NOON + 1_000, 0.0)]);
    put_histogram(&mut second, 1, histogram(2.0));
    put_histogram(&mut second, 0, histogram(f64::NAN));
    let third = frame(&shared, NOON + 3_000, &[f64::from_bits(STALE_NAN_BITS); 2]);
    for (key, frame) in [("1", first), ("2", second), ("3", third)] {
        store.append(&[batch("native", key, vec![frame])]).await.expect("an append");
    }
    let found = store.select(&selection("native", NOON, NOON + HOUR)).await.expect("a selection");
    let [a, b] = found.as_slice() else { panic!("two series, not {}", found.len()) };
    assert_eq!(a.timestamps, [NOON, NOON + 1_000, NOON + 3_000]);
    assert_eq!(a.histograms, [(0, histogram(1.0)), (1, histogram(2.0))]);
    assert_eq!(a.values[2].to_bits(), STALE_NAN_BITS);
    assert_eq!(b.timestamps, [NOON, NOON + 2_000, NOON + 3_000]);
    assert_eq!(b.values[0].to_bits(), 4.0f64.to_bits());
    assert_eq!(b.histograms, [(1, histogram(f64::NAN))]);
}

/// Native histograms with bounds of their own, gauge histograms and those without any bucket.
pub async fn check_custom_buckets(store: &impl Store) {
    let custom = NativeHistogram {
        schema: -53,
        count: 6.0,
        sum: 12.5,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive_buckets: vec![1.0, 2.0, 3.0],
        custom_values: vec![0.005, 1.0, 2.5],
        ..NativeHistogram::default()
    };
    let gauge = NativeHistogram {
        reset_hint: ResetHint::Gauge,
        negative_spans: vec![Span { offset: -7, length: 1 }],
        negative_buckets: vec![0.25],
        ..histogram(1.0)
    };
    let all = [custom, gauge, NativeHistogram { schema: -4, ..NativeHistogram::default() }];
    let a = series("custom_buckets", &[]);
    let layout = Layout::inline(vec![a.clone(); all.len()]);
    let mut samples = frame_at(&layout, &[(NOON, 0.0), (NOON + 1, 0.0), (NOON + 2, 0.0)]);
    for (column, histogram) in all.iter().enumerate() {
        put_histogram(&mut samples, column, histogram.clone());
    }
    store.append(&[batch("custom-buckets", "1", vec![samples])]).await.expect("an append");
    let found = store.select(&selection("custom_buckets", NOON, NOON + HOUR)).await.expect("a selection");
    let [found] = found.as_slice() else { panic!("one series, not {}", found.len()) };
    assert_eq!(found.histograms, all.into_iter().enumerate().collect::<Vec<_>>());
}

/// Offsets in any order, a series more than once in a frame, several frames in a batch.
pub async fn check_frame_shapes(store: &impl Store) {
    let (a, b) = (series("shapes", &[("s", "a")]), series("shapes", &[("s", "b")]));
    let twice = Layout::inline(vec![b.clone(), a.clone(), b.clone()]);
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let frames = vec![
        frame_at(&twice, &[(NOON + 500, 1.0), (NOON, 2.0), (NOON + 100, 3.0)]),
        frame(&shared, NOON + 1_000, &[4.0, 5.0]),
        frame_at(&shared, &[(NOON + 2_000, 6.0), (NOON + 2_001, 7.0)]),
        frame(&shared, NOON - HOUR, &[8.0, 9.0]),
    ];
    store.append(&[batch("shapes", "1", frames)]).await.expect("an append");
    let of_a = [(NOON - HOUR, 8.0), (NOON, 2.0), (NOON + 1_000, 4.0), (NOON + 2_000, 6.0)];
    let of_b =
        [(NOON - HOUR, 9.0), (NOON + 100, 3.0), (NOON + 500, 1.0), (NOON + 1_000, 5.0), (NOON + 2_001, 7.0)];
    assert_eq!(all_of(store, "shapes").await, [row(&a, &of_a), row(&b, &of_b)]);
}

/// A thousand columns, of which all or one is asked for.
pub async fn check_wide_frames(store: &impl Store) {
    let all = many_series("wide", 1_000);
    let layout = Layout::shared(all.clone());
    for n in 0..3i64 {
        let values: Vec<f64> = (0..1_000).map(|column| (column * 10 + n) as f64).collect();
        let frame = frame(&layout, NOON + n * 15_000, &values);
        store.append(&[batch("wide", &n.to_string(), vec![frame])]).await.expect("an append");
    }
    let expected = |column: i64| {
        let samples: Vec<_> = (0..3).map(|n| (NOON + n * 15_000, (column * 10 + n) as f64)).collect();
        row(&all[usize::try_from(column).unwrap_or(0)], &samples)
    };
    assert_eq!(all_of(store, "wide").await, (0..1_000).map(expected).collect::<Vec<_>>());
    let mut one = selection("wide", NOON, NOON + HOUR);
    one.matchers.push(matcher("n", "=", "0777"));
    assert_eq!(rows(&store.select(&one).await.expect("a selection")), [expected(777)]);
}

/// Nothing to append; a batch without frames; a frame without columns.
pub async fn check_empty(store: &impl Store) {
    assert_eq!(store.append(&[]).await.expect("an append of nothing"), []);
    let none = batch("empty", "no-frames", Vec::new());
    let columns = batch("empty", "no-columns", vec![frame(&Layout::inline(Vec::new()), NOON, &[])]);
    let receipts = store.append(&[none.clone(), columns]).await.expect("an append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Stored]);
    assert_eq!(store.append(&[none]).await.expect("an append"), [Receipt::Duplicate]);
    assert_eq!(all_of(store, "metric_that_nobody_sent").await, []);
    let latest = store.latest("empty", NOON - HOUR).await.expect("latest metrics");
    assert!(latest.is_empty(), "a target whose batches hold nothing has no latest metrics");
}
