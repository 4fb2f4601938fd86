//! Ranges that are `anchored` or `smoothed`: where they may stand, and how they look by themselves.

use metricsd_model::Millis;

use crate::QueryError;
use crate::ast::{Boundaries, Call, ExprKind};
use crate::error::QueryErrorKind;
use crate::functions::{Window, rates};

/// Only some functions know what to do with an extended range.
pub(crate) fn check(call: &Call) -> Result<(), QueryError> {
    let extended = call.args.iter().find_map(|arg| match &arg.inner().kind {
        ExprKind::Matrix(matrix) if matrix.selector.boundaries != Boundaries::Inside => {
            Some(matrix.selector.boundaries)
        }
        _ => None,
    });
    let Some(boundaries) = extended else { return Ok(()) };
    let (word, allowed): (_, &[&str]) = match boundaries {
        Boundaries::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Boundaries::Smoothed | Boundaries::Inside => ("smoothed", &["delta", "increase", "rate"]),
    };
    let function = call.function.name;
    if allowed.contains(&function) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    let message = format!("{word} modifier can only be used with: {allowed} - not with {function}");
    Err(QueryError::new(QueryErrorKind::Execution, message))
}

/// The floats of an extended range that nothing is done with: those inside, between values on both of its ends.
pub(crate) fn floats(window: &Window<'_>, boundaries: Boundaries) -> Result<Vec<(Millis, f64)>, QueryError> {
    if window.mixed || !window.histograms.is_empty() {
        let word = if boundaries == Boundaries::Anchored { "anchored" } else { "smoothed" };
        let message = format!("{word} modifier is not supported with histograms");
        return Err(QueryError::new(QueryErrorKind::Execution, message));
    }
    let Some((left, right)) = rates::ends(window, boundaries) else { return Ok(Vec::new()) };
    let inside = window.timestamps.iter().copied().zip(window.values.iter().copied());
    let inside = inside.filter(|(at, _)| *at < window.end);
    Ok(std::iter::once((window.start, left)).chain(inside).chain([(window.end, right)]).collect())
}
