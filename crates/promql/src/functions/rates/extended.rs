//! Changes over ranges whose ends are `anchored` or `smoothed`: nothing is extrapolated.

#[cfg(test)]
mod tests;

use metricsd_model::Millis;

use super::{Question, RangeContext, Sample, before_resets, gauge, histograms};
use crate::annotation::Annotation;
use crate::ast::Boundaries;
use crate::functions::Window;
use crate::histogram;
use crate::value::PointValue;

/// By how much a series changed from the window's start to its end.
///
/// Anchored, the sample before the start stands on it, or else the first one inside; the last sample inside stands on
/// the end. Smoothed, values at both ends lie on the lines to the samples outside, as far as there are any.
pub(super) fn change(
    window: &Window<'_>,
    context: &RangeContext<'_>,
    question: Question,
) -> Option<PointValue> {
    if window.mixed {
        context.remark(Annotation::MixedFloatsHistograms(context.metric()));
        return None;
    }
    let ends = ends(window, context.boundaries)?;
    if let Some((left, right)) = ends.floats(question.counter) {
        let change = floats(left, window.values, right, question);
        return Some(PointValue::Float(if question.rate { change / window.seconds() } else { change }));
    }
    let change = histograms::change_between(&ends, window.histograms, context, question.counter)?;
    Some(gauge(if question.rate { histogram::divide(&change, window.seconds()) } else { change }))
}

/// What is known at both ends of a window that is not mixed.
fn ends<'a>(window: &Window<'a>, boundaries: Boundaries) -> Option<Ends<'a>> {
    match boundaries {
        Boundaries::Smoothed => smoothed(window),
        Boundaries::Anchored | Boundaries::Inside => anchored(window),
    }
}

/// The values at both ends of a window of floats, as those of a gauge.
pub(crate) fn values_at_ends(window: &Window<'_>, boundaries: Boundaries) -> Option<(f64, f64)> {
    ends(window, boundaries)?.floats(false)
}

fn floats(left: f64, inside: &[f64], right: f64, question: Question) -> f64 {
    let change = right - left;
    if !question.counter {
        return change;
    }
    let before_end = inside.last().copied().unwrap_or(left);
    change + (before_resets(left, inside).sum::<f64>() + before_resets(before_end, &[right]).sum::<f64>())
}

type Timed<'a> = (Millis, Sample<'a>);

/// What is known of the value at one end of a window.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// It is that of a sample.
    At(Sample<'a>),
    /// It lies between those of two samples, so far from the first as the first number is part of the second one.
    Between(Sample<'a>, Sample<'a>, (f64, f64)),
}

impl<'a> End<'a> {
    fn between(before: Timed<'a>, after: Timed<'a>, at: Millis) -> Self {
        if before.0 == at {
            return Self::At(before.1);
        }
        Self::Between(before.1, after.1, ((at - before.0) as f64, (after.0 - before.0) as f64))
    }

    /// The value on the line between two samples. A counter that began again in between has grown from zero.
    fn float(self, counter: bool) -> Option<f64> {
        match self {
            Self::At(Sample::Float(value)) => Some(value),
            Self::Between(Sample::Float(before), Sample::Float(after), (passed, whole)) => {
                let from = if counter && after < before { 0.0 } else { before };
                Some(from + (after - from) * passed / whole)
            }
            _ => None,
        }
    }
}

/// Both ends of a window.
pub(super) struct Ends<'a> {
    pub(super) left: End<'a>,
    pub(super) right: End<'a>,
}

impl Ends<'_> {
    fn floats(&self, counter: bool) -> Option<(f64, f64)> {
        Some((self.left.float(counter)?, self.right.float(counter)?))
    }
}

fn anchored<'a>(window: &Window<'a>) -> Option<Ends<'a>> {
    let (_, last) = window.last()?;
    let (_, first) = window.before.or_else(|| window.first())?;
    Some(Ends { left: End::At(first), right: End::At(last) })
}

fn smoothed<'a>(window: &Window<'a>) -> Option<Ends<'a>> {
    let (first, last) = (window.first(), window.last());
    let after = window.after.filter(|_| last.is_none_or(|(at, _)| at < window.end));
    let left = match (window.before, first.or(after)) {
        (Some(before), Some(next)) => End::between(before, next, window.start),
        (None, Some((_, sample))) => End::At(sample),
        (_, None) => return None,
    };
    let right = match (last.or(window.before), after) {
        (Some(before), Some(after)) => End::between(before, after, window.end),
        (Some((_, sample)), None) | (None, Some((_, sample))) => End::At(sample),
        (None, None) => return None,
    };
    Some(Ends { left, right })
}
