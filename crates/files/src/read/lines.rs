//! Lines of bounded length out of a stream.

use std::io::Read;

use super::MAX_LINE;
use crate::FileError;

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// Cuts a stream into lines. One that is too long is skipped, its end remembered as a line of its own.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    number: u64,
    done: bool,
}

/// A line.
pub(super) enum Line<'a> {
    /// With its end, where it has one.
    Text(&'a [u8]),
    /// It is longer than a line may be.
    TooLong,
    /// There are no more.
    End,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER], start: 0, end: 0, number: 0, done: false }
    }

    /// Number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn next_line(&mut self) -> Result<Line<'_>, FileError> {
        let mut searched = 0;
        let mut skipping = false;
        loop {
            let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
            let fresh = waiting.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let (from, to) = (self.start, self.start + searched + at + 1);
                self.start = to;
                self.number += 1;
                if skipping || to - from > MAX_LINE {
                    return Ok(Line::TooLong);
                }
                return Ok(Line::Text(self.buffer.get(from..to).unwrap_or_default()));
            }
            searched = waiting.len();
            if searched > MAX_LINE {
                skipping = true;
                (self.start, searched) = (self.end, 0);
            }
            if self.done || !self.fill()? {
                self.done = true;
                let (from, to) = (self.start, self.end);
                self.start = to;
                if from == to && !skipping {
                    return Ok(Line::End);
                }
                self.number += 1;
                if skipping {
                    return Ok(Line::TooLong);
                }
                return Ok(Line::Text(self.buffer.get(from..to).unwrap_or_default()));
            }
        }
    }

    /// Reads more behind what waits; `false` at the end.
    fn fill(&mut self) -> Result<bool, FileError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // At most twice a line: what is longer is skipped.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.reader.read(self.buffer.get_mut(self.end..).unwrap_or_default())?;
        self.end += read;
        Ok(read > 0)
    }
}
