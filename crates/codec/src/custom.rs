//! Custom metrics: lists of items as JSON, lines of JSON (NDJSON) and protobuf (`proto/custom_metrics.proto`).
//!
//! Every form becomes a body of remote write 1.0 ([`CustomWriter`]), item by item: what is wrong with an item is said of
//! that item alone. Items that look as a client writes them are scanned where they lie (`usual`), and the bytes of their
//! labels are remembered from one request to the next ([`Memory`]); any other is read field by field (`item`,
//! `protobuf`), which is also what finds faults.

mod body;
mod checks;
mod expand;
mod item;
mod lines;
mod list;
mod loose;
mod memory;
pub mod message;
mod metric;
mod protobuf;
mod rich;
mod usual;

pub use body::{CustomBody, CustomWriter};
pub use expand::Piece;
pub use list::{BodyError, CustomLimits, Items, decode};
pub use memory::Memory;
pub use metric::{ClassicHistogram, CustomMetric, CustomValue, ItemError, ItemExemplar, Summary};
pub use protobuf::first_sequence;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod tests;
