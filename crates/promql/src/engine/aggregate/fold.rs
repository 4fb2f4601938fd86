//! Aggregations that fold one value after the other into a state: sums, means, extremes, counts, deviations.

use metricsd_model::NativeHistogram;

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Aggregation, AggregationOp};
use crate::engine::aggregate::{Group, remark_ignored};
use crate::engine::context::Context;
use crate::engine::data::{Point, Series};
use crate::engine::parallel;
use crate::engine::times::Steps;
use crate::functions::running::{Mean, Sum, Variance};
use crate::histogram::{Accumulator, Incompatible};

pub(super) fn fold(
    context: &Context<'_>,
    aggregation: &Aggregation,
    input: &[Series],
    groups: Vec<Group>,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let _held = context.control.hold(groups.len(), groups.len().saturating_mul(steps.count))?;
    let weight = input.len().saturating_mul(steps.count);
    parallel::map(&groups, weight, &context.control, |group| {
        let mut result = Series::empty(group.labels.clone(), group.drop_name, steps.count);
        let members = group.members.iter().filter_map(|index| input.get(*index));
        match aggregation.op {
            AggregationOp::Sum => means::<Sum>(context, aggregation, members, &mut result),
            AggregationOp::Avg => means::<Mean>(context, aggregation, members, &mut result),
            AggregationOp::Min => extremes(context, aggregation, members, &mut result, |new, old| new < old),
            AggregationOp::Max => extremes(context, aggregation, members, &mut result, |new, old| new > old),
            AggregationOp::Stddev => deviations(context, aggregation, members, &mut result, f64::sqrt),
            AggregationOp::Stdvar => deviations(context, aggregation, members, &mut result, |value| value),
            AggregationOp::Count => counts(members, &mut result, |count| count + 1.0),
            _ => counts(members, &mut result, |_| 1.0),
        }
        result
    })
}

/// What `sum` and `avg` do with floats, and which of the two results of histograms is theirs.
trait FloatState {
    fn of(first: f64) -> Self;
    fn add(&mut self, value: f64);
    fn value(&self) -> f64;
    fn histogram(accumulator: &Accumulator) -> Option<NativeHistogram>;
}

impl FloatState for Sum {
    fn of(first: f64) -> Self {
        Self::of(first)
    }

    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }

    fn value(&self) -> f64 {
        Self::value(self)
    }

    fn histogram(accumulator: &Accumulator) -> Option<NativeHistogram> {
        accumulator.sum()
    }
}

impl FloatState for Mean {
    fn of(first: f64) -> Self {
        Self::of(first)
    }

    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }

    fn value(&self) -> f64 {
        Self::value(self)
    }

    fn histogram(accumulator: &Accumulator) -> Option<NativeHistogram> {
        accumulator.mean()
    }
}

/// One step of `sum` or `avg`.
struct Step<F> {
    floats: Option<F>,
    histograms: Option<Accumulator>,
    /// Two histograms do not go together: the step has no result, and whatever follows is not looked at.
    incompatible: bool,
}

fn means<'s, F: FloatState>(
    context: &Context<'_>,
    aggregation: &Aggregation,
    members: impl Iterator<Item = &'s Series>,
    result: &mut Series,
) {
    let start = || Step { floats: None, histograms: None, incompatible: false };
    let mut states: Vec<Step<F>> = (0..result.len()).map(|_| start()).collect();
    for series in members {
        for (step, state) in states.iter_mut().enumerate() {
            match series.point(step) {
                _ if state.incompatible => {}
                Point::Absent => {}
                Point::Float(value) => match &mut state.floats {
                    Some(floats) => floats.add(value),
                    None => state.floats = Some(F::of(value)),
                },
                Point::Histogram(histogram) => {
                    let accumulator = state.histograms.get_or_insert_with(Accumulator::new);
                    if let Err(Incompatible) = accumulator.add(histogram) {
                        state.incompatible = true;
                        let remark =
                            Annotation::MixedExponentialCustom(series.labels.metric_name().to_owned());
                        context.remark(&remark, &aggregation.expr.inner().place);
                    }
                }
            }
        }
    }
    for (step, state) in states.iter().enumerate() {
        if let Some(histograms) = &state.histograms {
            remark_flags(context, aggregation, histograms);
        }
        match (&state.floats, &state.histograms) {
            (None, None) => {}
            (Some(floats), None) => result.set_float(step, floats.value()),
            (Some(_), Some(_)) => {
                context
                    .remark(&Annotation::MixedFloatsHistogramsInAggregation, &aggregation.expr.inner().place);
            }
            (None, Some(_)) if state.incompatible => {}
            (None, Some(histograms)) => {
                if let Some(histogram) = F::histogram(histograms) {
                    result.set_histogram(step, histogram.into());
                }
            }
        }
    }
}

fn remark_flags(context: &Context<'_>, aggregation: &Aggregation, histograms: &Accumulator) {
    if histograms.collision() {
        context.remark(&Annotation::CounterResetCollision("aggregation"), &aggregation.expr.inner().place);
    }
    if histograms.reconciled() {
        context.remark(&Annotation::MismatchedCustomBuckets("aggregation"), &aggregation.expr.inner().place);
    }
}

/// `min` and `max`: a number wins over NaN.
fn extremes<'s>(
    context: &Context<'_>,
    aggregation: &Aggregation,
    members: impl Iterator<Item = &'s Series>,
    result: &mut Series,
    wins: impl Fn(f64, f64) -> bool,
) {
    for series in members {
        for step in 0..result.len() {
            match (series.point(step), result.point(step).float()) {
                (Point::Absent, _) => {}
                (Point::Float(new), Some(old)) if !(wins(new, old) || old.is_nan()) => {}
                (Point::Float(new), _) => result.set_float(step, new),
                (Point::Histogram(_), _) => {
                    remark_ignored(context, aggregation, &aggregation.expr.inner().place)
                }
            }
        }
    }
}

/// `count` and `group`: histograms count like floats.
fn counts<'s>(members: impl Iterator<Item = &'s Series>, result: &mut Series, next: impl Fn(f64) -> f64) {
    for series in members {
        for step in 0..result.len() {
            if series.is_present(step) {
                let count = result.point(step).float().unwrap_or(0.0);
                result.set_float(step, next(count));
            }
        }
    }
}

fn deviations<'s>(
    context: &Context<'_>,
    aggregation: &Aggregation,
    members: impl Iterator<Item = &'s Series>,
    result: &mut Series,
    finish: impl Fn(f64) -> f64,
) {
    let mut states: Vec<Option<Variance>> = vec![None; result.len()];
    for series in members {
        for (step, state) in states.iter_mut().enumerate() {
            match series.point(step) {
                Point::Absent => {}
                Point::Float(value) => state.get_or_insert_default().add(value),
                Point::Histogram(_) => remark_ignored(context, aggregation, &aggregation.expr.inner().place),
            }
        }
    }
    for (step, state) in states.iter().enumerate() {
        if let Some(state) = state {
            result.set_float(step, finish(state.value()));
        }
    }
}
