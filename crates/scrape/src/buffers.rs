//! Memory for pages: taken for the time of a scrape, and used again by the next.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

/// Buffers that are kept while no scrape needs them; as many as scrapes usually are under way at once.
const MAX_KEPT: usize = 16;

/// Buffers that have grown beyond this many bytes are not kept.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Buffers of scrapes that are done. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer with room for so many bytes; what does not fit makes it grow.
    pub(crate) fn take(&self, bytes: usize) -> PageBytes {
        let mut buffer = self.0.lock().pop().unwrap_or_default();
        buffer.reserve(bytes);
        PageBytes { buffer, home: self.clone() }
    }
}

/// The bytes of a page. Dropping them gives their memory to the next page.
pub struct PageBytes {
    buffer: Vec<u8>,
    home: Buffers,
}

impl PageBytes {
    /// To be filled.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl Deref for PageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl fmt::Debug for PageBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageBytes({})", self.buffer.len())
    }
}

impl Drop for PageBytes {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() == 0 || buffer.capacity() > MAX_KEPT_BYTES {
            return;
        }
        buffer.clear();
        let mut kept = self.home.0.lock();
        if kept.len() < MAX_KEPT {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_are_bounded() {
        let buffers = Buffers::default();
        let mut page = buffers.take(100);
        page.buffer().extend_from_slice(b"page");
        let first = page.as_ptr();
        drop(page);
        let page = buffers.take(10);
        assert_eq!((page.as_ptr(), page.len()), (first, 0), "the same memory, and nothing in it");
        drop(page);
        drop(buffers.take(MAX_KEPT_BYTES + 1));
        assert!(buffers.0.lock().is_empty(), "one that grew too large is given up");
        let many: Vec<PageBytes> = (0..MAX_KEPT + 5).map(|_| buffers.take(1)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().len(), MAX_KEPT);
    }
}
