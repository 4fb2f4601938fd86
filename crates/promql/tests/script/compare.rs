//! Compares what came with what was expected.

use std::collections::BTreeMap;
use std::fmt::Write;

use metricsd_model::{LabelSet, Millis, NativeHistogram, ResetHint};
use metricsd_promql::PointValue;

use super::eval::Series;
use super::series::Slot;

/// How far floats may be apart, relative to the larger.
const TOLERANCE: f64 = 1e-6;

/// A point that is expected: a value, and whether its reset hint is compared.
pub type Expected = (LabelSet, BTreeMap<Millis, (PointValue, bool)>);

/// What the lines of a script expect, `at` telling the moment of each place.
pub fn expected(
    lines: &[(LabelSet, Vec<Slot>)],
    at: impl Fn(usize) -> Millis,
) -> Result<Vec<Expected>, String> {
    let mut all = Vec::new();
    for (labels, slots) in lines {
        let mut points = BTreeMap::new();
        for (index, slot) in slots.iter().enumerate() {
            let point = match slot {
                Slot::Missing => continue,
                Slot::Stale => return Err("an answer holds no staleness marker".to_owned()),
                Slot::Float(value) => (PointValue::Float(*value), false),
                Slot::Histogram(histogram, hinted) => {
                    (PointValue::Histogram(std::sync::Arc::new((**histogram).clone())), *hinted)
                }
            };
            points.insert(at(index), point);
        }
        all.push((labels.clone(), points));
    }
    Ok(all)
}

/// Series that were got, as if they were expected.
pub fn as_expected(series: &[Series]) -> Vec<Expected> {
    let points = |points: &BTreeMap<Millis, PointValue>| {
        points.iter().map(|(at, value)| (*at, (value.clone(), false))).collect()
    };
    series.iter().map(|(labels, of_series)| (labels.clone(), points(of_series))).collect()
}

/// Whether all series, and all points of each, are as expected.
pub fn series(expected: &[Expected], got: &[Series], ordered: bool) -> Result<(), String> {
    let same = |expected: &Expected, got: &Series| {
        expected.0 == got.0
            && expected.1.len() == got.1.len()
            && expected
                .1
                .iter()
                .zip(&got.1)
                .all(|((at, (value, hinted)), (got_at, got))| at == got_at && point(value, got, *hinted))
    };
    let equal = expected.len() == got.len()
        && if ordered {
            expected.iter().zip(got).all(|(expected, got)| same(expected, got))
        } else {
            expected.iter().all(|expected| got.iter().any(|got| same(expected, got)))
        };
    if equal {
        return Ok(());
    }
    let expected: Vec<Series> = expected
        .iter()
        .map(|(labels, points)| {
            (labels.clone(), points.iter().map(|(at, (value, _))| (*at, value.clone())).collect())
        })
        .collect();
    Err(format!("expected{}\n  got{}", write_series(&expected), write_series(got)))
}

fn write_series(series: &[Series]) -> String {
    let mut out = String::new();
    for (labels, points) in series {
        let _ = write!(out, "\n    {labels}:");
        for (at, value) in points {
            let _ = match value {
                PointValue::Float(value) => write!(out, " {value}@{at}"),
                PointValue::Histogram(histogram) => write!(out, " {}@{at}", write_histogram(histogram)),
            };
        }
    }
    if out.is_empty() { " nothing".to_owned() } else { out }
}

fn write_histogram(h: &NativeHistogram) -> String {
    let spans = |spans: &[metricsd_model::Span]| {
        spans.iter().map(|span| format!("{}:{}", span.offset, span.length)).collect::<Vec<_>>().join(" ")
    };
    format!(
        "{{{{schema:{} count:{} sum:{} zero:{}/{} hint:{:?} spans:[{}] buckets:{:?} n_spans:[{}] n_buckets:{:?} \
         custom:{:?}}}}}",
        h.schema,
        h.count,
        h.sum,
        h.zero_count,
        h.zero_threshold,
        h.reset_hint,
        spans(&h.positive_spans),
        h.positive_buckets,
        spans(&h.negative_spans),
        h.negative_buckets,
        h.custom_values
    )
}

fn point(expected: &PointValue, got: &PointValue, hinted: bool) -> bool {
    match (expected, got) {
        (PointValue::Float(expected), PointValue::Float(got)) => float(*expected, *got),
        (PointValue::Histogram(expected), PointValue::Histogram(got)) => histogram(expected, got, hinted),
        _ => false,
    }
}

/// Whether two floats are equal but for rounding; NaN equals NaN.
pub fn float(expected: f64, got: f64) -> bool {
    if expected.is_nan() || got.is_nan() {
        return expected.is_nan() && got.is_nan();
    }
    #[expect(clippy::float_cmp, reason = "infinities and zeros")]
    let equal = expected == got;
    equal || (expected - got).abs() <= TOLERANCE * expected.abs().max(got.abs()) && got.is_finite()
}

fn histogram(expected: &NativeHistogram, got: &NativeHistogram, hinted: bool) -> bool {
    let gauge = |h: &NativeHistogram| h.reset_hint == ResetHint::Gauge;
    expected.schema == got.schema
        && (!hinted || expected.reset_hint == got.reset_hint)
        && (!gauge(expected) || gauge(got))
        && [
            (expected.count, got.count),
            (expected.sum, got.sum),
            (expected.zero_count, got.zero_count),
            (expected.zero_threshold, got.zero_threshold),
        ]
        .iter()
        .all(|(expected, got)| float(*expected, *got))
        && floats(&expected.custom_values, &got.custom_values)
        && buckets(filled(expected, true), filled(got, true))
        && buckets(filled(expected, false), filled(got, false))
}

fn floats(expected: &[f64], got: &[f64]) -> bool {
    expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| float(*expected, *got))
}

fn buckets(expected: BTreeMap<i32, f64>, got: BTreeMap<i32, f64>) -> bool {
    expected.len() == got.len()
        && expected.iter().zip(&got).all(|((at, value), (got_at, got))| at == got_at && float(*value, *got))
}

/// The buckets with anything in them, by index: how they are cut into spans does not matter.
fn filled(h: &NativeHistogram, positive: bool) -> BTreeMap<i32, f64> {
    let (spans, counts) = if positive {
        (&h.positive_spans, &h.positive_buckets)
    } else {
        (&h.negative_spans, &h.negative_buckets)
    };
    let mut index = 0;
    let mut counts = counts.iter();
    let mut filled = BTreeMap::new();
    for span in spans {
        index += span.offset;
        for _ in 0..span.length {
            if let Some(count) = counts.next().filter(|count| **count != 0.0) {
                filled.insert(index, *count);
            }
            index += 1;
        }
    }
    filled
}
