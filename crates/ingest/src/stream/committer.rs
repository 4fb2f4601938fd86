//! Commits a stream, a batch behind the other: what comes meanwhile waits, and goes into the next.

use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::custom::CustomBody;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_ports::SampleSource;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep};
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

/// How long a client that reads nothing is waited for before it is given up without being told why.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How often it is asked whether a batch that is kept has reached the store.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Committer {
    pub(super) ingest: Ingest,
    pub(super) source: Arc<dyn SampleSource>,
    /// Who streams.
    pub(super) origin: WriteOrigin,
    /// Absent: the stream has no name, and keeps no position.
    pub(super) key: Option<StreamKey>,
    pub(super) position: Position,
    pub(super) acks: mpsc::Sender<Result<Ack, StreamError>>,
    pub(super) stop: CancellationToken,
    /// How long a client may leave acknowledgements unread.
    pub(super) idle: Duration,
    /// How long a batch that is kept before the store is waited for.
    pub(super) patience: Duration,
}

impl Committer {
    pub(super) async fn run(mut self, mut parts: mpsc::Receiver<Part>) {
        let mut left = None;
        let caller = self.origin.caller.clone();
        let mut ended = std::pin::pin!(caller.ended());
        loop {
            let next = match left.take() {
                Some(part) => Some(part),
                None => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return self.end(StreamError::Superseded).await,
                    denied = &mut ended => return self.end(IngestError::from(denied).into()).await,
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
                // Who does not read acknowledgements sends nothing more either, and does not keep the place for ever.
                Ok(ack) => tokio::select! {
                    biased;
                    sent = self.acks.send_timeout(Ok(ack), self.idle) => if sent.is_err() { return },
                    () = self.stop.cancelled() => return,
                },
                Err(error) => return self.end(error).await,
            }
        }
    }

    async fn end(&self, error: StreamError) {
        // A client that is gone need not be told.
        let _ = self.acks.send_timeout(Err(error), LAST_WORD).await;
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
        if written.duplicate {
            self.overtaken(last).await?;
        } else if written.kept {
            self.wait_until_stored(last).await?;
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

    /// A batch that is kept before the store says nothing of where the stream is: of two that begin at one place the store
    /// will take one, and which is not known yet. So it is acknowledged once it can be read.
    async fn wait_until_stored(&self, last: u64) -> Result<(), StreamError> {
        let Some(key) = &self.key else { return Ok(()) };
        let until = Instant::now() + self.patience;
        loop {
            // A store that is away says nothing; that is waited for too.
            if let Ok(Position { last: position, .. }) = key.position(&self.source, now()).await {
                match position {
                    _ if position == last => return Ok(()),
                    _ if position == self.position.last => {}
                    _ => return Err(StreamError::Overtaken { position }),
                }
            }
            if Instant::now() >= until {
                return Err(StreamError::Ingest(IngestError::Overloaded { retry_after: self.patience }));
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => return Err(StreamError::Superseded),
            }
        }
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
