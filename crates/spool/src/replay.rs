//! Brings what waits to the store, oldest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::Batch;
use metricsd_ports::{PortError, Receipt, SampleSink};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::log::Chunk;
use crate::sink::{Replayed, Shared, now};

/// A store that has not taken a group by then is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses between attempts while the store is away.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A store that answers and refuses the same batch so often for a reason that passes will not take it.
const MAX_REFUSALS: usize = 20;

/// How often what waits is shown when nothing happens.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Replay {
    pub(crate) store: Arc<dyn SampleSink>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) replayed: Replayed,
    pub(crate) stop: CancellationToken,
}

impl Replay {
    pub(crate) async fn run(self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            match self.next_chunk().await {
                Ok(Some(chunk)) => match self.bring(chunk).await {
                    true => failures = 0,
                    false => {
                        self.pause(PAUSES[failures.min(PAUSES.len() - 1)]).await;
                        failures += 1;
                    }
                },
                Ok(None) => {
                    tokio::select! {
                        () = self.shared.more.notified() => {}
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    self.shared.metrics.errors.inc();
                    error!(%error, "the spool cannot be read");
                    self.pause(PAUSES[PAUSES.len() - 1]).await;
                }
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn next_chunk(&self) -> std::io::Result<Option<Chunk>> {
        if self.shared.status.batches() == 0 {
            return Ok(None);
        }
        let shared = self.shared.clone();
        let read = spawn_blocking(move || {
            let mut log = shared.log.lock();
            let before = log.damaged();
            let chunk = log.oldest_batches();
            shared.metrics.damaged.inc_by(log.damaged() - before);
            shared.show(&log);
            chunk
        });
        read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    /// Brings a chunk; answers whether the store has all of it.
    async fn bring(&self, chunk: Chunk) -> bool {
        let started = Instant::now();
        match self.append(&chunk.batches).await {
            Ok(receipts) => {
                self.told(&chunk.batches, &receipts);
                self.forget(chunk, started.elapsed()).await;
                true
            }
            Err(error) if error.is_retryable() && self.store.ping().await.is_err() => {
                self.shared.status.drained(0, LOOK);
                self.shared.turned.notify_waiters();
                false
            }
            // It answers, and will not have all of these together.
            Err(error) => {
                warn!(
                    error = error.chain(),
                    batches = chunk.batches.len(),
                    "a group of the spool is stored batch by batch"
                );
                self.bring_each(chunk, started).await
            }
        }
    }

    async fn bring_each(&self, chunk: Chunk, started: Instant) -> bool {
        for batch in &chunk.batches {
            let one = std::slice::from_ref(batch);
            let mut refusals = 0;
            loop {
                let error = match self.append(one).await {
                    Ok(receipts) => break self.told(one, &receipts),
                    Err(error) => error,
                };
                if self.stop.is_cancelled() {
                    return false;
                }
                if error.is_retryable() {
                    if self.store.ping().await.is_err() {
                        return false;
                    }
                    refusals += 1;
                    if refusals < MAX_REFUSALS {
                        self.pause(PAUSES[refusals.min(PAUSES.len() - 1)]).await;
                        continue;
                    }
                }
                if !self.park(batch, &error).await {
                    return false;
                }
                break;
            }
        }
        self.forget(chunk, started.elapsed()).await;
        true
    }

    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        timeout(PATIENCE, self.store.append(batches)).await.unwrap_or_else(|_| {
            let message = format!("the store did not take a group of the spool within {PATIENCE:?}");
            Err(PortError::new(metricsd_ports::ErrorKind::Timeout, message))
        })
    }

    fn told(&self, batches: &[Arc<Batch>], receipts: &[Receipt]) {
        let repeated = receipts.iter().filter(|receipt| **receipt == Receipt::Duplicate).count() as u64;
        self.shared.metrics.repeated.inc_by(repeated);
        self.shared.metrics.replayed.inc_by(receipts.len() as u64 - repeated);
        (self.replayed)(batches, receipts);
    }

    async fn park(&self, batch: &Arc<Batch>, error: &PortError) -> bool {
        let (shared, parked) = (self.shared.clone(), batch.clone());
        let done = spawn_blocking(move || shared.log.lock().park(&parked, now())).await;
        let (source_id, batch) = (&batch.collection.source_id, batch.id);
        match done {
            Ok(Ok(())) => {
                self.shared.metrics.parked.inc();
                error!(
                    error = error.chain(),
                    source_id,
                    ?batch,
                    "a batch of the spool that no store takes is put aside"
                );
                true
            }
            Ok(Err(why)) => {
                error!(error = %why, source_id, "a batch of the spool cannot be put aside");
                false
            }
            Err(_) => false,
        }
    }

    async fn forget(&self, chunk: Chunk, within: Duration) {
        let shared = self.shared.clone();
        let bytes = chunk.bytes;
        let forgotten = spawn_blocking(move || {
            let mut log = shared.log.lock();
            log.replayed(&chunk);
            shared.show(&log);
            log.batches()
        });
        self.shared.status.drained(bytes, within);
        if let Ok(0) = forgotten.await {
            self.shared.turned.notify_waiters();
            info!("all that waited in the spool is stored");
        }
    }
}
