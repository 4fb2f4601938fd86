//! Arithmetic of native histograms, as PromQL defines it.
//!
//! Everything works on [`metricsd_model::NativeHistogram`] and takes whatever it is given: spans that do not match
//! their buckets, indices out of any range and NaN counts give a poor answer, never a panic, and nothing is
//! allocated but by the number of buckets that are there.
//!
//! [`bounds`] says where buckets lie and [`mod@buckets`] lists them; [`arithmetic`], [`accumulator`] and [`resets`]
//! are what operators, aggregations and rates need; [`mod@quantile`], [`moments`] and [`mod@trim`] estimate from
//! buckets; [`text`] and [`notation`] write histograms down.

pub mod bounds;
pub mod buckets;

pub mod accumulator;
pub mod arithmetic;
mod custom;
pub mod resets;
mod work;
mod zero;

pub mod moments;
pub mod quantile;
pub mod trim;

pub mod notation;
pub mod text;

#[cfg(test)]
mod tests;

pub use accumulator::Accumulator;
pub use arithmetic::{
    Between, Combined, Incompatible, add, compact, divide, interpolate, negate, same, scale, sub, to_schema,
    uses_custom_buckets,
};
pub use buckets::{Bucket, api_buckets, buckets};
pub use moments::{average, stddev, stdvar};
pub use quantile::{Estimate, NanRemark, fraction, quantile};
pub use resets::detect_reset;
pub use text::to_text;
pub use trim::{Side, trim};
