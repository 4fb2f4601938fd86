//! Changes between the last two samples of a window.

use metricsd_model::{Millis, NativeHistogram, ResetHint};

use super::{RangeContext, Sample, Window, gauge};
use crate::annotation::Annotation;
use crate::histogram::{compact, detect_reset, divide, sub};
use crate::value::PointValue;

pub(in crate::functions) fn irate(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    instant(window, context, true)
}

pub(in crate::functions) fn idelta(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    instant(window, context, false)
}

fn instant(window: &Window<'_>, context: &RangeContext<'_>, rate: bool) -> Option<PointValue> {
    let ((before_at, before), (last_at, last)) = last_two(window)?;
    let seconds = (last_at - before_at) as f64 / 1e3;
    if seconds == 0.0 {
        return None;
    }
    match (before, last) {
        (Sample::Float(before), Sample::Float(last)) => {
            let change = if rate && last < before { last } else { last - before };
            Some(PointValue::Float(if rate { change / seconds } else { change }))
        }
        (Sample::Histogram(before), Sample::Histogram(last)) => {
            let change = histogram_change(before, last, context, rate)?;
            Some(gauge(if rate { divide(&change, seconds) } else { change }))
        }
        _ => {
            context.remark(Annotation::MixedFloatsHistograms(context.metric()));
            None
        }
    }
}

type Timed<'a> = (Millis, Sample<'a>);

/// The last two samples, floats and histograms together.
fn last_two<'a>(window: &Window<'a>) -> Option<(Timed<'a>, Timed<'a>)> {
    let mut floats = window.timestamps.iter().zip(window.values).rev().peekable();
    let mut histograms = window.histogram_timestamps.iter().zip(window.histograms).rev().peekable();
    let mut take = || match (floats.peek(), histograms.peek()) {
        (Some((float_at, _)), Some((histogram_at, _))) if float_at > histogram_at => {
            floats.next().map(|(at, value)| (*at, Sample::Float(*value)))
        }
        (_, Some(_)) => histograms.next().map(|(at, histogram)| (*at, Sample::Histogram(histogram))),
        (_, None) => floats.next().map(|(at, value)| (*at, Sample::Float(*value))),
    };
    let last = take()?;
    Some((take()?, last))
}

fn histogram_change(
    before: &NativeHistogram,
    last: &NativeHistogram,
    context: &RangeContext<'_>,
    rate: bool,
) -> Option<NativeHistogram> {
    let gauges = [before, last].map(|histogram| histogram.reset_hint == ResetHint::Gauge);
    if rate && gauges.contains(&true) {
        context.remark(Annotation::HistogramNotCounter(context.metric()));
    }
    if !rate && gauges.contains(&false) {
        context.remark(Annotation::HistogramNotGauge(context.metric()));
    }
    let mut change = if rate && detect_reset(last, before) {
        last.clone()
    } else {
        let Ok(difference) = sub(last, before) else {
            context.remark(Annotation::MixedExponentialCustom(context.metric()));
            return None;
        };
        if difference.reconciled {
            context.remark(Annotation::MismatchedCustomBuckets("subtraction"));
        }
        difference.histogram
    };
    compact(&mut change);
    Some(change)
}
