//! Room in the queue.

use std::sync::atomic::Ordering;

use super::Writer;

/// What a group takes up of the queue; given back with it, even where its commit panics.
pub(super) struct Room<'a> {
    pub(super) writer: &'a Writer,
    pub(super) bytes: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.writer.queued.fetch_sub(self.bytes, Ordering::AcqRel);
        let left = self.writer.total.fetch_sub(self.bytes, Ordering::AcqRel) - self.bytes;
        self.writer.metrics.queue_bytes.set(left as i64);
    }
}
