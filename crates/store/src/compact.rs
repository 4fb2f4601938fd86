//! Frames become segments, as far as no connection is needed: samples are turned from rows of scrapes into columns of
//! series, laid into buckets, and their timestamps shared where many series have the same.
//!
//! A segment holds samples of one series. Where a series has many samples an hour, its segments cover an hour, or a
//! part of it; where it has few, they cover a day (see [`Bucket`]). No two segments hold the same timestamp of a series.

mod bucket;
mod merge;
mod rests;
mod squeeze;
mod timeline;
mod transpose;
mod units;
mod whole;

pub use bucket::{Bucket, DAY, HOUR, SPARSE, day_of, hour_of, place};
pub use merge::{Merged, Segment, merge};
pub use rests::Rests;
pub use timeline::{Timelines, timeline_id};
pub use transpose::{Scrape, Slots, Transposed, Transposer, passes};
pub use units::Units;
pub use whole::{Line, Low, Shape, Whole, Width, constant};
