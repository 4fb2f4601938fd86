//! What a client sends, as it comes.

use std::sync::Arc;

use metricsd_codec::custom::{BodyError, CustomBody, CustomWriter, first_sequence};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::StreamError;
use super::hub::now;
use crate::Ingest;

/// A piece of a stream that was read and waits for its commit.
pub(super) struct Part {
    /// Number of the item whose index is 0.
    pub(super) first: u64,
    pub(super) items: CustomBody,
    pub(super) received_at: i64,
    /// Its part of the bytes that may wait.
    pub(super) bytes: OwnedSemaphorePermit,
}

/// Where a client's items go. Each call waits while too many bytes of the stream are not yet committed.
pub struct StreamInput {
    ingest: Ingest,
    /// What was committed before the stream was opened.
    position: u64,
    /// Number of the next item.
    next: u64,
    parts: mpsc::Sender<Part>,
    budget: Arc<Semaphore>,
    most: usize,
}

impl StreamInput {
    pub(super) fn new(
        ingest: Ingest,
        position: u64,
        parts: mpsc::Sender<Part>,
        budget: Arc<Semaphore>,
        most: usize,
    ) -> Self {
        Self { ingest, position, next: 1, parts, budget, most }
    }

    /// Says the number of the next item: 1 at first. Items whose numbers are committed already are passed over.
    ///
    /// # Errors
    /// Numbers go back.
    pub fn next_is(&mut self, number: u64) -> Result<(), StreamError> {
        if number < self.next || number > MAX_NUMBER {
            return Err(StreamError::Backwards { found: number, last: self.next - 1 });
        }
        self.next = number;
        Ok(())
    }

    /// Takes whole lines of JSON, an item each; blank ones are none.
    ///
    /// # Errors
    /// There are too many lines, or the stream has ended: its acknowledgements say why.
    pub async fn lines(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let permit = self.room(bytes.len()).await?;
        let items = self.writer().dense().lines(bytes);
        self.send(items, permit).await
    }

    /// Takes a message `metricsd.custom.v1.Metrics`, whose `first_sequence` says where its items begin.
    ///
    /// # Errors
    /// It is no such message, numbers go back, or the stream has ended: its acknowledgements say why.
    pub async fn protobuf(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let first = first_sequence(bytes).map_err(|error| StreamError::Unreadable(error.to_string()))?;
        if let Some(first) = first {
            self.next_is(first)?;
        }
        let permit = self.room(bytes.len()).await?;
        let items = self.writer().protobuf(bytes);
        self.send(items, permit).await
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StreamError> {
        let wanted = u32::try_from(bytes.clamp(1, self.most)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.budget.clone().acquire_many_owned(wanted).await.map_err(|_| StreamError::Superseded)
    }

    fn writer(&self) -> CustomWriter<'_> {
        let known = (self.position + 1).saturating_sub(self.next);
        let limit = self.ingest.limits().max_push_items;
        CustomWriter::new(self.ingest.items(), now(), limit)
            .skip(usize::try_from(known).unwrap_or(usize::MAX))
    }

    async fn send(
        &mut self,
        items: Result<CustomBody, BodyError>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), StreamError> {
        let items = items.map_err(|error| StreamError::Unreadable(error.to_string()))?;
        let first = self.next;
        self.next += (items.items + items.skipped) as u64;
        if self.next == first {
            return Ok(());
        }
        let part = Part { first, items, received_at: now(), bytes: permit };
        self.parts.send(part).await.map_err(|_| StreamError::Superseded)
    }
}

/// Numbers are kept as floats.
const MAX_NUMBER: u64 = 1 << 53;
