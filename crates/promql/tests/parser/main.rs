//! The language: what is read, what is refused, and how trees are written.

use metricsd_promql::ast::Expr;
use metricsd_promql::{ParseError, ParseOptions, parse};

mod invalid;
mod json;
mod limits;
mod pretty;
mod property;
mod tree;
mod types;
mod valid;

const STABLE: ParseOptions = ParseOptions { experimental: false };
const EXPERIMENTAL: ParseOptions = ParseOptions { experimental: true };

fn tree_of(text: &str) -> Expr {
    parse(text, EXPERIMENTAL).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Reads and writes back; what is written must read as the same.
#[track_caller]
fn canonical(text: &str, options: ParseOptions, expected: &str) {
    let expr = parse(text, options).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(expr.to_string(), expected, "{text}");
    let again = parse(expected, options).unwrap_or_else(|error| panic!("{expected}: {error}"));
    assert_eq!(again.to_string(), expected, "{text}");
}

#[track_caller]
fn stable(text: &str, expected: &str) {
    canonical(text, STABLE, expected);
}

#[track_caller]
fn experimental(text: &str, expected: &str) {
    canonical(text, EXPERIMENTAL, expected);
    let error = parse(text, STABLE).expect_err(text);
    assert!(error.message.contains("promql.experimental"), "{text}: {error}");
}

#[track_caller]
fn same(text: &str) {
    stable(text, text);
}

#[track_caller]
fn error_of(text: &str, options: ParseOptions) -> ParseError {
    match parse(text, options) {
        Ok(expr) => panic!("{text} was read as {expr}"),
        Err(error) => error,
    }
}

/// The whole message, which begins with line and column.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let shown = error_of(text, EXPERIMENTAL).to_string();
    assert_eq!(shown.replacen(": parse error", "", 1), expected, "{text}");
}
