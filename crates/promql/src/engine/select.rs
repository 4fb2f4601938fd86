//! Instant selectors: which sample speaks for a step: the newest of the window `(moment - look_back, moment]`, unless it
//! says that the series has ended.

use metricsd_model::Millis;

use crate::QueryError;
use crate::ast::{Boundaries, Place, VectorSelector};
use crate::engine::context::Context;
use crate::engine::data::{Point, Raw, Series, without_empty};
use crate::engine::times::{Shift, Steps};
use crate::engine::{parallel, smooth};

/// The selector at every step.
pub(crate) fn select(
    context: &Context<'_>,
    selector: &VectorSelector,
    place: &Place,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let shift = context.frame.shift(&selector.time)?;
    let smoothed = selector.boundaries == Boundaries::Smoothed;
    each(context, place, steps, |raw, column| {
        if smoothed {
            smooth::fill(context, raw, place, shift, steps, column)
        } else {
            speak(context, raw, shift, steps, column)
        }
    })
}

/// The timestamps of the samples that speak, in seconds, instead of their values.
pub(crate) fn timestamps(
    context: &Context<'_>,
    selector: &VectorSelector,
    place: &Place,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    timestamps_at(context, context.frame.shift(&selector.time)?, place, steps)
}

fn timestamps_at(
    context: &Context<'_>,
    shift: Shift,
    place: &Place,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    each(context, place, steps, |raw, column| {
        newest(context, raw, shift, steps, |step, index, _| {
            let timestamp = raw.timestamps.get(index).copied().unwrap_or_default();
            column.set_float(step, timestamp as f64 / 1e3);
        });
    })
}

fn each(
    context: &Context<'_>,
    place: &Place,
    steps: Steps,
    fill: impl Fn(&Raw, &mut Series) + Sync,
) -> Result<Vec<Series>, QueryError> {
    let raw = context.fetched.of(place);
    let _held = context.control.hold(raw.len(), raw.len().saturating_mul(steps.count))?;
    let weight = raw.iter().map(|series| series.timestamps.len() + steps.count).sum();
    let series = parallel::map(&raw, weight, &context.control, |raw| {
        let mut series = Series::empty(raw.labels.clone(), raw.drop_name, steps.count);
        fill(raw, &mut series);
        series
    })?;
    Ok(without_empty(series))
}

fn speak(context: &Context<'_>, raw: &Raw, shift: Shift, steps: Steps, column: &mut Series) {
    newest(context, raw, shift, steps, |step, _, point| column.set(step, point));
}

/// Calls `found` with each step that has a value, the index of the sample that speaks for it, and what it says. Every
/// sample is passed once, however many steps there are.
fn newest(
    context: &Context<'_>,
    raw: &Raw,
    shift: Shift,
    steps: Steps,
    mut found: impl FnMut(usize, usize, Point<'_>),
) {
    let mut passed = 0;
    for (step, moment) in steps.iter().enumerate() {
        let moment = shift.of(moment);
        passed = advance(&raw.timestamps, passed, moment);
        let Some(index) = passed.checked_sub(1) else { continue };
        // Left-open: a sample exactly as old as the window does not count.
        let inside = raw
            .timestamps
            .get(index)
            .is_some_and(|at| *at > moment.saturating_sub(context.settings.look_back));
        let point = if inside { raw.point(index) } else { Point::Absent };
        if !point.is_absent() {
            found(step, index, point);
        }
    }
}

/// How many of the timestamps stand at or before `moment`, where at least `from` do.
pub(crate) fn advance(timestamps: &[Millis], from: usize, moment: Millis) -> usize {
    let rest = timestamps.get(from..).unwrap_or(&[]);
    // Mostly it is a few steps away; far jumps are searched for.
    let near = rest.iter().take(16).take_while(|at| **at <= moment).count();
    if near < 16 { from + near } else { from + rest.partition_point(|at| *at <= moment) }
}

/// The timestamps, in seconds, of the samples that speak at each step, of what was read for `place`.
pub(crate) fn sample_times(
    context: &Context<'_>,
    shift: Shift,
    place: &Place,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    timestamps_at(context, shift, place, steps)
}
