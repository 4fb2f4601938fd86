//! Trees into text of several lines where one would be too long.

use std::fmt::{self, Write};

use super::print;
use crate::ast::{Aggregation, Binary, Expr, ExprKind};

/// What is longer, in bytes and without its indentation, is split.
const MAX_LINE: usize = 100;

const INDENT: &str = "  ";

/// Writes a query the way that `format_query` answers: what fits into 100 bytes stays on its line, everything longer
/// is split at operators, parentheses and arguments, each level indented by two spaces more. Selectors and literals
/// are never split. A sub-query that fits stands at the beginning of its line.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_level(&mut out, expr, 0);
    out
}

/// Takes up to [`MAX_LINE`] bytes and fails past them.
struct OneLine {
    left: usize,
}

impl Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn fits(expr: &Expr) -> bool {
    print::expr(&mut OneLine { left: MAX_LINE }, expr).is_ok()
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str(INDENT);
    }
}

fn write_level(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    // A sign stands right before its operand; a sub-query's range right behind.
    let splits = matches!(
        expr.kind,
        ExprKind::Binary(_)
            | ExprKind::Aggregation(_)
            | ExprKind::Call(_)
            | ExprKind::Paren(_)
            | ExprKind::Subquery(_)
            | ExprKind::Unary { .. }
    );
    if !splits || fits(expr) {
        // Prometheus does not indent a sub-query that fits.
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            indent(out, level);
        }
        return print::expr(out, expr);
    }
    match &expr.kind {
        ExprKind::Binary(binary) => split_binary(out, binary, level),
        ExprKind::Aggregation(aggregation) => split_aggregation(out, aggregation, level),
        ExprKind::Call(call) => {
            indent(out, level);
            out.push_str(call.function.name);
            split_list(out, call.args.iter(), level)
        }
        ExprKind::Paren(inner) => {
            indent(out, level);
            split_list(out, std::iter::once(inner.as_ref()), level)
        }
        ExprKind::Subquery(subquery) => {
            write_level(out, &subquery.expr, level)?;
            print::subquery_suffix(out, subquery)
        }
        ExprKind::Unary { negative, expr } => {
            let mut operand = String::new();
            write_level(&mut operand, expr, level)?;
            indent(out, level);
            out.push(print::sign(*negative));
            out.push_str(operand.trim_start_matches(' '));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn split_binary(out: &mut String, binary: &Binary, level: usize) -> fmt::Result {
    write_level(out, &binary.left, level + 1)?;
    out.push('\n');
    indent(out, level);
    print::operator(out, binary)?;
    out.push('\n');
    write_level(out, &binary.right, level + 1)
}

fn split_aggregation(out: &mut String, aggregation: &Aggregation, level: usize) -> fmt::Result {
    indent(out, level);
    print::aggregation_head(out, aggregation)?;
    split_list(out, aggregation.param.iter().chain(std::iter::once(&aggregation.expr)), level)
}

/// `(`, one expression a line, `)`
fn split_list<'a>(out: &mut String, list: impl Iterator<Item = &'a Expr>, level: usize) -> fmt::Result {
    out.push('(');
    let mut separator = "\n";
    for expr in list {
        out.push_str(separator);
        separator = ",\n";
        write_level(out, expr, level + 1)?;
    }
    out.push('\n');
    indent(out, level);
    out.push(')');
    Ok(())
}
