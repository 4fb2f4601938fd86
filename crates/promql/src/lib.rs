//! The query engine: text in, series out, over any [`metricsd_ports::SampleSource`].
//!
//! A query's way through this crate, a file a stage: [`lexer`] cuts the text into tokens, [`parser`] makes a
//! [`Selector`] of them, [`engine`] reads samples within its limits, [`look_back`] decides which sample speaks for a
//! moment. So far the language is series selectors only; [`QueryEngine`] is what the rest of metricsd sees, and stays.

pub mod error;
pub mod value;

pub mod ast;
pub mod lexer;
pub mod parser;

pub mod engine;
pub mod look_back;

pub use ast::Selector;
pub use engine::{Engine, EngineOptions, QueryEngine};
pub use error::{ParseError, QueryError, QueryErrorKind};
pub use parser::parse;
pub use value::{InstantSeries, QueryData, QueryStats, QueryValue, RangeSeries};
