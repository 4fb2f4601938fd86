//! Changes of native histograms between the first and the last sample of a window.

use std::sync::Arc;

use metricsd_model::{NativeHistogram, ResetHint};

use super::extended::{End, Ends};
use super::{RangeContext, Sample};
use crate::annotation::Annotation;
use crate::histogram::uses_custom_buckets;
use crate::histogram::{Combined, Incompatible, add, compact, detect_reset, interpolate, sub, to_schema};

/// By how much the histograms changed, in the coarsest resolution of the window; for a counter with what it had reached
/// before each reset. Nothing, and a remark, where exponential and custom buckets do not fit together.
pub(super) fn change(
    histograms: &[Arc<NativeHistogram>],
    context: &RangeContext<'_>,
    counter: bool,
) -> Option<NativeHistogram> {
    let changed = if counter { increase(histograms) } else { difference(histograms) };
    finished(changed, histograms, context, counter)
}

fn finished(
    changed: Result<Changed, Incompatible>,
    histograms: &[Arc<NativeHistogram>],
    context: &RangeContext<'_>,
    counter: bool,
) -> Option<NativeHistogram> {
    if counter && histograms.iter().any(gauge) {
        context.remark(Annotation::HistogramNotCounter(context.metric()));
    }
    let Ok(changed) = changed else {
        context.remark(Annotation::MixedExponentialCustom(context.metric()));
        return None;
    };
    if !counter && [histograms.first(), histograms.last()].iter().flatten().any(|end| !gauge(end)) {
        context.remark(Annotation::HistogramNotGauge(context.metric()));
    }
    if changed.reconciled_difference {
        context.remark(Annotation::MismatchedCustomBuckets("subtraction"));
    }
    if changed.reconciled_resets {
        context.remark(Annotation::MismatchedCustomBuckets("addition"));
    }
    let mut histogram = changed.histogram;
    compact(&mut histogram);
    Some(histogram)
}

fn gauge(histogram: &Arc<NativeHistogram>) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

struct Changed {
    histogram: NativeHistogram,
    reconciled_difference: bool,
    reconciled_resets: bool,
}

fn difference(histograms: &[Arc<NativeHistogram>]) -> Result<Changed, Incompatible> {
    let (Some(first), Some(last)) = (histograms.first(), histograms.last()) else { return Err(Incompatible) };
    if uses_custom_buckets(first) != uses_custom_buckets(last) {
        return Err(Incompatible);
    }
    let Combined { histogram, reconciled, .. } = sub(last, first)?;
    Ok(Changed { histogram, reconciled_difference: reconciled, reconciled_resets: false })
}

fn increase(histograms: &[Arc<NativeHistogram>]) -> Result<Changed, Incompatible> {
    let [first, second, ..] = histograms else { return Err(Incompatible) };
    let last = histograms.last().unwrap_or(second);
    // A first sample before a reset is worth nothing, not even its resolution.
    let began_again = detect_reset(second, first);
    let nothing = NativeHistogram {
        schema: second.schema,
        custom_values: second.custom_values.clone(),
        ..NativeHistogram::default()
    };
    let first = if began_again { &nothing } else { first.as_ref() };
    let rest = histograms.get(1..).unwrap_or_default();
    let custom = uses_custom_buckets(first);
    if rest.iter().any(|histogram| uses_custom_buckets(histogram) != custom) {
        return Err(Incompatible);
    }
    let schema = rest.iter().map(|histogram| histogram.schema).fold(first.schema, i32::min);
    let Combined { mut histogram, reconciled: reconciled_difference, .. } =
        sub(&to_schema(last, schema), first)?;
    let mut reconciled_resets = false;
    for lost in before_resets(first, rest) {
        let sum = add(&histogram, lost)?;
        histogram = sum.histogram;
        reconciled_resets |= sum.reconciled;
    }
    Ok(Changed { histogram, reconciled_difference, reconciled_resets })
}

/// What a counter had reached each time before it began again.
fn before_resets<'a>(
    first: &'a NativeHistogram,
    rest: &'a [Arc<NativeHistogram>],
) -> impl Iterator<Item = &'a NativeHistogram> {
    let before = std::iter::once(first).chain(rest.iter().map(AsRef::as_ref));
    before.zip(rest).filter(|(before, current)| detect_reset(current, before)).map(|(before, _)| before)
}

/// As [`increase`], but what was lost to resets is brought together before it is added.
fn increase_between(histograms: &[Arc<NativeHistogram>]) -> Result<Changed, Incompatible> {
    let mut changed = difference(histograms)?;
    let Some((first, rest)) = histograms.split_first() else { return Ok(changed) };
    let mut lost: Option<NativeHistogram> = None;
    for before in before_resets(first, rest) {
        lost = Some(match lost {
            None => before.clone(),
            Some(lost) => {
                let sum = add(&lost, before)?;
                changed.reconciled_resets |= sum.reconciled;
                sum.histogram
            }
        });
    }
    if let Some(lost) = lost {
        let sum = add(&changed.histogram, &lost)?;
        changed.histogram = sum.histogram;
        changed.reconciled_resets |= sum.reconciled;
    }
    Ok(changed)
}

/// By how much histograms changed between the ends of a window; remarks as of [`change`].
pub(super) fn change_between(
    ends: &Ends<'_>,
    inside: &[Arc<NativeHistogram>],
    context: &RangeContext<'_>,
    counter: bool,
) -> Option<NativeHistogram> {
    let mut all = Vec::with_capacity(inside.len() + 2);
    all.push(value_at(ends.left, context, counter)?);
    all.extend(inside.iter().map(Arc::clone));
    all.push(value_at(ends.right, context, counter)?);
    let changed = if counter { increase_between(&all) } else { difference(&all) };
    finished(changed, &all, context, counter)
}

fn value_at(end: End<'_>, context: &RangeContext<'_>, counter: bool) -> Option<Arc<NativeHistogram>> {
    match end {
        End::At(Sample::Histogram(histogram)) => Some(Arc::clone(histogram)),
        End::Between(Sample::Histogram(before), Sample::Histogram(after), (passed, whole)) => {
            let Ok(between) = interpolate(before, after, passed / whole, counter) else {
                context.remark(Annotation::MixedExponentialCustom(context.metric()));
                return None;
            };
            if between.reconciled_difference {
                context.remark(Annotation::MismatchedCustomBuckets("subtraction"));
            }
            if between.reconciled_sum {
                context.remark(Annotation::MismatchedCustomBuckets("addition"));
            }
            Some(Arc::new(between.histogram))
        }
        _ => None,
    }
}
