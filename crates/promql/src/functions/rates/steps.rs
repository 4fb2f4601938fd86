//! How often a series changes its value, or begins again.

use metricsd_model::NativeHistogram;

use super::{RangeContext, Sample, Window};
use crate::ast::Boundaries;
use crate::histogram::{detect_reset, same};
use crate::value::PointValue;

pub(in crate::functions) fn changes(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let float = |before: f64, after: f64| before != after && !(before.is_nan() && after.is_nan());
    count(window, context, float, |before, after| !same(before, after))
}

pub(in crate::functions) fn resets(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let float = |before: f64, after: f64| after < before;
    count(window, context, float, |before, after| detect_reset(after, before))
}

/// Steps from one sample to the next that count; those between a float and a histogram always do.
fn count(
    window: &Window<'_>,
    context: &RangeContext<'_>,
    float: impl Fn(f64, f64) -> bool,
    histogram: impl Fn(&NativeHistogram, &NativeHistogram) -> bool,
) -> Option<PointValue> {
    if window.is_empty() {
        return None;
    }
    let anchored = context.boundaries == Boundaries::Anchored;
    let before = if anchored { window.before.map(|(_, sample)| sample) } else { None };
    let steps = match before {
        None | Some(Sample::Float(_)) if window.histograms.is_empty() => {
            let inside = window.values.iter().copied();
            let first = match before {
                Some(Sample::Float(value)) => value,
                _ => *window.values.first()?,
            };
            inside
                .fold((0_u64, first), |(count, last), value| (count + u64::from(float(last, value)), value))
                .0
        }
        _ => {
            let (mut last, mut count) = (before, 0);
            in_order(window, |sample| {
                count += u64::from(match (last, sample) {
                    (None, _) => false,
                    (Some(Sample::Float(before)), Sample::Float(after)) => float(before, after),
                    (Some(Sample::Histogram(before)), Sample::Histogram(after)) => histogram(before, after),
                    _ => true,
                });
                last = Some(sample);
            });
            count
        }
    };
    Some(PointValue::Float(steps as f64))
}

/// Floats and histograms together, in order of time.
fn in_order<'a>(window: &Window<'a>, mut visit: impl FnMut(Sample<'a>)) {
    let mut floats = window.timestamps.iter().zip(window.values).peekable();
    for (histogram_at, histogram) in window.histogram_timestamps.iter().zip(window.histograms) {
        while let Some((_, value)) = floats.next_if(|(at, _)| *at < histogram_at) {
            visit(Sample::Float(*value));
        }
        visit(Sample::Histogram(histogram));
    }
    floats.for_each(|(_, value)| visit(Sample::Float(*value)));
}
