//! Function calls.

mod absent;
mod histograms;
mod relabel;
mod sort;

use std::sync::Arc;

use metricsd_model::{LabelSet, NativeHistogram};

use crate::QueryError;
use crate::ast::{Call, Expr, ExprKind, Place};
use crate::engine::context::Context;
use crate::engine::data::{Point, Series, Value, without_empty};
use crate::engine::eval::eval as eval_node;
use crate::engine::times::Steps;
use crate::engine::{info, names, select, windows};
use crate::functions::{Kind, RangeFn, Special, regression, scalar as math};

/// A call at every step.
pub(crate) fn eval(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    match call.function.kind {
        Kind::Math(function) => {
            let mut series = vector(context, call, 0, steps)?;
            series.iter_mut().for_each(|series| series.map_floats(function));
            dropped(context, series)
        }
        Kind::Date(function) if call.args.is_empty() => {
            let values = steps.iter().map(|at| function(at as f64 / 1e3)).collect();
            Ok(Value::Vector(vec![Series::of_values(LabelSet::default(), false, values)]))
        }
        Kind::Date(function) => {
            let mut series = vector(context, call, 0, steps)?;
            series.iter_mut().for_each(|series| series.map_floats(function));
            dropped(context, series)
        }
        Kind::Histogram(function) => {
            let mut series = vector(context, call, 0, steps)?;
            series.iter_mut().for_each(|series| of_histograms(series, function));
            dropped(context, series)
        }
        Kind::Range(function) => over_range(context, call, function, steps).map(Value::Vector),
        Kind::Special(special) => eval_special(context, call, special, place, steps),
    }
}

fn eval_special(
    context: &Context<'_>,
    call: &Call,
    special: Special,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let frame = &context.frame;
    let constant = |value: f64| Ok(Value::Scalar(vec![value; steps.count]));
    match special {
        Special::Pi => constant(std::f64::consts::PI),
        Special::Time => Ok(Value::Scalar(steps.iter().map(|at| at as f64 / 1e3).collect())),
        Special::Start => constant(frame.start as f64 / 1e3),
        Special::End => constant(frame.end as f64 / 1e3),
        Special::Step => constant(frame.step as f64 / 1e3),
        Special::Range => constant((frame.end - frame.start) as f64 / 1e3),
        Special::MinOf | Special::MaxOf => extreme(context, call, special, steps),
        // No protocol that feeds us so far says when a sample's counter began.
        Special::StartTimestamp => vector(context, call, 0, steps).map(|_| Value::Vector(Vec::new())),
        Special::Scalar => to_scalar(context, call, steps),
        Special::Vector => {
            let values = scalar(context, call, 0, steps)?;
            Ok(Value::Vector(vec![Series::of_values(LabelSet::default(), false, values)]))
        }
        Special::Timestamp => timestamp(context, call, steps),
        Special::Clamp | Special::ClampMax | Special::ClampMin => clamp(context, call, special, steps),
        Special::Round => round(context, call, steps),
        Special::Absent => absent::absent(context, call, steps),
        Special::AbsentOverTime => absent::absent_over_time(context, call, steps),
        Special::HistogramQuantile => histograms::quantile(context, call, steps),
        Special::HistogramQuantiles => histograms::quantiles(context, call, steps),
        Special::HistogramFraction => histograms::fraction(context, call, steps),
        Special::LabelReplace => relabel::replace(context, call, place, steps),
        Special::LabelJoin => relabel::join(context, call, place, steps),
        Special::Sort => sort::by_value(context, call, false, place, steps),
        Special::SortDesc => sort::by_value(context, call, true, place, steps),
        Special::SortByLabel => sort::by_label(context, call, false, place, steps),
        Special::SortByLabelDesc => sort::by_label(context, call, true, place, steps),
        Special::Info => info::eval_info(context, call, place, steps),
    }
}

fn dropped(context: &Context<'_>, series: Vec<Series>) -> Result<Value, QueryError> {
    names::drop_all(context, without_empty(series)).map(Value::Vector)
}

/// An argument that is a vector.
fn vector(context: &Context<'_>, call: &Call, arg: usize, steps: Steps) -> Result<Vec<Series>, QueryError> {
    match call.args.get(arg) {
        Some(expr) => Ok(eval_node(context, expr, steps)?.into_vector()),
        None => Ok(Vec::new()),
    }
}

/// An argument that is a scalar, one number a step.
fn scalar(context: &Context<'_>, call: &Call, arg: usize, steps: Steps) -> Result<Vec<f64>, QueryError> {
    match call.args.get(arg) {
        Some(expr) => Ok(eval_node(context, expr, steps)?.into_scalar(steps.count)),
        None => Ok(vec![f64::NAN; steps.count]),
    }
}

/// An argument that is a text; the parser sees to it that it is one.
fn text(call: &Call, arg: usize) -> &str {
    match call.args.get(arg).map(|arg| &arg.inner().kind) {
        Some(ExprKind::String(text)) => text,
        _ => "",
    }
}

fn place_of<'c>(call: &'c Call, arg: usize, default: &'c Place) -> &'c Place {
    call.args.get(arg).map_or(default, |arg: &Expr| &arg.inner().place)
}

fn over_range(
    context: &Context<'_>,
    call: &Call,
    function: RangeFn,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let (mut args, mut places, mut range) = (Vec::new(), Vec::new(), None);
    for arg in &call.args {
        match windows::ranges(context, arg, steps)? {
            Some(found) => range = Some(found),
            None => {
                args.push(eval_node(context, arg, steps)?.into_scalar(steps.count));
                places.push(arg.inner().place.clone());
            }
        }
    }
    let Some(range) = range else { return Ok(Vec::new()) };
    if call.function.name == "double_exponential_smoothing" {
        check_smoothing(context, &args, &places)?;
    }
    let keeps_name = matches!(call.function.name, "last_over_time" | "first_over_time");
    windows::apply(context, function, keeps_name, &range, &args, &places, steps)
}

fn check_smoothing(context: &Context<'_>, args: &[Vec<f64>], places: &[Place]) -> Result<(), QueryError> {
    let (Some(factors), Some(trends)) = (args.first(), args.get(1)) else { return Ok(()) };
    for (factor, trend) in factors.iter().zip(trends) {
        if let Err(message) = regression::check_smoothing(*factor, *trend) {
            let default = 0..0;
            return Err(context.error(places.first().unwrap_or(&default), message));
        }
    }
    Ok(())
}

fn of_histograms(series: &mut Series, function: fn(&NativeHistogram) -> f64) {
    let mut result = Series::empty(series.labels.clone(), series.drop_name, series.len());
    for step in 0..series.len() {
        if let Point::Histogram(histogram) = series.point(step) {
            result.set_float(step, function(histogram));
        }
    }
    *series = result;
}

/// The value where there is exactly one float.
fn to_scalar(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let series = vector(context, call, 0, steps)?;
    let mut values = vec![f64::NAN; steps.count];
    for (step, value) in values.iter_mut().enumerate() {
        let mut floats = series.iter().filter_map(|series| series.point(step).float());
        if let (Some(only), None) = (floats.next(), floats.next()) {
            *value = only;
        }
    }
    Ok(Value::Scalar(values))
}

/// The smaller or the greater of two numbers; NaN where either is, unless the other one is the infinity in question.
fn extreme(context: &Context<'_>, call: &Call, special: Special, steps: Steps) -> Result<Value, QueryError> {
    let (left, right) = (scalar(context, call, 0, steps)?, scalar(context, call, 1, steps)?);
    let of = |(a, b): (&f64, &f64)| match special {
        Special::MaxOf if *a == f64::INFINITY || *b == f64::INFINITY => f64::INFINITY,
        Special::MinOf if *a == f64::NEG_INFINITY || *b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        Special::MaxOf => a.max(*b),
        _ => a.min(*b),
    };
    Ok(Value::Scalar(left.iter().zip(&right).map(of).collect()))
}

/// When the samples were taken where the argument is a selector; otherwise the step's time.
fn timestamp(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let Some(arg) = call.args.first().map(Expr::inner) else { return Ok(Value::Vector(Vec::new())) };
    let series = match &arg.kind {
        ExprKind::Selector(selector) => select::timestamps(context, selector, &arg.place, steps)?,
        _ => {
            let mut series = eval_node(context, arg, steps)?.into_vector();
            for series in &mut series {
                for (step, at) in steps.iter().enumerate() {
                    if series.is_present(step) {
                        series.set_float(step, at as f64 / 1e3);
                    }
                }
            }
            series
        }
    };
    dropped(context, series)
}

fn clamp(context: &Context<'_>, call: &Call, special: Special, steps: Steps) -> Result<Value, QueryError> {
    let mut series = vector(context, call, 0, steps)?;
    let _held = context.hold_series(&series, steps)?;
    let (low, high) = match special {
        Special::ClampMin => (scalar(context, call, 1, steps)?, vec![f64::INFINITY; steps.count]),
        Special::ClampMax => (vec![f64::NEG_INFINITY; steps.count], scalar(context, call, 1, steps)?),
        _ => (scalar(context, call, 1, steps)?, scalar(context, call, 2, steps)?),
    };
    for series in &mut series {
        by_step(series, |step, value| math::clamp(value, low[step], high[step]));
    }
    dropped(context, series)
}

fn round(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let mut series = vector(context, call, 0, steps)?;
    let _held = context.hold_series(&series, steps)?;
    let nearest = match call.args.get(1) {
        Some(_) => scalar(context, call, 1, steps)?,
        None => vec![1.0; steps.count],
    };
    for series in &mut series {
        by_step(series, |step, value| Some(math::round(value, nearest[step])));
    }
    dropped(context, series)
}

/// Changes floats by their step; histograms go away.
fn by_step(series: &mut Series, change: impl Fn(usize, f64) -> Option<f64>) {
    for step in 0..series.len() {
        let changed = series.point(step).float().and_then(|value| change(step, value));
        series.set(step, changed.map_or(Point::Absent, Point::Float));
    }
}

/// A histogram of a step, where it is one.
fn histogram_at(series: &Series, step: usize) -> Option<&Arc<NativeHistogram>> {
    match series.point(step) {
        Point::Histogram(histogram) => Some(histogram),
        _ => None,
    }
}
