//! OpenTelemetry's metrics (OTLP 1.x: `opentelemetry.proto.metrics.v1`), as protobuf and as JSON, brought into the form
//! of remote write.
//!
//! A request's way: JSON becomes protobuf first ([`protobuf_of_json`]), so that there is one reader. [`convert`] walks the
//! message where it lies, a data point at a time: nothing of it is kept but what one data point needs. Names are
//! translated (`names`), resources and scopes become labels (`scope`, `labels`), data points become series (`points`,
//! `native`). Deltas are added up in [`Streams`], which is bounded. What was refused of it is said by [`answer`].
//!
//! The rules are those of the specification "Prometheus and OpenMetrics Compatibility", and of Prometheus where it is
//! silent.

mod options;

mod names;
mod value;

mod message;

mod labels;
mod scope;

mod native;
mod points;
mod streams;

mod convert;
mod judge;

mod json;
mod schema;

pub mod answer;
pub mod messages;

pub use convert::{Converted, OtlpError, Request, convert};
pub use json::{JsonError, protobuf_of_json};
pub use options::{OtlpOptions, Promotion, Translation};
pub use streams::{StreamLimits, Streams};

#[cfg(test)]
mod delta_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
