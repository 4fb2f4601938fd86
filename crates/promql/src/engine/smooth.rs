//! Smoothed instant selectors: the value on the line between the samples around a moment.

use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram, ResetHint};

use crate::annotation::Annotation;
use crate::ast::Boundaries;
use crate::ast::Place;
use crate::engine::context::Context;
use crate::engine::data::{Raw, Series};
use crate::engine::times::{Shift, Steps};
use crate::engine::windows::{Columns, Walker};
use crate::functions::Sample;
use crate::histogram::interpolate;

/// Between two samples the line from one to the other; after the last one that sample. Nothing, and a remark, where
/// floats and histograms stand together in the look-back to both sides.
pub(crate) fn fill(
    context: &Context<'_>,
    raw: &Raw,
    place: &Place,
    shift: Shift,
    steps: Steps,
    column: &mut Series,
) {
    let remark = |annotation| context.annotations.add(&annotation, place);
    let metric = || raw.labels.metric_name().to_owned();
    let columns = Columns::of(raw);
    let mut walker = Walker::over(&columns, 0, Boundaries::Smoothed, context.settings.look_back);
    for (step, moment) in steps.iter().enumerate() {
        let window = walker.until(shift.of(moment));
        if window.mixed {
            remark(Annotation::MixedFloatsHistograms(metric()));
            continue;
        }
        match (window.before, window.after) {
            (Some((at, sample)), _) if at == window.end => set(column, step, sample),
            (Some((_, Sample::Histogram(last))), None) => column.set_histogram(step, held(last)),
            (Some((_, sample)), None) => set(column, step, sample),
            (Some((from, Sample::Float(low))), Some((to, Sample::Float(high)))) => {
                // In this order, as products of large numbers overflow.
                let (passed, whole) = ((window.end - from) as f64, (to - from) as f64);
                column.set_float(step, low + (high - low) * passed / whole);
            }
            (Some((from, Sample::Histogram(low))), Some((to, Sample::Histogram(high)))) => {
                let gauges = [low, high].iter().all(|histogram| histogram.reset_hint == ResetHint::Gauge);
                match interpolate(low, high, share(from, to, window.end), !gauges) {
                    Ok(between) => {
                        if between.reconciled_difference {
                            remark(Annotation::MismatchedCustomBuckets("subtraction"));
                        }
                        if between.reconciled_sum {
                            remark(Annotation::MismatchedCustomBuckets("addition"));
                        }
                        column.set_histogram(step, Arc::new(between.histogram));
                    }
                    Err(_) => remark(Annotation::MixedExponentialCustom(metric())),
                }
            }
            _ => {}
        }
    }
}

fn set(column: &mut Series, step: usize, sample: Sample<'_>) {
    match sample {
        Sample::Float(value) => column.set_float(step, value),
        Sample::Histogram(histogram) => column.set_histogram(step, Arc::clone(histogram)),
    }
}

/// What is held on to says nothing of resets any more, nor whether it is a gauge.
fn held(histogram: &NativeHistogram) -> Arc<NativeHistogram> {
    Arc::new(NativeHistogram { reset_hint: ResetHint::Unknown, ..histogram.clone() })
}

fn share(from: Millis, to: Millis, at: Millis) -> f64 {
    (at - from) as f64 / (to - from) as f64
}
