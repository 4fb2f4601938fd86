//! The door itself: what all pushes share.

use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::custom::Memory;
use metricsd_model::{Batch, Refusal};
use metricsd_ports::Receipt;

use crate::join::Joiner;
use crate::remote_write::{SeenLists, SeriesCache};
use crate::tap::Taps;
use crate::{GroupCommit, IngestError, IngestMetrics, Limits, Protocol, SeriesTracker};

/// The part of `limits.max_write_cache_bytes` that remembers custom items.
const ITEMS_PART: usize = 4;

/// The door for pushes. Clones share it.
#[derive(Clone)]
pub struct Ingest {
    commit: GroupCommit,
    limits: Arc<Limits>,
    writers: Arc<SeriesCache>,
    lists: Arc<SeenLists>,
    items: Arc<Memory>,
    joiner: Option<Joiner>,
}

impl Ingest {
    /// Builds the door before a store.
    pub fn new(commit: GroupCommit, limits: Arc<Limits>) -> Self {
        let writers = Arc::new(SeriesCache::new(limits.max_write_cache_bytes));
        let lists = Arc::new(SeenLists::new(limits.max_write_cache_bytes / 8));
        let items = Arc::new(Memory::new(limits.max_write_cache_bytes / ITEMS_PART));
        Self { commit, limits, writers, lists, items, joiner: None }
    }

    /// The same, where small pushes of one source that come within so much of each other share a collection; zero for
    /// none that do.
    pub fn joining(self, within: Duration) -> Self {
        let joiner = (!within.is_zero()).then(|| Joiner::new(self.commit.clone(), within));
        Self { joiner, ..self }
    }

    /// What joins small pushes, where they are joined.
    pub(crate) fn joiner(&self) -> Option<&Joiner> {
        self.joiner.as_ref()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is remembered of custom items.
    pub fn items(&self) -> &Memory {
        &self.items
    }

    /// What is remembered of remote writers' series.
    pub(crate) fn write_cache(&self) -> &SeriesCache {
        &self.writers
    }

    /// What is remembered of the lists of series that remote writers sent.
    pub(crate) fn seen_lists(&self) -> &SeenLists {
        &self.lists
    }

    /// Those who listen to what is committed.
    pub fn taps(&self) -> &Taps {
        self.commit.taps()
    }

    /// Which series may come.
    pub fn series(&self) -> &Arc<SeriesTracker> {
        self.commit.series()
    }

    /// Counts what a protocol's decoder refused and did not bring through the door.
    pub fn count_refused(&self, protocol: Protocol, reason: Refusal, samples: u64) {
        if samples > 0 {
            self.metrics().pushes.refused(protocol, reason.as_str(), samples);
        }
    }

    pub(crate) fn metrics(&self) -> &IngestMetrics {
        self.commit.metrics()
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Receipt, IngestError> {
        self.commit.append(batch).await
    }
}
