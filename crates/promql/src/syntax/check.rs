//! Types: which expressions may stand where.

use super::literal::quote;
use super::parser::Modifiers;
use super::token::Failure;
use crate::ast::Matching;
use crate::ast::{AggregationOp, BinaryOp, Expr, ExprKind, Place, ValueType};
use crate::functions::{Function, Kind, Special};

type Checked<T> = Result<T, Failure>;

fn expect(expr: &Expr, wanted: ValueType, context: &str) -> Checked<()> {
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    let (wanted, found) = (wanted.as_str(), found.as_str());
    Err(Failure::new(expr.place.start, format!("expected type {wanted} in {context}, got {found}")))
}

/// The operand of a sign that stands at `start`.
pub(super) fn unary(expr: &Expr, start: usize) -> Checked<()> {
    match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(()),
        other => {
            let found = quote(other.as_str());
            let wanted = "unary expression only allowed on expressions of type scalar or instant vector";
            Err(Failure::new(start, format!("{wanted}, got {found}")))
        }
    }
}

/// What a sub-query evaluates.
pub(super) fn subquery(expr: &Expr) -> Checked<()> {
    match expr.value_type() {
        ValueType::Vector => Ok(()),
        other => {
            let message =
                format!("subquery is only allowed on instant vector, got {} instead", other.as_str());
            Err(Failure::new(expr.place.start, message))
        }
    }
}

/// An operator at `op_at` with its operands; answers how they match.
pub(super) fn binary(
    op: BinaryOp,
    op_at: usize,
    left: &Expr,
    right: &Expr,
    modifiers: Modifiers,
) -> Checked<Option<Matching>> {
    let types = [left.value_type(), right.value_type()];
    for (side, expr) in types.iter().zip([left, right]) {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Failure::new(expr.place.start, message));
        }
    }
    if types == [ValueType::Scalar; 2] && op.is_comparison() && !modifiers.return_bool {
        return Err(Failure::new(op_at, "comparisons between scalars must use BOOL modifier"));
    }
    if types == [ValueType::Vector; 2] {
        return Ok(Some(modifiers.matching));
    }
    let matching = &modifiers.matching;
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        let message = "filling in missing series only allowed between instant vectors";
        return Err(Failure::new(op_at, message));
    }
    if op.is_set() {
        let message = format!("set operator \"{}\" not allowed in binary scalar expression", op.as_str());
        return Err(Failure::new(op_at, message));
    }
    // Without any label there is nothing to match by: that is let pass.
    if !matching.labels.is_empty() {
        return Err(Failure::new(op_at, "vector matching only allowed between instant vectors"));
    }
    Ok(None)
}

/// The arguments of a function.
pub(super) fn call(function: &'static Function, args: &[Expr], place: Place) -> Checked<()> {
    let name = quote(function.name);
    let most = function.args.len();
    let least = most.saturating_sub(function.optional);
    let count = args.len();
    let exact = function.optional == 0 && !function.repeats;
    let wrong = |how: &str, wanted: usize| {
        let message = format!("expected {how}{wanted} argument(s) in call to {name}, got {count}");
        Err(Failure::new(place.start, message))
    };
    if exact && count != most {
        return wrong("", most);
    }
    if count < least {
        return wrong("at least ", least);
    }
    if !function.repeats && count > most {
        return wrong("at most ", most);
    }
    let context = format!("call to function {name}");
    for (index, arg) in args.iter().enumerate() {
        if let Some(wanted) = function.args.get(index).or(function.args.last()) {
            expect(arg, *wanted, &context)?;
        }
    }
    match args.get(1) {
        Some(labels) if matches!(function.kind, Kind::Special(Special::Info)) => info_labels(labels),
        _ => Ok(()),
    }
}

/// The second argument of `info` chooses labels, not series.
fn info_labels(arg: &Expr) -> Checked<()> {
    let found = match &arg.kind {
        ExprKind::Selector(selector) if !selector.named => return Ok(()),
        ExprKind::Selector(_) => "vector selector",
        _ => "an expression",
    };
    Err(Failure::new(arg.place.start, format!("expected label selectors only, got {found} instead")))
}

/// The arguments of an aggregation: its parameter, where it has one, and what it aggregates.
pub(super) fn aggregation(op: AggregationOp, args: Vec<Expr>, place: Place) -> Checked<(Option<Expr>, Expr)> {
    let wanted = if op.param_type().is_some() { 2 } else { 1 };
    let count = args.len();
    if count == 0 {
        return Err(Failure::new(place.start, "no arguments for aggregate expression provided"));
    }
    let mut args = args.into_iter();
    let (param, expr) = if wanted == 2 { (args.next(), args.next()) } else { (None, args.next()) };
    let (Some(expr), None) = (expr, args.next()) else {
        let what = "wrong number of arguments for aggregate expression provided";
        return Err(Failure::new(place.start, format!("{what}, expected {wanted}, got {count}")));
    };
    expect(&expr, ValueType::Vector, "aggregation expression")?;
    if let (Some(param), Some(wanted)) = (&param, op.param_type()) {
        expect(param, wanted, "aggregation parameter")?;
    }
    Ok((param, expr))
}
