//! Changes of native histograms between the first and the last sample of a window.

use std::sync::Arc;

use metricsd_model::{NativeHistogram, ResetHint};

use super::RangeContext;
use crate::annotation::Annotation;
use crate::histogram::uses_custom_buckets;
use crate::histogram::{Combined, Incompatible, add, compact, detect_reset, sub, to_schema};

/// By how much the histograms changed, in the coarsest resolution of the window; for a counter with what it had reached
/// before each reset. Nothing, and a remark, where exponential and custom buckets do not fit together.
pub(super) fn change(
    histograms: &[Arc<NativeHistogram>],
    context: &RangeContext<'_>,
    counter: bool,
) -> Option<NativeHistogram> {
    let gauge = |histogram: &Arc<NativeHistogram>| histogram.reset_hint == ResetHint::Gauge;
    if counter && histograms.iter().any(gauge) {
        context.remark(Annotation::HistogramNotCounter(context.metric()));
    }
    let changed = if counter { increase(histograms) } else { difference(histograms) };
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
    let mut before = first;
    for current in rest {
        if detect_reset(current, before) {
            let sum = add(&histogram, before)?;
            histogram = sum.histogram;
            reconciled_resets |= sum.reconciled;
        }
        before = current.as_ref();
    }
    Ok(Changed { histogram, reconciled_difference, reconciled_resets })
}
