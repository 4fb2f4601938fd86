//! Batches told to those who listen, as they commit. Telling costs a commit nothing: whoever is slow is left out, and
//! learns how many samples that were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use metricsd_model::Batch;
use parking_lot::RwLock;
use tokio::sync::mpsc;

/// Bytes of batches that wait for one listener.
const MAX_WAITING: usize = 16 << 20;

/// Batches that wait for one listener.
const MAX_BATCHES: usize = 1_024;

/// Those who listen to what this process commits. Clones are the same.
#[derive(Clone, Default)]
pub struct Taps(Arc<RwLock<Vec<Arc<Tap>>>>);

struct Tap {
    batches: mpsc::Sender<Arc<Batch>>,
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// One who listens, from now until it is dropped.
pub struct Listener {
    taps: Taps,
    tap: Arc<Tap>,
    batches: mpsc::Receiver<Arc<Batch>>,
}

impl Taps {
    /// Listens to all batches from now on.
    pub fn listen(&self) -> Listener {
        let (sender, batches) = mpsc::channel(MAX_BATCHES);
        let tap = Arc::new(Tap { batches: sender, waiting: AtomicUsize::new(0), dropped: AtomicU64::new(0) });
        self.0.write().push(tap.clone());
        Listener { taps: self.clone(), tap, batches }
    }

    /// Tells a batch that is committed.
    pub(crate) fn tell(&self, batch: &Arc<Batch>) {
        for tap in self.0.read().iter() {
            tap.tell(batch);
        }
    }
}

impl Tap {
    fn tell(&self, batch: &Arc<Batch>) {
        let size = batch.size();
        let before = self.waiting.fetch_add(size, Ordering::AcqRel);
        // A batch larger than all that may wait passes where nothing does.
        let fits = before == 0 || before + size <= MAX_WAITING;
        if !fits || self.batches.try_send(batch.clone()).is_err() {
            self.waiting.fetch_sub(size, Ordering::AcqRel);
            let samples: usize = batch.frames.iter().map(|frame| frame.values.len()).sum();
            self.dropped.fetch_add(samples as u64, Ordering::AcqRel);
        }
    }
}

impl Listener {
    /// The next batch. Can be dropped without losing any.
    pub async fn next(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.recv().await?;
        self.tap.waiting.fetch_sub(batch.size(), Ordering::AcqRel);
        Some(batch)
    }

    /// Samples that were left out since this was asked before.
    pub fn take_dropped(&self) -> u64 {
        self.tap.dropped.swap(0, Ordering::AcqRel)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.taps.0.write().retain(|tap| !Arc::ptr_eq(tap, &self.tap));
    }
}
