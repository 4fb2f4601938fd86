//! An operator between two samples.

use metricsd_model::NativeHistogram;

use super::incompatible;
use crate::annotation::Annotation;
use crate::ast::BinaryOp;
use crate::engine::data::Point;
use crate::histogram::{self, Combined, Side};

/// What comes of two samples.
pub(super) enum Outcome {
    /// A number.
    Float(f64),
    /// A histogram, and what there is to say about it.
    Histogram(NativeHistogram, Vec<Annotation>),
    /// The answer of a comparison.
    Keep(bool),
    /// The operator means nothing between these two.
    Nothing(Annotation),
}

/// Any two samples.
pub(super) fn compute(op: BinaryOp, left: Point<'_>, right: Point<'_>) -> Outcome {
    match (left, right) {
        (Point::Float(a), Point::Float(b)) => match float(op, a, b) {
            Outcome::Nothing(_) => Outcome::Nothing(incompatible(op, left, right)),
            outcome => outcome,
        },
        (Point::Histogram(a), Point::Histogram(b)) => match op {
            BinaryOp::Add => combined(op, histogram::add(a, b), "addition"),
            BinaryOp::Sub => combined(op, histogram::sub(a, b), "subtraction"),
            BinaryOp::Eq => Outcome::Keep(histogram::same(a, b)),
            BinaryOp::Ne => Outcome::Keep(!histogram::same(a, b)),
            _ => Outcome::Nothing(incompatible(op, left, right)),
        },
        (Point::Histogram(a), Point::Float(b)) => match op {
            BinaryOp::Mul => Outcome::Histogram(histogram::scale(a, b), Vec::new()),
            BinaryOp::Div => Outcome::Histogram(histogram::divide(a, b), Vec::new()),
            BinaryOp::TrimUpper => Outcome::Histogram(histogram::trim(a, b, Side::Below), Vec::new()),
            BinaryOp::TrimLower => Outcome::Histogram(histogram::trim(a, b, Side::Above), Vec::new()),
            _ => Outcome::Nothing(incompatible(op, left, right)),
        },
        (Point::Float(a), Point::Histogram(b)) if op == BinaryOp::Mul => {
            Outcome::Histogram(histogram::scale(b, a), Vec::new())
        }
        _ => Outcome::Nothing(incompatible(op, left, right)),
    }
}

fn combined(
    op: BinaryOp,
    result: Result<Combined, histogram::Incompatible>,
    during: &'static str,
) -> Outcome {
    let Ok(Combined { mut histogram, collision, reconciled }) = result else {
        return Outcome::Nothing(Annotation::IncompatibleBucketLayout(op.as_str()));
    };
    let mut remarks = Vec::new();
    if collision {
        remarks.push(Annotation::CounterResetCollision(during));
    }
    if reconciled {
        remarks.push(Annotation::MismatchedCustomBuckets(during));
    }
    histogram::compact(&mut histogram);
    Outcome::Histogram(histogram, remarks)
}

/// Two numbers.
pub(super) fn float(op: BinaryOp, left: f64, right: f64) -> Outcome {
    Outcome::Float(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        BinaryOp::Eq => return Outcome::Keep(left == right),
        BinaryOp::Ne => return Outcome::Keep(left != right),
        BinaryOp::Gt => return Outcome::Keep(left > right),
        BinaryOp::Lt => return Outcome::Keep(left < right),
        BinaryOp::Ge => return Outcome::Keep(left >= right),
        BinaryOp::Le => return Outcome::Keep(left <= right),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => {
            return Outcome::Nothing(incompatible(op, Point::Float(left), Point::Float(right)));
        }
    })
}
