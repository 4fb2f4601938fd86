//! Changes over ranges whose ends are `anchored` or `smoothed`: nothing is extrapolated. Only floats take part.

use metricsd_model::Millis;

use super::{Question, lost_to_resets};
use crate::ast::Boundaries;
use crate::functions::Window;

/// By how much the floats changed from the window's start to its end.
///
/// Anchored, the sample before the start stands on it, or else the first one inside; the last sample inside stands on
/// the end. Smoothed, values at both ends lie on the lines to the samples outside, as far as there are any.
pub(super) fn change(window: &Window<'_>, boundaries: Boundaries, question: Question) -> Option<f64> {
    let inside = window.values;
    let (left, right) = match boundaries {
        Boundaries::Smoothed => smoothed(window, question.counter)?,
        Boundaries::Anchored | Boundaries::Inside => {
            let last = *inside.last()?;
            (window.before.map_or(*inside.first()?, |(_, value)| value), last)
        }
    };
    let mut change = right - left;
    if question.counter {
        let before_end = inside.last().copied().unwrap_or(left);
        change += lost_to_resets(left, inside) + lost_to_resets(before_end, &[right]);
    }
    Some(if question.rate { change / window.seconds() } else { change })
}

/// The values at both ends.
fn smoothed(window: &Window<'_>, counter: bool) -> Option<(f64, f64)> {
    let inside = |index: Option<usize>| {
        let index = index?;
        Some((*window.timestamps.get(index)?, *window.values.get(index)?))
    };
    let first = inside(Some(0));
    let last = inside(window.values.len().checked_sub(1));
    let after = window.after.filter(|_| last.is_none_or(|(at, _)| at < window.end));
    let left = match (window.before, first.or(after)) {
        (Some((at, value)), Some(_)) if at == window.start => value,
        (Some(before), Some(next)) => interpolate(before, next, window.start, counter),
        (None, Some((_, value))) => value,
        (_, None) => return None,
    };
    let right = match (last.or(window.before), after) {
        (Some(before), Some(after)) => interpolate(before, after, window.end, counter),
        (Some((_, value)), None) | (None, Some((_, value))) => value,
        (None, None) => return None,
    };
    Some((left, right))
}

/// The value on the line between two samples. A counter that began again in between has grown from zero.
fn interpolate(before: (Millis, f64), after: (Millis, f64), at: Millis, counter: bool) -> f64 {
    let from = if counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * (at - before.0) as f64 / (after.0 - before.0) as f64
}
