//! The streams that are open in this process.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_ports::SampleSource;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::committer::Committer;
use super::position::{Position, StreamKey};
use super::{Ack, StreamError, StreamInput, StreamOptions};
use crate::{Caller, Ingest, Protocol, WriteOrigin};

/// Acknowledgements that wait for a client that does not read them.
const MAX_ACKS: usize = 64;

/// Parts that wait for the commit before; their bytes are bounded besides.
const MAX_PARTS: usize = 256;

/// Opens streams.
pub struct Streams {
    ingest: Ingest,
    source: Arc<dyn SampleSource>,
    options: StreamOptions,
    slots: Arc<Semaphore>,
    open: Mutex<HashMap<StreamKey, Turn>>,
}

/// Whose turn a stream is: the connection that opened it last.
#[derive(Default)]
struct Turn {
    /// Of that connection.
    stop: CancellationToken,
    /// Held while a connection may still commit.
    held: Arc<tokio::sync::Mutex<()>>,
    /// Connections that have the stream, or wait for it.
    claims: usize,
}

/// A stream that is open. It is committed to its end once the input is dropped.
pub struct OpenStream {
    /// Number of the last item that is committed; 0: none.
    pub position: u64,
    /// Where items go.
    pub input: StreamInput,
    /// What becomes of them; ends when all is committed, or with an error.
    pub acks: mpsc::Receiver<Result<Ack, StreamError>>,
}

impl Streams {
    /// Streams through `ingest`, whose positions are read from `source`.
    pub fn new(ingest: Ingest, source: Arc<dyn SampleSource>, options: StreamOptions) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(options.max_streams));
        Arc::new(Self { ingest, source, options, slots, open: Mutex::default() })
    }

    /// The bounds in force.
    pub fn options(&self) -> &StreamOptions {
        &self.options
    }

    /// Number of the last item of a stream that is committed; 0: none.
    ///
    /// # Errors
    /// The name is none, or the store does not answer.
    pub async fn position(&self, source_id: &str, stream_id: &str) -> Result<u64, StreamError> {
        let key = key(source_id, stream_id)?;
        Ok(key.position(&self.source, now()).await?.last)
    }

    /// Opens a stream, or takes it over from the connection that had it; one without a name begins at 0 and cannot be
    /// gone on with.
    ///
    /// # Errors
    /// There are too many, the name is none, or the store does not say where the stream is.
    pub async fn open(
        self: &Arc<Self>,
        caller: Caller,
        source_id: &str,
        stream_id: Option<&str>,
    ) -> Result<OpenStream, StreamError> {
        let limit = self.options.max_streams;
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| StreamError::TooMany { limit })?;
        let key = stream_id.map(|stream_id| key(source_id, stream_id)).transpose()?;
        let turn = match &key {
            Some(key) => Some(self.take_over(key).await),
            None => None,
        };
        let stop = turn.as_ref().map_or_else(CancellationToken::new, |turn| turn.claim.stop.clone());
        let place = Place { _turn: turn, _slot: slot };
        let position = match &key {
            Some(key) => key.position(&self.source, now()).await?,
            None => Position::default(),
        };
        let (acks, received) = mpsc::channel(MAX_ACKS);
        let (parts, waiting) = mpsc::channel(MAX_PARTS);
        let budget = Arc::new(Semaphore::new(self.options.max_bytes_in_flight));
        let most = self.options.max_bytes_in_flight;
        let input = StreamInput::new(self.ingest.clone(), position.last, parts, budget, most);
        let origin = WriteOrigin { caller, ..WriteOrigin::new(source_id, Protocol::Stream) };
        let committer = Committer {
            ingest: self.ingest.clone(),
            source: self.source.clone(),
            origin,
            key,
            position,
            acks,
            stop,
            idle: self.options.idle,
            patience: self.options.patience,
        };
        tokio::spawn(async move {
            committer.run(waiting).await;
            drop(place);
        });
        Ok(OpenStream { position: position.last, input, acks: received })
    }

    /// Streams whose turn it is.
    #[cfg(test)]
    pub(super) fn turns(&self) -> usize {
        self.open.lock().len()
    }

    /// Ends the connection that has the stream, and waits until it commits no more.
    async fn take_over(self: &Arc<Self>, key: &StreamKey) -> HeldTurn {
        // Who asks may go while it waits: the claim goes with them.
        let (claim, held) = self.claim(key);
        HeldTurn { _guard: held.lock_owned().await, claim }
    }

    fn claim(self: &Arc<Self>, key: &StreamKey) -> (Claim, Arc<tokio::sync::Mutex<()>>) {
        let stop = CancellationToken::new();
        let mut open = self.open.lock();
        let turn = open.entry(key.clone()).or_default();
        turn.claims += 1;
        std::mem::replace(&mut turn.stop, stop.clone()).cancel();
        (Claim { streams: self.clone(), key: key.clone(), stop }, turn.held.clone())
    }
}

/// A connection that has a stream, or waits for it.
struct Claim {
    streams: Arc<Streams>,
    key: StreamKey,
    stop: CancellationToken,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock();
        if let Some(turn) = open.get_mut(&self.key) {
            turn.claims -= 1;
            if turn.claims == 0 {
                open.remove(&self.key);
            }
        }
    }
}

struct HeldTurn {
    claim: Claim,
    _guard: tokio::sync::OwnedMutexGuard<()>,
}

/// An open stream's place; given up with it.
struct Place {
    _turn: Option<HeldTurn>,
    _slot: OwnedSemaphorePermit,
}

/// Bytes of a stream's name.
const MAX_NAME: usize = 100;

fn key(source_id: &str, stream_id: &str) -> Result<StreamKey, StreamError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/-".contains(&byte);
    let begins = stream_id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins || stream_id.len() > MAX_NAME || !stream_id.bytes().all(allowed) {
        return Err(StreamError::Name);
    }
    Ok(StreamKey { source_id: source_id.to_owned(), stream_id: stream_id.to_owned() })
}

pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
