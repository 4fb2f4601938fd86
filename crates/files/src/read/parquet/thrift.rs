//! Thrift's compact protocol, as far as bounds must be known before the decoders read the same bytes.

use std::io::Read;

use crate::FileError;

/// Structs and lists inside of one another.
const MAX_DEPTH: u32 = 16;

/// Kinds of values.
pub(super) const I32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Reads values one after the other, so many bytes at most.
pub(super) struct Compact<R> {
    reader: R,
    read: u64,
    most: u64,
    /// What to say of bytes that do not read.
    what: &'static str,
}

impl<R: Read> Compact<R> {
    pub(super) fn new(reader: R, most: u64, what: &'static str) -> Self {
        Self { reader, read: 0, most, what }
    }

    /// Bytes that were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The error for bytes that are no such value.
    pub(super) fn wrong(&self) -> FileError {
        FileError::Damaged(format!("{} does not read", self.what))
    }

    fn byte(&mut self) -> Result<u8, FileError> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        self.read += 1;
        if self.read > self.most {
            return Err(self.wrong());
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
        Err(self.wrong())
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Result<i64, FileError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// A whole number that counts something.
    pub(super) fn count(&mut self) -> Result<u64, FileError> {
        u64::try_from(self.number()?).map_err(|_| self.wrong())
    }

    /// The next field of a struct: its number, after the one before, and the kind of its value; `None` at the end.
    pub(super) fn field(&mut self, before: i64) -> Result<Option<(i64, u8)>, FileError> {
        let head = self.byte()?;
        let kind = head & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        let number = match head >> 4 {
            0 => self.number()?,
            step => before.saturating_add(i64::from(step)),
        };
        Ok(Some((number, kind)))
    }

    /// The beginning of a list: the kind of its elements, and how many there are.
    pub(super) fn list(&mut self) -> Result<(u8, u64), FileError> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Ok((head & 0x0f, count))
    }

    /// Reads over a value.
    pub(super) fn skip(&mut self, kind: u8) -> Result<(), FileError> {
        self.skip_within(kind, MAX_DEPTH)
    }

    fn skip_within(&mut self, kind: u8, depth: u32) -> Result<(), FileError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.wrong())?;
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
            LIST | 10 => {
                let (kind, count) = self.list()?;
                for _ in 0..count {
                    match kind {
                        // In a list every truth has a byte of its own.
                        1 | 2 => {
                            self.byte()?;
                        }
                        kind => self.skip_within(kind, depth)?,
                    }
                }
            }
            STRUCT => {
                while let Some((_, kind)) = self.field(0)? {
                    self.skip_within(kind, depth)?;
                }
            }
            _ => return Err(self.wrong()),
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
