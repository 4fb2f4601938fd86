//! Looks at the heads of all pages before any is unpacked: a page says how large it becomes and how many values it has, and
//! the decoders make room for that much.
//!
//! A head is a Thrift struct (`PageHeader` of parquet.thrift): its second field is the size unpacked, its third the size as
//! it lies in the file; the fields 5, 7 and 8 are structs that say number and encoding of the values.

use std::io::BufReader;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::thrift::{Compact, I32, STRUCT};
use crate::FileError;
use crate::source::{Source, SourceReader};

/// Bytes that the largest pages of all columns may have together once they are unpacked: one of each is in memory at once.
const MAX_PAGES: u64 = 512 << 20;

/// Bytes of one head; statistics of texts are in it.
const MAX_HEAD: u64 = 4 << 20;

/// Values of a repeated column in a row group: all of them may be of one row.
const MAX_REPEATED: u64 = 2 << 20;

/// Bytes that a value of a dictionary takes in memory beside its own, and a length that is listed before the texts.
const VALUE: u64 = 32;
const LENGTH: u64 = 4;

/// Bytes that a value stands for where a file is measured against the bound on what it may unfold to.
const UNFOLDED: u64 = 8;

/// A file may have this many rows a byte, beyond what is [`FREE_ROWS`]: samples do not come near it.
const MAX_ROWS_PER_BYTE: u64 = 400;
const FREE_ROWS: u64 = 8 << 20;

/// Bytes of pages that the values of one batch may hold on to.
const HELD: u64 = 128 << 20;

/// Rows that are read at once.
pub(super) const MAX_BATCH: usize = 1_024;

/// PLAIN, `PLAIN_DICTIONARY`, RLE, `DELTA_BINARY_PACKED`, `DELTA_LENGTH_BYTE_ARRAY`, `RLE_DICTIONARY`, `BYTE_STREAM_SPLIT`. In
/// what is left out a few bytes stand for any number of long texts.
const ENCODINGS: [i64; 7] = [0, 2, 3, 5, 6, 8, 9];

/// `DELTA_LENGTH_BYTE_ARRAY`.
const LENGTHS_FIRST: i64 = 6;

/// The encodings that refer to a dictionary.
const BY_DICTIONARY: [i64; 2] = [2, 8];

/// Refuses a file whose pages unfold too far; of the columns only those that `reads` names by their place. Answers how many
/// rows may be read at once.
pub(super) fn check(
    source: &Arc<dyn Source>,
    metadata: &ParquetMetaData,
    reads: &[usize],
    limit: u64,
) -> Result<usize, FileError> {
    let (mut values, mut rows, mut held) = (0_u64, 0_u64, 0_u64);
    for group in metadata.row_groups() {
        let (mut together, mut texts, mut longest) = (0_u64, 0, 0);
        for index in reads {
            let Some(column) = group.columns().get(*index) else { return Err(outside()) };
            let chunk = Chunk::read(source, column)?;
            together = together.saturating_add(chunk.memory);
            values = values.saturating_add(chunk.values);
            if column.column_descr().physical_type() == Type::BYTE_ARRAY {
                texts += chunk.plain;
            }
            if column.column_descr().max_rep_level() == 0 {
                longest = longest.max(chunk.values);
            } else if chunk.values > MAX_REPEATED {
                return Err(FileError::TooLarge(format!(
                    "the labels of a row group have more than {MAX_REPEATED} values: write smaller ones"
                )));
            }
        }
        if together > MAX_PAGES {
            return Err(FileError::TooLarge(format!(
                "the pages of a row group unfold to more than {MAX_PAGES} bytes: write smaller ones"
            )));
        }
        rows = rows.saturating_add(longest);
        held = held.max(texts);
    }
    if values.saturating_mul(UNFOLDED) > limit {
        return Err(FileError::TooLarge(format!("the file unfolds to more than {limit} bytes")));
    }
    if rows > FREE_ROWS && rows / MAX_ROWS_PER_BYTE > source.size() {
        let message = format!("the file has more than {MAX_ROWS_PER_BYTE} rows a byte");
        return Err(FileError::TooLarge(message));
    }
    let batch = HELD.checked_div(held).and_then(|rows| usize::try_from(rows).ok());
    Ok(batch.unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH))
}

fn outside() -> FileError {
    FileError::Damaged("a column does not lie within the file".to_owned())
}

/// What the pages of a column in a row group come to.
#[derive(Default)]
struct Chunk {
    /// Bytes of the largest page and the dictionary, unpacked.
    memory: u64,
    /// Bytes of the largest page whose values are in it.
    plain: u64,
    /// Values, absent ones included.
    values: u64,
}

impl Chunk {
    fn read(source: &Arc<dyn Source>, column: &ColumnChunkMetaData) -> Result<Self, FileError> {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let start = u64::try_from(start).map_err(|_| outside())?;
        let length = u64::try_from(column.compressed_size()).map_err(|_| outside())?;
        let end = start.checked_add(length).filter(|end| *end <= source.size()).ok_or_else(outside)?;
        let (mut chunk, mut at, mut largest, mut dictionary) = (Self::default(), start, 0, 0);
        while at < end {
            let reader = BufReader::with_capacity(256, SourceReader::new(source.clone(), at));
            let mut head = Compact::new(reader, MAX_HEAD, "the head of a page");
            let page = Page::read(&mut head)?;
            let listed =
                page.dictionary.saturating_mul(VALUE).saturating_add(page.lengths.saturating_mul(LENGTH));
            let needed = page.unpacked.saturating_add(listed);
            if page.dictionary > 0 {
                dictionary = needed.max(dictionary);
            } else {
                largest = needed.max(largest);
            }
            if !page.by_dictionary {
                chunk.plain = chunk.plain.max(page.unpacked);
            }
            chunk.values = chunk.values.saturating_add(page.values);
            at = at.saturating_add(head.read()).saturating_add(page.packed);
            if at > end {
                return Err(head.wrong());
            }
        }
        chunk.memory = largest + dictionary;
        Ok(chunk)
    }
}

/// What a head says.
struct Page {
    unpacked: u64,
    packed: u64,
    /// Values of a page of data.
    values: u64,
    /// Values of a dictionary.
    dictionary: u64,
    by_dictionary: bool,
    /// Lengths that are listed before the texts.
    lengths: u64,
}

impl Page {
    fn read(head: &mut Compact<BufReader<SourceReader>>) -> Result<Self, FileError> {
        let (mut unpacked, mut packed, mut before) = (None, None, 0);
        let mut page =
            Self { unpacked: 0, packed: 0, values: 0, dictionary: 0, by_dictionary: false, lengths: 0 };
        while let Some((number, kind)) = head.field(before)? {
            before = number;
            match (number, kind) {
                (2, I32) => unpacked = Some(head.count()?),
                (3, I32) => packed = Some(head.count()?),
                (5, STRUCT) => page.data(head, 2)?,
                (7, STRUCT) => page.dictionary = page.dictionary.max(values(head, 2)?.0),
                (8, STRUCT) => page.data(head, 4)?,
                _ => head.skip(kind)?,
            }
        }
        page.unpacked = unpacked.ok_or_else(|| head.wrong())?;
        page.packed = packed.ok_or_else(|| head.wrong())?;
        Ok(page)
    }

    fn data(&mut self, head: &mut Compact<BufReader<SourceReader>>, place: i64) -> Result<(), FileError> {
        let (count, encoding) = values(head, place)?;
        if !ENCODINGS.contains(&encoding) {
            return Err(FileError::Damaged(format!(
                "a column has the encoding {encoding}, which is not read: write the file with plain or dictionary \
                 encoding"
            )));
        }
        self.values = self.values.max(count);
        self.by_dictionary |= BY_DICTIONARY.contains(&encoding);
        if encoding == LENGTHS_FIRST {
            self.lengths = self.values;
        }
        Ok(())
    }
}

/// Number and encoding of a page's values; the encoding is the field `place`.
fn values(head: &mut Compact<BufReader<SourceReader>>, place: i64) -> Result<(u64, i64), FileError> {
    let (mut count, mut encoding, mut before) = (0, 0, 0);
    while let Some((number, kind)) = head.field(before)? {
        before = number;
        match (number, kind) {
            (1, I32) => count = head.count()?,
            (number, I32) if number == place => encoding = head.number()?,
            _ => head.skip(kind)?,
        }
    }
    Ok((count, encoding))
}
