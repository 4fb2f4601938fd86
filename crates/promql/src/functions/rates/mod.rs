//! How counters grow and gauges move.
//!
//! [`floats`] and [`histograms`] say by how much a series changed between samples, [`extended`] does so for ranges whose
//! ends are `anchored` or `smoothed`, [`instant`] looks at the last two samples only, [`steps`] counts changes.
//! What is here extrapolates from the samples to the ends of the window.

mod extended;
mod histograms;
mod instant;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use extended::values_at_ends as ends;
pub(super) use instant::{idelta, irate};
pub(super) use steps::{changes, resets};

use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram};

use super::{RangeContext, Sample, Window};
use crate::annotation::Annotation;
use crate::ast::Boundaries;
use crate::histogram;
use crate::value::PointValue;

/// What is asked of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    /// Decreases are resets.
    counter: bool,
    /// By the second.
    rate: bool,
}

pub(super) fn rate(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    counter(window, context, Question { counter: true, rate: true })
}

pub(super) fn increase(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    counter(window, context, Question { counter: true, rate: false })
}

pub(super) fn delta(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    change(window, context, Question { counter: false, rate: false })
}

/// Remarks on floats whose name does not say that they are a counter.
fn counter(window: &Window<'_>, context: &RangeContext<'_>, question: Question) -> Option<PointValue> {
    let value = change(window, context, question)?;
    if let PointValue::Float(_) = value {
        let name = context.name;
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if !counts && !name.is_empty() {
            context.remark(Annotation::PossibleNonCounter(name.to_owned()));
        }
    }
    Some(value)
}

fn change(window: &Window<'_>, context: &RangeContext<'_>, question: Question) -> Option<PointValue> {
    if context.boundaries != Boundaries::Inside {
        return extended::change(window, context, question);
    }
    match (window.values, window.histograms) {
        ([_, ..], [_, ..]) => {
            context.remark(Annotation::MixedFloatsHistograms(context.metric()));
            None
        }
        ([first, .., last], []) => {
            let mut change = last - first;
            if question.counter && window.falls {
                // One by one, as rounding tells the order.
                change = before_resets(*first, window.values.get(1..)?).fold(change, |sum, lost| sum + lost);
            }
            let samples = Samples::of(window.timestamps, *first, change)?;
            Some(PointValue::Float(change * samples.factor(window, question)))
        }
        ([], [first, _, ..]) => {
            let change = histograms::change(window.histograms, context, question.counter)?;
            let samples = Samples::of(window.histogram_timestamps, first.count, change.count)?;
            let change = histogram::scale(&change, samples.factor(window, question));
            Some(gauge(change))
        }
        _ => None,
    }
}

/// What a counter had reached each time before it began again.
fn before_resets(first: f64, rest: &[f64]) -> impl Iterator<Item = f64> {
    let before = std::iter::once(first).chain(rest.iter().copied());
    before.zip(rest).filter(|(before, value)| *value < before).map(|(before, _)| before)
}

/// A difference of counters is a gauge.
fn gauge(mut histogram: NativeHistogram) -> PointValue {
    histogram.reset_hint = metricsd_model::ResetHint::Gauge;
    PointValue::Histogram(Arc::new(histogram))
}

/// Where samples stand in their window, and what extrapolation has to know of their values.
struct Samples {
    first_at: Millis,
    last_at: Millis,
    count: usize,
    /// The first value; of a histogram its count.
    first: f64,
    /// By how much that value changed.
    change: f64,
}

impl Samples {
    fn of(timestamps: &[Millis], first: f64, change: f64) -> Option<Self> {
        let (first_at, last_at) = (*timestamps.first()?, *timestamps.last()?);
        Some(Self { first_at, last_at, count: timestamps.len(), first, change })
    }

    /// What to multiply the change between the samples with, to have the change of the whole window.
    ///
    /// The change goes on at the same pace up to an end of the window that is about as near as a further sample would
    /// be (1.1 times the average distance of samples). Otherwise the series is taken to begin or end halfway to that
    /// sample. A counter began no earlier than at zero.
    fn factor(&self, window: &Window<'_>, question: Question) -> f64 {
        let sampled = (self.last_at - self.first_at) as f64 / 1e3;
        let distance = sampled / (self.count as f64 - 1.0);
        let reach = |to_end: f64| if to_end >= distance * 1.1 { distance / 2.0 } else { to_end };
        let mut to_start = reach((self.first_at - window.start) as f64 / 1e3);
        let to_end = reach((window.end - self.last_at) as f64 / 1e3);
        if question.counter && self.change > 0.0 && self.first >= 0.0 {
            let to_zero = sampled * (self.first / self.change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        let factor = (sampled + to_start + to_end) / sampled;
        if question.rate { factor / window.seconds() } else { factor }
    }
}
