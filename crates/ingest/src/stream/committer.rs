//! Commits a stream, a batch behind the other: what comes meanwhile waits, and goes into the next.

use std::sync::Arc;

use metricsd_codec::custom::CustomBody;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_ports::SampleSource;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::hub::now;
use super::input::Part;
use super::position::{Position, StreamKey};
use super::{Ack, NumberedError, StreamError};
use crate::custom::{item_outcome, item_write};
use crate::{Ingest, IngestError, WriteFailure, WriteOrigin};

/// Bytes of one batch: beyond, what waits goes into the next.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Items at fault that an acknowledgement describes; all are counted.
const MAX_ERRORS: usize = 20;

pub(super) struct Committer {
    ingest: Ingest,
    source: Arc<dyn SampleSource>,
    /// Who streams.
    origin: WriteOrigin,
    /// Absent: the stream has no name, and keeps no position.
    key: Option<StreamKey>,
    position: Position,
    acks: mpsc::Sender<Result<Ack, StreamError>>,
    stop: CancellationToken,
}

impl Committer {
    pub(super) fn new(
        ingest: Ingest,
        source: Arc<dyn SampleSource>,
        origin: WriteOrigin,
        key: Option<StreamKey>,
        position: Position,
        acks: mpsc::Sender<Result<Ack, StreamError>>,
        stop: CancellationToken,
    ) -> Self {
        Self { ingest, source, origin, key, position, acks, stop }
    }

    pub(super) async fn run(mut self, mut parts: mpsc::Receiver<Part>) {
        let mut left = None;
        loop {
            let next = match left.take() {
                Some(part) => Some(part),
                None => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return self.end(StreamError::Superseded).await,
                    part = parts.recv() => part,
                },
            };
            let Some(part) = next else { return };
            if self.stop.is_cancelled() {
                return self.end(StreamError::Superseded).await;
            }
            let mut gathered = Gathered::new(part);
            while let Ok(part) = parts.try_recv() {
                left = gathered.add(part);
                if left.is_some() {
                    break;
                }
            }
            match self.commit(gathered).await {
                // Who does not read acknowledgements sends nothing more either.
                Ok(ack) => tokio::select! {
                    biased;
                    sent = self.acks.send(Ok(ack)) => if sent.is_err() { return },
                    () = self.stop.cancelled() => return,
                },
                Err(error) => return self.end(error).await,
            }
        }
    }

    async fn end(&self, error: StreamError) {
        // A client that is gone need not be told.
        let _ = self.acks.try_send(Err(error));
    }

    async fn commit(&mut self, gathered: Gathered) -> Result<Ack, StreamError> {
        // The bytes count as waiting until they are committed.
        let Gathered { first, last, mut items, body, skipped, received_at, bytes: _held } = gathered;
        let mut ack = Ack { last: last.max(self.position.last), repeated: skipped, ..Ack::default() };
        if items.items == 0 {
            return Ok(ack);
        }
        let mut origin = self.origin.clone();
        let mut joined = BodyWriter::new();
        let next = Position { last, at: now().max(self.position.at + 1) };
        if let Some(key) = &self.key {
            origin.key = Some(key.batch_key(self.position.last));
            key.write(next, &mut joined);
        }
        let own = joined.series_count();
        items.body = joined.into_bytes();
        items.body.extend_from_slice(&body);
        items.places.splice(0..0, std::iter::repeat_n(u32::MAX, own));
        let write = item_write(origin, &mut items, received_at);
        let written = self.ingest.write(write).await.map_err(|failure| match failure {
            WriteFailure::Refused(error) => StreamError::Unreadable(error.to_string()),
            WriteFailure::Failed(error) => StreamError::Ingest(error),
        })?;
        if written.duplicate && self.key.is_some() {
            self.overtaken(last).await?;
        }
        let outcome = item_outcome(&items, &written);
        if written.faults.iter().any(|fault| fault.series < own) {
            return Err(StreamError::Ingest(IngestError::Store {
                message: "the position of the stream was refused: its source has too many series".to_owned(),
                retryable: false,
            }));
        }
        self.position = next;
        ack.stored = outcome.accepted;
        ack.refused = outcome.rejected;
        ack.errors = outcome
            .errors
            .into_iter()
            .take(MAX_ERRORS)
            .map(|error| NumberedError { number: first + error.index as u64, error })
            .collect();
        Ok(ack)
    }

    /// A batch that begins here was committed before: by an attempt of ours that was thought lost, or by another
    /// connection.
    async fn overtaken(&self, last: u64) -> Result<(), StreamError> {
        let Some(key) = &self.key else { return Ok(()) };
        let position = key.position(&self.source, now()).await?.last;
        if position == last { Ok(()) } else { Err(StreamError::Overtaken { position }) }
    }
}

/// Parts that are committed together.
struct Gathered {
    /// Number of the item whose index is 0.
    first: u64,
    /// Number of the last item.
    last: u64,
    items: CustomBody,
    body: Vec<u8>,
    skipped: u64,
    received_at: i64,
    bytes: OwnedSemaphorePermit,
}

impl Gathered {
    fn new(part: Part) -> Self {
        let Part { first, mut items, received_at, bytes } = part;
        let last = first + (items.items + items.skipped) as u64 - 1;
        let (body, skipped) = (std::mem::take(&mut items.body), items.skipped as u64);
        Self { first, last, items, body, skipped, received_at, bytes }
    }

    /// Adds a part, or gives it back where it does not fit.
    fn add(&mut self, part: Part) -> Option<Part> {
        let offset = part.first - self.first;
        let more = &part.items;
        let same = more.source.is_none() || self.items.source.is_none() || more.source == self.items.source;
        let fits = self.body.len() + more.body.len() <= MAX_BATCH_BYTES;
        let Some(offset) = u32::try_from(offset).ok().filter(|offset| *offset < u32::MAX / 2 && same && fits)
        else {
            return Some(part);
        };
        let next = Self::new(part);
        self.last = next.last;
        self.bytes.merge(next.bytes);
        self.skipped += next.skipped;
        self.body.extend_from_slice(&next.body);
        self.items.places.extend(next.items.places.iter().map(|place| place + offset));
        self.items.items += next.items.items;
        self.items.source = self.items.source.or(next.items.source);
        for (reason, count) in next.items.refused {
            *self.items.refused.entry(reason).or_default() += count;
        }
        let room = 100usize.saturating_sub(self.items.errors.len());
        self.items.errors.extend(next.items.errors.into_iter().take(room).map(|mut error| {
            error.index += offset as usize;
            error
        }));
        None
    }
}
