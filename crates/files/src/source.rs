//! Where the bytes of a file come from.

use std::io::{self, Read};
use std::sync::Arc;

/// Bytes that can be read at any place.
pub trait Source: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// Reads some bytes at a place; 0 only at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let mut rest = rest;
        rest.read(into)
    }
}

/// Reads a source from a place on.
#[derive(Clone)]
pub struct SourceReader {
    source: Arc<dyn Source>,
    at: u64,
}

impl SourceReader {
    /// From `at` on.
    pub fn new(source: Arc<dyn Source>, at: u64) -> Self {
        Self { source, at }
    }
}

impl Read for SourceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(self.at, into)?;
        self.at += read as u64;
        Ok(read)
    }
}
