//! Prometheus remote write 1.0: a snappy block that holds a protobuf `WriteRequest`.
//!
//! [`unpack`] decompresses within a limit that holds before anything is allocated. [`WriteScanner`] then walks the
//! message where it lies: the labels of a series stay one slice of the body, by which a receiver knows the series from
//! the request before, and only what is new is taken apart ([`TimeSeries::parse_labels`]). [`message`] has the same messages as
//! values, for whoever writes them; [`crate::remote_read`] answers with them.
//!
//! Fields may come in any order and unknown ones are skipped, as protobuf has it. What does not read is an error that
//! says what was being read, and at which byte.

mod block;
mod histogram;
pub mod message;
mod scan;
mod series;
mod write;

pub use crate::wire::WireError;
pub use block::{BlockError, pack, unpack};
pub use histogram::{HistogramBytes, HistogramSample};
pub(crate) use scan::kind_of;
pub use scan::{MetadataEntry, Outline, WriteScanner, outline};
pub use series::{
    ExemplarBytes, ExemplarEntry, MAX_EXEMPLAR_CHARACTERS, RawLabel, SeriesItem, SeriesItems, TimeSeries,
};
pub use write::{BodyWriter, MAX_BODY_BYTES, SeriesWriter, label_bytes};
pub(crate) use write::{push_raw_label, push_varint};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
