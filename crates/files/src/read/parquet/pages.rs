//! Looks at the heads of all pages before any is unpacked: a page says how large it becomes, and the decoders make room for
//! that much.
//!
//! A head is a Thrift struct in the compact protocol (`PageHeader` of parquet.thrift): its second field is the size
//! unpacked, its third the size as it lies in the file.

use std::io::{BufReader, Read};
use std::sync::Arc;

use parquet::file::metadata::ParquetMetaData;

use crate::FileError;
use crate::source::{Source, SourceReader};

/// Bytes that the largest pages of all columns may have together once they are unpacked: one of each is in memory at once.
const MAX_PAGES: u64 = 512 << 20;

/// Structs inside of one another in a head.
const MAX_DEPTH: u32 = 16;

/// Bytes of one head; statistics of texts are in it.
const MAX_HEAD: u64 = 4 << 20;

/// Refuses a file whose pages unfold too far.
pub(super) fn check(source: &Arc<dyn Source>, metadata: &ParquetMetaData) -> Result<(), FileError> {
    let damaged = || FileError::Damaged("a column does not lie within the file".to_owned());
    for group in metadata.row_groups() {
        let mut together = 0;
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let start = u64::try_from(start).map_err(|_| damaged())?;
            let length = u64::try_from(column.compressed_size()).map_err(|_| damaged())?;
            let end = start.checked_add(length).filter(|end| *end <= source.size()).ok_or_else(damaged)?;
            together += largest_page(source, start, end)?;
            if together > MAX_PAGES {
                let message = format!(
                    "the pages of a row group unfold to more than {MAX_PAGES} bytes: write smaller ones"
                );
                return Err(FileError::TooLarge(message));
            }
        }
    }
    Ok(())
}

fn largest_page(source: &Arc<dyn Source>, start: u64, end: u64) -> Result<u64, FileError> {
    let (mut at, mut largest) = (start, 0);
    while at < end {
        let reader = BufReader::with_capacity(256, SourceReader::new(source.clone(), at));
        let mut head = Head { reader, read: 0 };
        let (unpacked, packed) = head.sizes()?;
        largest = largest.max(unpacked);
        at = at.saturating_add(head.read).saturating_add(packed);
    }
    if at > end { Err(head_error()) } else { Ok(largest) }
}

fn head_error() -> FileError {
    FileError::Damaged("the head of a page does not read".to_owned())
}

struct Head {
    reader: BufReader<SourceReader>,
    read: u64,
}

impl Head {
    fn byte(&mut self) -> Result<u8, FileError> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        self.read += 1;
        if self.read > MAX_HEAD {
            return Err(head_error());
        }
        let [byte] = byte;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, FileError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(head_error())
    }

    fn zigzag(&mut self) -> Result<i64, FileError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// Bytes of the page: unpacked, and as it lies in the file.
    fn sizes(&mut self) -> Result<(u64, u64), FileError> {
        let (mut unpacked, mut packed, mut id) = (None, None, 0_i64);
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                let size =
                    |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok()).ok_or_else(head_error);
                return Ok((size(unpacked)?, size(packed)?));
            }
            id = match head >> 4 {
                0 => self.zigzag()?,
                step => id.saturating_add(i64::from(step)),
            };
            match (id, kind) {
                (2, 5) => unpacked = Some(self.zigzag()?),
                (3, 5) => packed = Some(self.zigzag()?),
                _ => self.skip(kind, MAX_DEPTH)?,
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), FileError> {
        let depth = depth.checked_sub(1).ok_or_else(head_error)?;
        match kind {
            // A truth is in the field's own byte.
            1 | 2 => {}
            3 => {
                self.byte()?;
            }
            4..=6 => {
                self.varint()?;
            }
            7 => self.skip_bytes(8)?,
            8 => {
                let length = self.varint()?;
                self.skip_bytes(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.skip_elements(head & 0x0f, count, depth)?;
            }
            12 => loop {
                let head = self.byte()?;
                if head & 0x0f == 0 {
                    break;
                }
                if head >> 4 == 0 {
                    self.zigzag()?;
                }
                self.skip(head & 0x0f, depth)?;
            },
            _ => return Err(head_error()),
        }
        Ok(())
    }

    fn skip_elements(&mut self, kind: u8, count: u64, depth: u32) -> Result<(), FileError> {
        for _ in 0..count {
            match kind {
                // In a list every truth has a byte of its own.
                1 | 2 => {
                    self.byte()?;
                }
                kind => self.skip(kind, depth)?,
            }
        }
        Ok(())
    }

    fn skip_bytes(&mut self, length: u64) -> Result<(), FileError> {
        for _ in 0..length {
            self.byte()?;
        }
        Ok(())
    }
}
