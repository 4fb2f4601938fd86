//! Reserved in the queue for what will be queued soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metricsd_model::Batch;
use metricsd_ports::SampleSink;
use prometheus_client::metrics::gauge::Gauge;

use super::{FULL, GroupCommit, Writer};
use crate::{IngestError, IngestMetrics};

/// Bytes that count as queued until this is dropped, even where their commit panics.
pub(crate) struct Reserved {
    size: usize,
    queued: Arc<AtomicUsize>,
    total: Arc<AtomicUsize>,
    shown: Gauge,
}

impl Writer {
    /// What a group takes up of the queue, to be given back with it.
    pub(super) fn taken(&self, size: usize) -> Reserved {
        let (queued, total) = (self.queued.clone(), self.total.clone());
        Reserved { size, queued, total, shown: self.metrics.queue_bytes.clone() }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.size, Ordering::AcqRel);
        let left = self.total.fetch_sub(self.size, Ordering::AcqRel) - self.size;
        self.shown.set(left as i64);
    }
}

impl GroupCommit {
    /// Counts a batch as queued before it is, by the same bounds.
    pub(crate) fn reserve(&self, batch: &Batch) -> Result<Reserved, IngestError> {
        let size = batch.size();
        let Some(lane) = self.lane(&batch.collection.target_id, &batch.collection.source_id) else {
            return Err(IngestError::Closed);
        };
        if lane.fill() >= FULL {
            return Err(self.turned_away(lane));
        }
        let before = lane.queued.fetch_add(size, Ordering::AcqRel);
        if before > 0 && before + size > self.options.max_queue_bytes {
            lane.queued.fetch_sub(size, Ordering::AcqRel);
            return Err(self.turned_away(lane));
        }
        let total = self.total.fetch_add(size, Ordering::AcqRel) + size;
        self.metrics.queue_bytes.set(total as i64);
        Ok(Reserved {
            size,
            queued: lane.queued.clone(),
            total: self.total.clone(),
            shown: self.metrics.queue_bytes.clone(),
        })
    }

    pub(crate) fn metrics(&self) -> &IngestMetrics {
        &self.metrics
    }

    /// How long a caller waits for its commit.
    pub(crate) fn patience(&self) -> std::time::Duration {
        self.options.patience
    }

    /// What a caller is told whose commit does not come in time.
    pub(crate) fn too_slow(&self, batch: (&str, &str)) -> IngestError {
        let retry_after = self.lane(batch.0, batch.1).map_or(super::RETRY_AFTER, super::Lane::retry_after);
        IngestError::Overloaded { retry_after }
    }

    /// All stores as one.
    pub(crate) fn store(&self) -> &Arc<dyn SampleSink> {
        self.series.store()
    }
}
