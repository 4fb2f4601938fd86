//! Values that were rolled up in place of samples: where they tell the same, and how they are put together.
//!
//! A window whose ends lie on the ends of spans holds the samples of whole spans. The least of the least values is the
//! least of all, and so on; counts are summed, and an average is the sum of the sums by the sum of the counts. Sums of sums
//! may differ from sums of samples in the last bit.

use metricsd_model::{Millis, Sum};
use metricsd_ports::{ROLLUP_STEPS, RollupValue};

use crate::engine::times::{Shift, Steps};
use crate::functions::{RangeContext, RangeFn, Window};
use crate::value::PointValue;

/// What a range function needs of each span, where that is enough.
pub(crate) fn value_for(function: &str) -> Option<RollupValue> {
    Some(match function {
        "min_over_time" => RollupValue::Min,
        "max_over_time" => RollupValue::Max,
        "sum_over_time" => RollupValue::Sum,
        "count_over_time" => RollupValue::Count,
        "avg_over_time" => RollupValue::Average,
        "last_over_time" | "present_over_time" => RollupValue::Last,
        _ => return None,
    })
}

/// The longest spans on whose ends all windows of `range` begin and end.
pub(crate) fn step_for(shift: Shift, steps: Steps, range: Millis) -> Option<Millis> {
    let (first, last) = shift.span(steps);
    let apart = if first == last { 0 } else { steps.step };
    let fits = |step: &Millis| [range, first, apart].iter().all(|time| time.rem_euclid(*step) == 0);
    ROLLUP_STEPS.into_iter().find(fits)
}

/// A range function over values of spans; `counts` stand beside the window's floats where averages are asked for.
pub(crate) fn evaluate(
    function: RangeFn,
    value: RollupValue,
    window: &Window<'_>,
    counts: &[f64],
    context: &RangeContext<'_>,
) -> Option<PointValue> {
    let sum = |values: &[f64]| {
        let mut sum = Sum::default();
        sum.extend(values.iter().copied());
        sum.value()
    };
    match value {
        RollupValue::Count => Some(PointValue::Float(sum(window.values))),
        RollupValue::Average => Some(PointValue::Float(sum(window.values) / sum(counts))),
        _ => function(window, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Millis = 300_000;
    const HOUR: Millis = 3_600_000;

    #[test]
    fn the_longest_spans_that_fit_are_taken() {
        let none = Shift::default();
        let every = |start, step| Steps { start, step, count: 3 };
        assert_eq!(step_for(none, every(0, HOUR), HOUR), Some(HOUR));
        assert_eq!(step_for(none, every(MINUTES, HOUR), HOUR), Some(MINUTES));
        assert_eq!(step_for(none, every(HOUR, MINUTES), HOUR), Some(MINUTES));
        assert_eq!(step_for(none, every(HOUR, HOUR), 3 * MINUTES), Some(MINUTES));
        assert_eq!(step_for(none, every(HOUR, HOUR), 60_000), None);
        assert_eq!(step_for(none, every(1, HOUR), HOUR), None);
        assert_eq!(step_for(none, every(HOUR, 15_000), HOUR), None);
        assert_eq!(step_for(none, Steps::one(5 * HOUR), 2 * HOUR), Some(HOUR), "one moment has no step");
    }
}
