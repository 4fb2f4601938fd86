//! The table of texts.

use super::TranscodeError;
use crate::wire::{Reader, WireError};

/// Field of `Request`.
pub(super) const SYMBOLS: u32 = 4;

/// The texts of a request, slices of its body.
pub(super) struct Symbols<'a>(Vec<&'a [u8]>);

impl<'a> Symbols<'a> {
    /// Reads the table, which may stand anywhere in the message.
    pub(super) fn read(body: &'a [u8], max: usize) -> Result<Self, TranscodeError> {
        let mut symbols = Vec::new();
        let mut reader = Reader::new(body, "the write request");
        while !reader.is_empty() {
            match reader.tag()? {
                (SYMBOLS, _) if symbols.len() >= max => return Err(TranscodeError::TooManySymbols { max }),
                (SYMBOLS, wire) => symbols.push(reader.bytes(wire)?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(reader.error("has a table of symbols that does not begin with an empty one").into());
        }
        Ok(Self(symbols))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of a reference; `at` is where the message that refers to it is being read.
    #[inline]
    pub(super) fn get(&self, reference: u32, at: &Reader<'_>) -> Result<&'a [u8], WireError> {
        match self.0.get(reference as usize) {
            Some(text) => Ok(text),
            None => Err(at.error("refers to a symbol that the table does not have")),
        }
    }

    /// The same for what need not be said.
    pub(super) fn optional(&self, reference: u32, at: &Reader<'_>) -> Result<&'a [u8], WireError> {
        if reference == 0 { Ok(b"") } else { self.get(reference, at) }
    }
}
