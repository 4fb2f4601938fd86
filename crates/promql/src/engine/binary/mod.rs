//! Operators between two expressions.

mod matching;
mod sample;
mod sets;
mod vectors;

use std::collections::HashMap;

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Binary, BinaryOp, Place};
use crate::engine::context::Context;
use crate::engine::data::{Point, Series, Value, without_empty};
use crate::engine::eval::eval as eval_node;
use crate::engine::names;
use crate::engine::times::Steps;
use sample::{Outcome, compute, float};

/// An operator at every step.
pub(crate) fn eval(
    context: &Context<'_>,
    binary: &Binary,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let left = eval_node(context, &binary.left, steps)?;
    // Trees lean to either side: what waits for the other operand counts.
    let waiting = context.hold(&left, steps)?;
    let right = eval_node(context, &binary.right, steps)?;
    drop(waiting);
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let both = left.iter().zip(&right);
            Ok(Value::Scalar(both.map(|(left, right)| scalars(binary.op, *left, *right)).collect()))
        }
        (Value::Vector(left), Value::Scalar(right)) => {
            with_scalar(context, binary, place, left, &right, false).map(Value::Vector)
        }
        (Value::Scalar(left), Value::Vector(right)) => {
            with_scalar(context, binary, place, right, &left, true).map(Value::Vector)
        }
        (Value::Vector(left), Value::Vector(right)) => {
            let _held = context
                .control
                .hold(left.len() + right.len(), (left.len() + right.len()).saturating_mul(steps.count))?;
            let result = if binary.op.is_set() {
                sets::eval(context, binary, left, right, steps)?
            } else {
                vectors::eval(context, binary, place, &left, &right, steps)?
            };
            Ok(Value::Vector(result))
        }
        // The parser lets no texts pass.
        (left, _) => Ok(left),
    }
}

fn scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    match float(op, left, right) {
        Outcome::Float(value) => value,
        Outcome::Keep(kept) => f64::from(u8::from(kept)),
        _ => f64::NAN,
    }
}

/// Each sample of a vector with the scalar of its step; `swapped`: the scalar stands on the left.
fn with_scalar(
    context: &Context<'_>,
    binary: &Binary,
    place: &Place,
    mut vector: Vec<Series>,
    scalar: &[f64],
    swapped: bool,
) -> Result<Vec<Series>, QueryError> {
    let mut refused = Refused::default();
    for (index, series) in vector.iter_mut().enumerate() {
        if index % 256 == 0 {
            context.control.check()?;
        }
        for (step, scalar) in scalar.iter().enumerate() {
            let scalar = Point::Float(*scalar);
            let point = series.point(step);
            if point.is_absent() {
                continue;
            }
            let (left, right) = if swapped { (scalar, point) } else { (point, scalar) };
            let outcome = compute(binary.op, left, right);
            store(context, binary, place, outcome, series, step, &mut refused);
        }
    }
    refused.remark(context, place);
    let vector = without_empty(vector);
    if drops_name(binary) { names::drop_all(context, vector) } else { Ok(vector) }
}

/// Puts what came of a step where the vector's own sample stands, which a comparison keeps.
fn store(
    context: &Context<'_>,
    binary: &Binary,
    place: &Place,
    outcome: Outcome,
    series: &mut Series,
    step: usize,
    refused: &mut Refused,
) {
    match outcome {
        Outcome::Float(value) => series.set_float(step, value),
        Outcome::Histogram(histogram, remarks) => {
            remarks.iter().for_each(|remark| context.remark(remark, place));
            series.set_histogram(step, histogram.into());
        }
        Outcome::Keep(kept) if binary.return_bool => series.set_float(step, f64::from(u8::from(kept))),
        Outcome::Keep(true) => {}
        Outcome::Keep(false) => series.set(step, Point::Absent),
        Outcome::Nothing(remark) => {
            refused.note(step, remark);
            series.set(step, Point::Absent);
        }
    }
}

/// Operands that do not go together: of each step the last pair is remarked upon.
#[derive(Default)]
struct Refused(HashMap<usize, Annotation>);

impl Refused {
    fn note(&mut self, step: usize, remark: Annotation) {
        self.0.insert(step, remark);
    }

    fn remark(&self, context: &Context<'_>, place: &Place) {
        self.0.values().for_each(|remark| context.remark(remark, place));
    }
}

/// Whether what comes out is another metric: results of arithmetic and of `bool`.
fn drops_name(binary: &Binary) -> bool {
    let filters = binary.op.is_comparison() && !binary.return_bool;
    !filters && !matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
}

/// Remarks that operands do not go together.
fn incompatible(op: BinaryOp, left: Point<'_>, right: Point<'_>) -> Annotation {
    Annotation::IncompatibleTypes(op.as_str().to_owned(), left.kind(), right.kind())
}
