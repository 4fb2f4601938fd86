//! All shards as one store.

use std::sync::Arc;

use metricsd_ports::{Catalog, PortError};

use crate::{Placement, Shard};

/// Several databases that are one store.
///
/// A batch lies on the shard of its target as a whole: samples, series, layouts, job and event in one transaction.
/// Questions go to all shards. A shard that does not answer fails a question, or is left out where that is allowed (see
/// [`metricsd_ports::partial`]); it fails an append of which a batch is its own, while the batches of others are stored:
/// appending all of them again is safe.
///
/// What two shards both hold is told once, the first shard's: series that several sources push, and what was stored
/// before the list of shards grew, a batch that was sent again included. Of two different values of one series at one time that
/// is the one of the first shard, since commits of different databases have no order.
pub struct ShardedStore {
    /// Targets and processes.
    pub(crate) home: Arc<dyn Catalog>,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) placement: Placement,
}

impl ShardedStore {
    /// The store of these shards, of which the order counts; `home` keeps targets and processes.
    pub fn new(home: Arc<dyn Catalog>, shards: Vec<Arc<Shard>>) -> Result<Self, PortError> {
        let placement = Placement::new(shards.len())?;
        Ok(Self { home, shards, placement })
    }

    /// Its shards.
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Where batches go.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
}
