//! Files of samples: CSV, NDJSON, OpenMetrics and Parquet, read and written.
//!
//! Reading: a [`Source`] of bytes is unpacked within bounds ([`unpack`]) and taken apart row by row ([`read`]); what is wrong
//! with a row is said of that row, what is wrong with the file of the file. [`part`] puts rows into bodies that the door
//! takes. Writing: [`mod@write`] puts series into a file piece by piece. Memory is bounded by a row, a page of Parquet, or a
//! part, whatever the file holds.

pub mod format;
pub mod source;
pub mod unpack;

pub mod labels;
pub mod row;

mod histogram;
mod time;
mod value;

pub mod part;
pub mod read;
pub mod write;

mod error;

pub use error::FileError;
pub use format::{Compression, FileFormat};
pub use part::{Part, PartBounds, Parts};
pub use read::RowReader;
pub use row::{Row, RowFault, RowValue, Step};
pub use source::{Source, SourceReader};
pub use write::{FileWriter, SeriesRows};
