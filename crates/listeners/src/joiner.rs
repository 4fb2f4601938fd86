//! Joins small parts of one protocol into collections: one is made when the oldest part is 100 ms old, or when they are
//! large enough.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metricsd_ingest::{Ingest, OwnedWrite, WriteFailure, WriteOrigin};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::metrics::{Counted, Dropped};
use crate::now;

/// How long the first part of a collection waits for others.
const WAIT: Duration = Duration::from_millis(100);

/// Bytes that make a collection without waiting.
const ENOUGH: usize = 1 << 20;

/// Parts that may wait. Each is of at most what one read brings, some hundred kilobytes.
const MAX_PARTS: usize = 64;

/// Collections that may be with the store at once.
const MAX_WRITES: usize = 4;

/// For how long a collection is brought again that the store could not take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first pause between two attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Series as the body of a write.
pub(crate) struct Part {
    pub(crate) body: Vec<u8>,
    /// Lines that it was made of.
    pub(crate) lines: u64,
}

/// Takes parts.
#[derive(Clone)]
pub(crate) struct Joiner {
    parts: mpsc::Sender<Part>,
    counted: Counted,
}

impl Joiner {
    /// A joiner, and the task that serves it: it ends when all joiners are dropped and all is stored.
    pub(crate) fn new(
        ingest: Ingest,
        origin: WriteOrigin,
        counted: Counted,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, parts) = mpsc::channel(MAX_PARTS);
        let joiner = Self { parts: sender, counted: counted.clone() };
        (joiner, run(parts, Arc::new(Writer { ingest, origin, counted })))
    }

    /// Hands a part on. When too many wait, a patient caller waits; of others the part is dropped and counted.
    pub(crate) async fn put(&self, part: Part, patient: bool) {
        let lines = part.lines;
        let taken = match patient {
            true => self.parts.send(part).await.is_ok(),
            false => self.parts.try_send(part).is_ok(),
        };
        if !taken {
            self.counted.dropped(Dropped::Backlog, lines);
        }
    }
}

struct Writer {
    ingest: Ingest,
    origin: WriteOrigin,
    counted: Counted,
}

async fn run(mut parts: mpsc::Receiver<Part>, writer: Arc<Writer>) {
    let places = Arc::new(Semaphore::new(MAX_WRITES));
    let writes = TaskTracker::new();
    while let Some(first) = parts.recv().await {
        let mut whole = first;
        let until = Instant::now() + WAIT;
        while whole.body.len() < ENOUGH {
            let Ok(Some(next)) = tokio::time::timeout_at(until, parts.recv()).await else { break };
            whole.body.extend_from_slice(&next.body);
            whole.lines += next.lines;
        }
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let writer = writer.clone();
        writes.spawn(async move {
            writer.write(whole).await;
            drop(place);
        });
    }
    writes.close();
    writes.wait().await;
}

impl Writer {
    async fn write(&self, part: Part) {
        let body = Bytes::from(part.body);
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let write = OwnedWrite { origin: self.origin.clone(), body: body.clone(), received_at: now() };
            let error = match self.ingest.write(write).await {
                Ok(_) => return,
                Err(error) => error,
            };
            let again = matches!(error, WriteFailure::Failed(_)) && Instant::now() + pause < until;
            if !again {
                let (protocol, lines) = (self.counted.protocol(), part.lines);
                warn!(%error, protocol, lines, "lines were dropped: the store does not take them");
                self.counted.dropped(Dropped::Backlog, lines);
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}
