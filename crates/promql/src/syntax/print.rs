//! Trees into text: one line, in the one canonical form.

use std::borrow::Cow;
use std::fmt::{self, Write};

use metricsd_model::{MatchOp, Matcher};

use super::literal::{is_plain_label, is_plain_metric, quote, write_duration};
use crate::ast::{
    Aggregation, At, Binary, Boundaries, Cardinality, DurationExpr, DurationKind, Expr, ExprKind, Matching,
    Subquery, TimeShift, VectorSelector,
};
use crate::number;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expr(f, self)
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        duration(f, self)
    }
}

pub(super) fn expr(f: &mut impl Write, node: &Expr) -> fmt::Result {
    match &node.kind {
        ExprKind::Number { value, duration } => f.write_str(&number_text(*value, *duration)),
        ExprKind::String(text) => f.write_str(&quote(text)),
        ExprKind::Selector(vector) => selector(f, vector, None),
        ExprKind::Matrix(matrix) => selector(f, &matrix.selector, Some(&matrix.range)),
        ExprKind::Subquery(subquery) => {
            expr(f, &subquery.expr)?;
            subquery_suffix(f, subquery)
        }
        ExprKind::Paren(inner) => {
            f.write_char('(')?;
            expr(f, inner)?;
            f.write_char(')')
        }
        ExprKind::Unary { negative, expr: operand } => {
            f.write_char(sign(*negative))?;
            expr(f, operand)
        }
        ExprKind::Binary(binary) => {
            expr(f, &binary.left)?;
            f.write_char(' ')?;
            operator(f, binary)?;
            f.write_char(' ')?;
            expr(f, &binary.right)
        }
        ExprKind::Aggregation(aggregation) => {
            aggregation_head(f, aggregation)?;
            f.write_char('(')?;
            if let Some(param) = &aggregation.param {
                expr(f, param)?;
                f.write_str(", ")?;
            }
            expr(f, &aggregation.expr)?;
            f.write_char(')')
        }
        ExprKind::Call(call) => {
            f.write_str(call.function.name)?;
            f.write_char('(')?;
            for (index, arg) in call.args.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                expr(f, arg)?;
            }
            f.write_char(')')
        }
    }
}

pub(super) fn sign(negative: bool) -> char {
    if negative { '-' } else { '+' }
}

fn number_text(value: f64, as_duration: bool) -> String {
    if as_duration { write_duration(value) } else { number::plain(value) }
}

/// The operator with its modifiers, as they stand between the operands.
pub(super) fn operator(f: &mut impl Write, binary: &Binary) -> fmt::Result {
    f.write_str(binary.op.as_str())?;
    if binary.return_bool {
        f.write_str(" bool")?;
    }
    match &binary.matching {
        Some(by) => matching(f, by),
        None => Ok(()),
    }
}

fn matching(f: &mut impl Write, matching: &Matching) -> fmt::Result {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => "left",
        Cardinality::OneToMany => "right",
        Cardinality::OneToOne | Cardinality::ManyToMany => "",
    };
    if matching.on || !matching.labels.is_empty() || !group.is_empty() {
        f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        labels(f, &matching.labels)?;
        f.write_char(')')?;
    }
    if !group.is_empty() {
        write!(f, " group_{group} (")?;
        labels(f, &matching.include)?;
        f.write_char(')')?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right && left.to_bits() == right.to_bits() => {
            write!(f, " fill ({})", number::format(left))
        }
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", number::format(left))?;
            }
            match right {
                Some(right) => write!(f, " fill_right ({})", number::format(right)),
                None => Ok(()),
            }
        }
    }
}

/// Labels of a list, in quotes where they are no plain words.
fn labels(f: &mut impl Write, labels: &[String]) -> fmt::Result {
    for (index, label) in labels.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        // `inf` and `nan` are numbers outside of braces.
        if is_plain_label(label) && !super::literal::is_special_number(label) {
            f.write_str(label)?;
        } else {
            f.write_str(&quote(label))?;
        }
    }
    Ok(())
}

/// The aggregation up to its arguments.
pub(super) fn aggregation_head(f: &mut impl Write, aggregation: &Aggregation) -> fmt::Result {
    f.write_str(aggregation.op.as_str())?;
    if !aggregation.without && aggregation.grouping.is_empty() {
        return Ok(());
    }
    f.write_str(if aggregation.without { " without (" } else { " by (" })?;
    labels(f, &aggregation.grouping)?;
    f.write_str(") ")
}

/// A range stands before `anchored`, `@` and `offset`; without one, `@` comes first.
fn selector(f: &mut impl Write, selector: &VectorSelector, range: Option<&DurationExpr>) -> fmt::Result {
    matchers(f, selector)?;
    match range {
        Some(range) => {
            f.write_char('[')?;
            duration(f, range)?;
            f.write_char(']')?;
            boundaries(f, selector.boundaries)?;
            at(f, selector.time.at)?;
        }
        None => {
            at(f, selector.time.at)?;
            boundaries(f, selector.boundaries)?;
        }
    }
    offset(f, &selector.time)
}

fn boundaries(f: &mut impl Write, boundaries: Boundaries) -> fmt::Result {
    f.write_str(match boundaries {
        Boundaries::Inside => "",
        Boundaries::Anchored => " anchored",
        Boundaries::Smoothed => " smoothed",
    })
}

/// A name stands before the braces where it was written there; all else is in the order of its text.
fn matchers(f: &mut impl Write, selector: &VectorSelector) -> fmt::Result {
    let rest = match selector.matchers.split_first() {
        Some((name, rest)) if selector.named && is_plain_metric(&name.value) => {
            f.write_str(&name.value)?;
            if rest.is_empty() {
                return Ok(());
            }
            rest
        }
        _ => selector.matchers.as_slice(),
    };
    let mut texts: Vec<String> = rest.iter().map(one_matcher).collect();
    texts.sort_unstable();
    f.write_char('{')?;
    for (index, text) in texts.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { "," })?;
        f.write_str(text)?;
    }
    f.write_char('}')
}

fn one_matcher(matcher: &Matcher) -> String {
    let name = &matcher.name;
    let name = if is_plain_label(name) { Cow::Borrowed(name.as_str()) } else { Cow::Owned(quote(name)) };
    format!("{name}{}{}", match_op(matcher.op), quote(&matcher.value))
}

pub(super) fn match_op(op: MatchOp) -> &'static str {
    op.as_str()
}

fn at(f: &mut impl Write, at: Option<At>) -> fmt::Result {
    match at {
        Some(At::Time(millis)) => {
            let sign = if millis < 0 { "-" } else { "" };
            let (whole, rest) = (millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
            write!(f, " @ {sign}{whole}.{rest:03}")
        }
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn offset(f: &mut impl Write, time: &TimeShift) -> fmt::Result {
    match &time.offset {
        Some(offset) => {
            f.write_str(" offset ")?;
            duration(f, offset)
        }
        None => Ok(()),
    }
}

/// What makes a sub-query of an expression.
pub(super) fn subquery_suffix(f: &mut impl Write, subquery: &Subquery) -> fmt::Result {
    f.write_char('[')?;
    duration(f, &subquery.range)?;
    f.write_char(':')?;
    if let Some(step) = &subquery.step {
        duration(f, step)?;
    }
    f.write_char(']')?;
    at(f, subquery.time.at)?;
    offset(f, &subquery.time)
}

fn duration(f: &mut impl Write, node: &DurationExpr) -> fmt::Result {
    match &node.kind {
        DurationKind::Literal { seconds, duration } => f.write_str(&number_text(*seconds, *duration)),
        DurationKind::Step => f.write_str("step()"),
        DurationKind::Range => f.write_str("range()"),
        DurationKind::Paren(inner) => {
            f.write_char('(')?;
            duration(f, inner)?;
            f.write_char(')')
        }
        DurationKind::Unary { negative, expr } => {
            f.write_char(sign(*negative))?;
            duration(f, expr)
        }
        DurationKind::Binary { op, left, right } => {
            duration(f, left)?;
            write!(f, " {} ", op.as_str())?;
            duration(f, right)
        }
        DurationKind::Extreme { max, left, right } => {
            f.write_str(if *max { "max_of(" } else { "min_of(" })?;
            duration(f, left)?;
            f.write_str(", ")?;
            duration(f, right)?;
            f.write_char(')')
        }
    }
}
