//! One node of the tree at all steps. What a node is decides which file goes on from here.

use crate::QueryError;
use crate::ast::{Call, Expr, ExprKind};
use crate::engine::context::Context;
use crate::engine::data::{Series, Value};
use crate::engine::times::Steps;
use crate::engine::{aggregate, binary, calls, names, select};
use crate::functions::{Kind, Special};

/// Evaluates a node. A node that does not depend on time is evaluated at one step.
pub(crate) fn eval(context: &Context<'_>, expr: &Expr, steps: Steps) -> Result<Value, QueryError> {
    context.control.check()?;
    if steps.count == 0 {
        return Ok(nothing(expr));
    }
    if steps.count == 1 || is_cheap(expr) || !is_fixed(expr) {
        return eval_each(context, expr, steps);
    }
    let value = eval_each(context, expr, Steps::one(steps.start))?;
    Ok(match value {
        Value::Scalar(values) => {
            Value::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps.count])
        }
        Value::String(text) => Value::String(text),
        Value::Vector(mut series) => {
            let _held = context.control.hold(series.len(), series.len().saturating_mul(steps.count))?;
            series.iter_mut().for_each(|series| series.spread(steps.count));
            Value::Vector(series)
        }
    })
}

fn nothing(expr: &Expr) -> Value {
    match expr.value_type() {
        crate::ast::ValueType::Scalar => Value::Scalar(Vec::new()),
        crate::ast::ValueType::String => Value::String(String::new()),
        _ => Value::Vector(Vec::new()),
    }
}

fn eval_each(context: &Context<'_>, expr: &Expr, steps: Steps) -> Result<Value, QueryError> {
    match &expr.kind {
        ExprKind::Number { value, .. } => Ok(Value::Scalar(vec![*value; steps.count])),
        ExprKind::String(text) => Ok(Value::String(text.clone())),
        ExprKind::Selector(selector) => {
            select::select(context, selector, &expr.place, steps).map(Value::Vector)
        }
        // Ranges stand only as arguments and at the very top; both take them from the tree themselves.
        ExprKind::Matrix(_) | ExprKind::Subquery(_) => Ok(Value::Vector(Vec::new())),
        ExprKind::Paren(inner) => eval(context, inner, steps),
        ExprKind::Unary { negative, expr: inner } => {
            let value = eval(context, inner, steps)?;
            if *negative { negate(context, value) } else { Ok(value) }
        }
        ExprKind::Binary(binary) => binary::eval(context, binary, &expr.place, steps),
        ExprKind::Aggregation(aggregation) => {
            aggregate::eval(context, aggregation, &expr.place, steps).map(Value::Vector)
        }
        ExprKind::Call(call) => calls::eval(context, call, &expr.place, steps),
    }
}

fn negate(context: &Context<'_>, value: Value) -> Result<Value, QueryError> {
    match value {
        Value::Scalar(mut values) => {
            values.iter_mut().for_each(|value| *value = -*value);
            Ok(Value::Scalar(values))
        }
        Value::Vector(mut series) => {
            series.iter_mut().for_each(negate_series);
            names::drop_all(context, series).map(Value::Vector)
        }
        Value::String(text) => Ok(Value::String(text)),
    }
}

fn negate_series(series: &mut Series) {
    for step in 0..series.len() {
        match series.point(step) {
            super::data::Point::Absent => {}
            super::data::Point::Float(value) => series.set_float(step, -value),
            super::data::Point::Histogram(histogram) => {
                let negative = crate::histogram::scale(histogram, -1.0);
                series.set_histogram(step, negative.into());
            }
        }
    }
}

/// Nothing is gained by treating it apart.
fn is_cheap(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Paren(_))
}

/// Whether a node says the same at every step: all that it reads is fixed by `@`, and nothing asks for the step.
fn is_fixed(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => true,
        ExprKind::Selector(selector) => selector.time.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.time.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.time.at.is_some(),
        ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => is_fixed(inner),
        ExprKind::Binary(binary) => is_fixed(&binary.left) && is_fixed(&binary.right),
        ExprKind::Aggregation(aggregation) => {
            aggregation.param.as_ref().is_none_or(is_fixed) && is_fixed(&aggregation.expr)
        }
        ExprKind::Call(call) => !asks_for_the_step(call) && call.args.iter().all(is_fixed),
    }
}

/// Functions whose results change with the step even where their arguments do not.
fn asks_for_the_step(call: &Call) -> bool {
    match call.function.kind {
        Kind::Date(_) => call.args.is_empty(),
        Kind::Special(Special::Time | Special::Timestamp | Special::Info) => true,
        _ => call.function.name == "predict_linear",
    }
}
