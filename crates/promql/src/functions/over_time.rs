//! Aggregations of one series over a window.

use std::cell::RefCell;
use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram};

use super::quantile::quantile;
use super::running::{Mean, Sum, Variance};
use super::{RangeContext, Window};
use crate::annotation::Annotation;
use crate::histogram::Accumulator;
use crate::value::PointValue;

pub(super) fn avg_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    if mixed(window, context) {
        return None;
    }
    let Some((first, rest)) = window.values.split_first() else {
        return histograms(window, context, Accumulator::mean);
    };
    let mut mean = Mean::of(*first);
    rest.iter().for_each(|value| mean.add(*value));
    Some(PointValue::Float(mean.value()))
}

pub(super) fn sum_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    if mixed(window, context) {
        return None;
    }
    if window.values.is_empty() {
        return histograms(window, context, Accumulator::sum);
    }
    let mut sum = Sum::default();
    window.values.iter().for_each(|value| sum.add(*value));
    Some(PointValue::Float(sum.value()))
}

/// Floats and histograms have no common sum: remarked upon.
fn mixed(window: &Window<'_>, context: &RangeContext<'_>) -> bool {
    let mixed = !window.values.is_empty() && !window.histograms.is_empty();
    if mixed {
        context.remark(Annotation::MixedFloatsHistograms(context.metric()));
    }
    mixed
}

/// What comes of all histograms together. Those that cannot be brought together are nothing, and remarked upon.
fn histograms(
    window: &Window<'_>,
    context: &RangeContext<'_>,
    finish: impl Fn(&Accumulator) -> Option<NativeHistogram>,
) -> Option<PointValue> {
    let mut all = Accumulator::new();
    let incompatible = window.histograms.iter().any(|histogram| all.add(histogram).is_err());
    if all.collision() {
        context.remark(Annotation::CounterResetCollision("aggregation"));
    }
    if all.reconciled() {
        context.remark(Annotation::MismatchedCustomBuckets("aggregation"));
    }
    if incompatible {
        context.remark(Annotation::MixedExponentialCustom(context.metric()));
        return None;
    }
    finish(&all).map(|histogram| PointValue::Histogram(Arc::new(histogram)))
}

pub(super) fn count_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    let count = window.values.len() + window.histograms.len();
    (count > 0).then_some(PointValue::Float(count as f64))
}

pub(super) fn present_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    (!window.is_empty()).then_some(PointValue::Float(1.0))
}

pub(super) fn first_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    let float = window.timestamps.first().zip(window.values.first());
    let histogram = window.histogram_timestamps.first().zip(window.histograms.first());
    one_of(float, histogram, |float, histogram| float < histogram)
}

pub(super) fn last_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    let float = window.timestamps.last().zip(window.values.last());
    let histogram = window.histogram_timestamps.last().zip(window.histograms.last());
    one_of(float, histogram, |float, histogram| float > histogram)
}

/// The float where it alone is there or where its time comes before the histogram's in the order asked for.
fn one_of(
    float: Option<(&Millis, &f64)>,
    histogram: Option<(&Millis, &Arc<NativeHistogram>)>,
    float_first: impl Fn(&Millis, &Millis) -> bool,
) -> Option<PointValue> {
    match (float, histogram) {
        (Some((at, value)), Some((histogram_at, _))) if float_first(at, histogram_at) => {
            Some(PointValue::Float(*value))
        }
        (_, Some((_, histogram))) => Some(PointValue::Histogram(Arc::clone(histogram))),
        (Some((_, value)), None) => Some(PointValue::Float(*value)),
        (None, None) => None,
    }
}

pub(super) fn ts_of_first_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    let firsts = window.timestamps.first().into_iter().chain(window.histogram_timestamps.first());
    firsts.min().map(|at| seconds(*at))
}

pub(super) fn ts_of_last_over_time(window: &Window<'_>, _: &RangeContext<'_>) -> Option<PointValue> {
    let lasts = window.timestamps.last().into_iter().chain(window.histogram_timestamps.last());
    lasts.max().map(|at| seconds(*at))
}

fn seconds(at: Millis) -> PointValue {
    PointValue::Float(at as f64 / 1e3)
}

/// The floats, if there are any; that histograms among them are left out is remarked upon.
fn floats<'a>(window: &Window<'a>, context: &RangeContext<'_>) -> Option<&'a [f64]> {
    if window.values.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        context.remark(Annotation::HistogramIgnoredInMixedRange(context.metric()));
    }
    Some(window.values)
}

pub(super) fn max_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let best = best(floats(window, context)?, |value, best| value > best)?;
    Some(PointValue::Float(best.1))
}

pub(super) fn min_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let best = best(floats(window, context)?, |value, best| value < best)?;
    Some(PointValue::Float(best.1))
}

pub(super) fn ts_of_max_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let (index, _) = best(floats(window, context)?, |value, best| value >= best)?;
    window.timestamps.get(index).map(|at| seconds(*at))
}

pub(super) fn ts_of_min_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let (index, _) = best(floats(window, context)?, |value, best| value <= best)?;
    window.timestamps.get(index).map(|at| seconds(*at))
}

/// The value that no other one beats, with its index. Anything beats NaN.
fn best(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> Option<(usize, f64)> {
    values
        .iter()
        .copied()
        .enumerate()
        .reduce(|best, next| if beats(next.1, best.1) || best.1.is_nan() { next } else { best })
}

pub(super) fn stddev_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    Some(PointValue::Float(variance(window, context)?.sqrt()))
}

pub(super) fn stdvar_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    Some(PointValue::Float(variance(window, context)?))
}

fn variance(window: &Window<'_>, context: &RangeContext<'_>) -> Option<f64> {
    let mut variance = Variance::default();
    floats(window, context)?.iter().for_each(|value| variance.add(*value));
    Some(variance.value())
}

pub(super) fn quantile_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    if window.values.is_empty() {
        return None;
    }
    let phi = context.arg(0);
    if !(0.0..=1.0).contains(&phi) {
        context.remark_on_arg(0, Annotation::InvalidQuantile(phi));
    }
    if !window.histograms.is_empty() {
        context.remark_on_arg(0, Annotation::HistogramIgnoredInMixedRange(context.metric()));
    }
    Some(PointValue::Float(with_copy(window.values, |values| quantile(phi, values))))
}

/// The median of the distances from the median; NaN where any value is NaN.
pub(super) fn mad_over_time(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    let values = floats(window, context)?;
    if values.iter().any(|value| value.is_nan()) {
        return Some(PointValue::Float(f64::NAN));
    }
    let deviation = with_copy(values, |values| {
        let median = quantile(0.5, values);
        values.iter_mut().for_each(|value| *value = (*value - median).abs());
        quantile(0.5, values)
    });
    Some(PointValue::Float(deviation))
}

thread_local! {
    /// Where values are put in another order; kept from one window to the next.
    static COPY: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// More is given back after use.
const KEPT_VALUES: usize = 1 << 14;

fn with_copy(values: &[f64], work: impl FnOnce(&mut [f64]) -> f64) -> f64 {
    COPY.with_borrow_mut(|copy| {
        copy.clear();
        copy.extend_from_slice(values);
        let result = work(copy);
        if copy.capacity() > KEPT_VALUES {
            *copy = Vec::new();
        }
        result
    })
}

#[cfg(test)]
mod tests;
