//! The query engine: text in, series out, over any [`metricsd_ports::SampleSource`].
//!
//! A query's way through this crate: [`syntax`] makes a tree ([`ast`]) of the text, [`engine`] evaluates it for all
//! steps at once, with [`functions`] and [`histogram`] for what single values and windows compute; [`annotation`]
//! collects what is remarked on the way, [`value`] is what comes out.

pub mod error;
pub mod number;
pub mod value;

pub mod annotation;
pub mod ast;
pub mod syntax;

pub mod functions;
pub mod histogram;

pub mod engine;

pub use engine::{Engine, EngineOptions, QueryEngine};
pub use error::{ParseError, QueryError, QueryErrorKind};
pub use syntax::{ParseOptions, parse, parse_selector};
pub use value::{InstantSeries, PointValue, QueryData, QueryOptions, QueryStats, QueryValue, RangeSeries};
