//! Brings what waits to the store, oldest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::Batch;
use metricsd_ports::{Apart, PortError, Receipt, SampleSink};
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
        // What was put aside takes room until a person takes it away.
        if self.shared.status.batches() == 0 && self.shared.status.bytes() == 0 {
            return Ok(None);
        }
        let shared = self.shared.clone();
        let read = spawn_blocking(move || {
            let mut log = shared.log.lock();
            if log.batches() == 0 {
                log.count_aside()?;
            }
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
                let all = chunk.batches.len();
                self.forget(chunk, all, started.elapsed()).await;
                true
            }
            Err(error) if error.is_retryable() && self.store.ping().await.is_err() => {
                self.is_away(None);
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

    /// Batch by batch, up to one that the store does not take now. What it does not take for a reason that passes, such as
    /// a full disk, waits however long that is: it was acknowledged.
    async fn bring_each(&self, chunk: Chunk, started: Instant) -> bool {
        let mut done = 0;
        for batch in &chunk.batches {
            let one = std::slice::from_ref(batch);
            match self.append(one).await {
                Ok(receipts) => self.told(one, &receipts),
                Err(error) if error.is_retryable() => {
                    self.is_away(Some(&error));
                    break;
                }
                Err(error) if self.bring_apart(batch, &error).await => {}
                Err(_) => break,
            }
            done += 1;
            if self.stop.is_cancelled() {
                break;
            }
        }
        let all = done == chunk.batches.len();
        self.forget(chunk, done, started.elapsed()).await;
        all
    }

    /// A batch that the store refuses for good: where several pushes were joined into it, push by push, so that those alone are
    /// parked that are refused by themselves. Answers whether the batch is done with.
    async fn bring_apart(&self, batch: &Arc<Batch>, error: &PortError) -> bool {
        let Some(mut apart) = Apart::of(batch) else { return self.park(batch, error).await };
        warn!(
            error = error.chain(),
            pushes = batch.joined.len(),
            "a batch of the spool is stored push by push"
        );
        while let Some(group) = apart.next_group() {
            match self.append(&group).await {
                Ok(receipts) => self.told(&group, &receipts),
                Err(error) if error.is_retryable() => {
                    self.is_away(Some(&error));
                    return false;
                }
                Err(error) => apart.refused(group, error),
            }
        }
        match apart.left() {
            Some((left, error)) => self.park(&left, &error).await,
            None => true,
        }
    }

    /// Nothing leaves now; counted where the store answers all the same.
    fn is_away(&self, refused: Option<&PortError>) {
        self.shared.status.drained(0, LOOK);
        self.shared.turned.notify_waiters();
        if let Some(error) = refused {
            self.shared.metrics.refused.inc();
            warn!(error = error.chain(), "the store answers and takes no batches; they wait in the spool");
        }
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

    /// The first of a chunk's batches, so many, are done with.
    async fn forget(&self, chunk: Chunk, count: usize, within: Duration) {
        if count == 0 {
            return;
        }
        let shared = self.shared.clone();
        let bytes = if count == chunk.batches.len() { chunk.bytes } else { 0 };
        let forgotten = spawn_blocking(move || {
            let mut log = shared.log.lock();
            log.replayed(&chunk, count);
            shared.show(&log);
            log.batches()
        });
        if bytes > 0 {
            self.shared.status.drained(bytes, within);
        }
        if let Ok(0) = forgotten.await {
            self.shared.turned.notify_waiters();
            info!("all that waited in the spool is stored");
        }
    }
}
