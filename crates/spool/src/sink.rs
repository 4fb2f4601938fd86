//! The decorator: what the store takes at once goes there, and nothing else is done. What it does not take goes to disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use metricsd_model::{Batch, BatchId, Millis, SeriesId};
use metricsd_ports::{ErrorKind, PortError, Receipt, SampleSink, StoredPush};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::log::Full;
use crate::replay::Replay;
use crate::{Order, SpoolLog, SpoolMetrics, SpoolOptions, SpoolStatus};

/// Told of every group that the store took from the spool, with what became of each batch.
pub type Replayed = Arc<dyn Fn(&[Arc<Batch>], &[Receipt]) + Send + Sync>;

/// Whether too much waits in memory: then the spool takes batches that the store is too slow for.
pub type Pressure = Arc<dyn Fn() -> bool + Send + Sync>;

/// Whom a spool stands between.
pub struct Between {
    /// Gets what comes in while nothing waits.
    pub store: Arc<dyn SampleSink>,
    /// Gets what waits: the store, or several that share the batches out among them.
    pub whole: Arc<dyn SampleSink>,
    /// Whether too much waits in memory.
    pub pressure: Pressure,
    /// Told what was replayed.
    pub replayed: Replayed,
}

/// How long the store is left alone after it failed, where new batches go before old ones.
const LEAVE_ALONE: std::time::Duration = std::time::Duration::from_secs(1);

/// So few batches in the spool are waited for while they are brought to the store.
const FEW: u64 = 1_000;

/// How long they are waited for at most.
const CATCH_UP: std::time::Duration = std::time::Duration::from_secs(2);

/// A sink that keeps on disk what its store does not take now.
///
/// Batches are answered [`Receipt::Kept`] when they are durable on disk; the store gets them later, in the order in which
/// they came. While batches wait, new ones wait behind them (see [`Order`]).
pub struct SpooledSink {
    store: Arc<dyn SampleSink>,
    pub(crate) shared: Arc<Shared>,
    pressure: Pressure,
    /// When the store failed last.
    failed: Mutex<Option<Instant>>,
    spooling: AtomicBool,
}

/// What the decorator and the replay share.
pub(crate) struct Shared {
    pub(crate) log: Mutex<SpoolLog>,
    pub(crate) options: SpoolOptions,
    pub(crate) status: Arc<SpoolStatus>,
    pub(crate) metrics: SpoolMetrics,
    pub(crate) more: Notify,
    /// Told when the spool is empty, and when the store is away again.
    pub(crate) turned: Notify,
}

impl Shared {
    pub(crate) fn show(&self, log: &SpoolLog) {
        self.status.set(log.bytes(), log.batches(), log.oldest());
    }
}

pub(crate) fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl SpooledSink {
    /// A spool, and the task that replays. The task ends when `stop` is cancelled; what waits then is replayed by the
    /// next process.
    pub fn start(
        between: Between,
        log: SpoolLog,
        metrics: SpoolMetrics,
        stop: CancellationToken,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let Between { store, whole, pressure, replayed } = between;
        let options = log.options().clone();
        let status = Arc::new(SpoolStatus::new(options.max_bytes));
        metrics.damaged.inc_by(log.damaged());
        if log.batches() > 0 {
            info!(batches = log.batches(), bytes = log.bytes(), "batches wait in the spool since before");
        }
        let shared = Shared {
            log: Mutex::new(log),
            options,
            status,
            metrics,
            more: Notify::new(),
            turned: Notify::new(),
        };
        shared.show(&shared.log.lock());
        let shared = Arc::new(shared);
        let replay = Replay { store: whole, shared: shared.clone(), replayed, stop };
        let sink =
            Self { store, shared, pressure, failed: Mutex::new(None), spooling: AtomicBool::new(false) };
        (Arc::new(sink), tokio::spawn(replay.run()))
    }

    /// How full it is.
    pub fn status(&self) -> &Arc<SpoolStatus> {
        &self.shared.status
    }

    /// Whether batches may go past the spool.
    fn may_pass(&self) -> bool {
        let waits = self.shared.status.batches() > 0;
        match self.shared.options.order {
            Order::Oldest => !waits && !(self.pressure)(),
            Order::Newest => {
                let away = self.failed.lock().is_some_and(|at| at.elapsed() < LEAVE_ALONE);
                !((self.pressure)() || waits && away)
            }
        }
    }

    /// Waits for the last few batches in the spool to be stored, and answers whether they are: without this, whoever
    /// always brings more would go through the spool for ever.
    async fn catches_up(&self) -> bool {
        let status = &self.shared.status;
        let limit = self.shared.options.after.min(CATCH_UP);
        let caught = timeout(limit, async {
            loop {
                let turned = self.shared.turned.notified();
                if status.batches() == 0 {
                    return true;
                }
                if status.batches() > FEW || !status.is_draining() || (self.pressure)() {
                    return false;
                }
                turned.await;
            }
        });
        self.shared.options.order == Order::Oldest && caught.await.unwrap_or(false)
    }

    /// Puts batches on disk; answers `cause` where that cannot be done.
    async fn keep(&self, batches: &[Arc<Batch>], cause: PortError) -> Result<Vec<Receipt>, PortError> {
        let (shared, group) = (self.shared.clone(), batches.to_vec());
        let kept = spawn_blocking(move || {
            let mut log = shared.log.lock();
            let kept = log.append(&group, now());
            shared.show(&log);
            kept
        });
        let metrics = &self.shared.metrics;
        match kept.await {
            Ok(Ok(())) => {
                metrics.spooled.inc_by(batches.len() as u64);
                if !self.spooling.swap(true, Ordering::Relaxed) {
                    warn!(error = cause.chain(), "the store does not take batches now; they go to the spool");
                }
                self.shared.more.notify_one();
                Ok(vec![Receipt::Kept; batches.len()])
            }
            Ok(Err(full @ Full::Full { .. })) => {
                metrics.full.inc();
                Err(PortError::new(ErrorKind::Unavailable, full.to_string()).caused_by(cause.chain()))
            }
            Ok(Err(error)) => {
                metrics.errors.inc();
                let why = PortError::new(ErrorKind::Unavailable, error.to_string()).caused_by(error);
                warn!(error = why.chain(), "the spool cannot take batches");
                Err(cause)
            }
            Err(_) => Err(cause),
        }
    }
}

#[async_trait]
impl SampleSink for SpooledSink {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        if !(self.may_pass() || self.catches_up().await && self.may_pass()) {
            let behind = PortError::new(ErrorKind::Unavailable, "batches wait in the spool before these");
            return self.keep(batches, behind).await;
        }
        let after = self.shared.options.after;
        let answer = timeout(after, self.store.append(batches)).await.unwrap_or_else(|_| {
            let message = format!("the store did not take a group of batches within {after:?} (spool.after)");
            Err(PortError::new(ErrorKind::Timeout, message))
        });
        match answer {
            Ok(receipts) => {
                if self.spooling.swap(false, Ordering::Relaxed) {
                    info!("the spool is empty; the store takes batches at once again");
                }
                Ok(receipts)
            }
            Err(error) if error.is_retryable() => {
                *self.failed.lock() = Some(Instant::now());
                self.keep(batches, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.store.stored_series(ids).await
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.store.stored_pushes(ids).await
    }

    /// Whether batches would be taken, by the store or by the spool.
    async fn ping(&self) -> Result<(), PortError> {
        let (bytes, max_bytes) = (self.shared.status.bytes(), self.shared.options.max_bytes);
        if bytes >= max_bytes / 100 * 99 {
            let full = Full::Full { bytes, max_bytes };
            return Err(PortError::new(ErrorKind::Unavailable, full.to_string()));
        }
        self.store.ping().await
    }
}
