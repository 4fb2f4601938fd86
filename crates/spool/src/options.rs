//! What can be set.

use std::time::Duration;

/// Which batches come first when the store is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those that came first: new ones wait behind them, so that the store and the bus see each source in order.
    #[default]
    Oldest,
    /// New ones: what waits in the spool follows beside them.
    Newest,
}

/// How a spool behaves.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Bytes on disk, at most.
    pub max_bytes: u64,
    /// A file of the log takes no more than about so many.
    pub segment_bytes: u64,
    /// Which batches come first when the store is back.
    pub order: Order,
    /// A store that has not taken a group by then is slow: the group goes to the spool.
    pub after: Duration,
    /// Bytes of one group that is replayed, as they lie on disk.
    pub replay_bytes: usize,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            order: Order::default(),
            after: Duration::from_secs(5),
            replay_bytes: 1 << 20,
        }
    }
}
