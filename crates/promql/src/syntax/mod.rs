//! Text into trees, and back: the lexer, the parser, the printer.
//!
//! [`parse`] cuts text into tokens, climbs precedences and checks types as it goes. [`std::fmt::Display`] of an
//! [`Expr`] is the canonical form on one line, [`pretty`](fn@pretty) the one on several, [`to_json`] the tree as
//! `/api/v1/parse_query` answers it.

mod check;
mod json;
mod lexer;
mod literal;
mod parser;
mod pretty;
mod print;
mod token;

use metricsd_model::Matcher;

use crate::ast::Expr;
use crate::error::ParseError;

pub use json::to_json;
pub use parser::MAX_DEPTH;
pub use pretty::pretty;

/// The longest query, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// What the parser lets pass beside the language's stable part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Experimental functions, operators, duration expressions, extended ranges and `fill`.
    pub experimental: bool,
}

/// Reads an expression and checks its types. The tree is at most [`MAX_DEPTH`] nodes high.
pub fn parse(text: &str, options: ParseOptions) -> Result<Expr, ParseError> {
    bounded(text)?;
    parser::expression(text, options).map_err(|failure| ParseError::at(text, failure.offset, failure.message))
}

/// Reads a series selector without range and shifts, such as `match[]` takes.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    bounded(text)?;
    parser::selector_only(text).map_err(|failure| ParseError::at(text, failure.offset, failure.message))
}

fn bounded(text: &str) -> Result<(), ParseError> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let message = format!("query is {} bytes long, {MAX_TEXT} are allowed", text.len());
    Err(ParseError { line: 1, column: 1, message })
}
