//! Reads files row by row.

mod csv;
mod json;
mod lines;
mod ndjson;
mod parquet;
mod text;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use metricsd_codec::exposition::Format;

use crate::format::{Compression, FileFormat};
use crate::row::{Row, Step};
use crate::source::{Source, SourceReader};
use crate::unpack::Unpacked;
use crate::{FileError, part::Rows};

/// Bytes of one line or record; longer ones are refused.
pub const MAX_LINE: usize = 1 << 20;

/// Reads one file, whatever its format.
pub struct RowReader {
    rows: Inner,
    position: Rc<Cell<u64>>,
}

enum Inner {
    Csv(Box<csv::CsvRows<'static>>),
    Ndjson(Box<ndjson::NdjsonRows<'static>>),
    Text(Box<text::TextRows<'static>>),
    Parquet(Box<parquet::ParquetRows>),
}

impl RowReader {
    /// Opens a file. `limit` bounds the bytes to which it unfolds.
    pub fn open(
        source: Arc<dyn Source>,
        format: FileFormat,
        compression: Compression,
        limit: u64,
    ) -> Result<Self, FileError> {
        if format == FileFormat::Parquet {
            if compression != Compression::None {
                let message =
                    "a Parquet file is packed inside: send it as it is, without gzip or zstd around it";
                return Err(FileError::Damaged(message.to_owned()));
            }
            let rows = parquet::ParquetRows::open(source, limit)?;
            return Ok(Self { position: rows.position(), rows: Inner::Parquet(Box::new(rows)) });
        }
        let unpacked = Unpacked::new(SourceReader::new(source, 0), compression, limit)?;
        let position = unpacked.position();
        let rows = match format {
            FileFormat::Csv => Inner::Csv(Box::new(csv::CsvRows::open(unpacked)?)),
            FileFormat::Ndjson => Inner::Ndjson(Box::new(ndjson::NdjsonRows::new(unpacked))),
            FileFormat::OpenMetrics => {
                Inner::Text(Box::new(text::TextRows::new(unpacked, Format::OpenMetrics)))
            }
            FileFormat::Prometheus | FileFormat::Parquet => {
                Inner::Text(Box::new(text::TextRows::new(unpacked, Format::Text)))
            }
        };
        Ok(Self { rows, position })
    }

    /// Reads on, into `row`.
    pub fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        row.clear();
        match &mut self.rows {
            Inner::Csv(rows) => rows.next_row(row),
            Inner::Ndjson(rows) => rows.next_row(row),
            Inner::Text(rows) => rows.next_row(row),
            Inner::Parquet(rows) => rows.next_row(row),
        }
    }

    /// How many bytes of the file, as it is packed, were read so far.
    pub fn position(&self) -> u64 {
        self.position.get()
    }
}

impl Rows for RowReader {
    fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        Self::next_row(self, row)
    }
}

#[cfg(test)]
mod tests;
