//! What a deployment may choose about its PostgreSQL store.

use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use metricsd_store::frames::FRAME_CACHE_BYTES;

/// Settings of a [`crate::PostgresStore`], with the defaults of a single disk.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections of this process, four at least: a third for appends, outbox and catalogue, the rest for queries,
    /// which do not hold those up. One more listens for changes of the catalogue.
    pub max_connections: u32,
    /// How long a call waits for a connection, a lost server included.
    pub acquire_timeout: Duration,
    /// How long the server may work on one statement.
    pub statement_timeout: Duration,
    /// Width of a chunk of `frames`. A change applies to chunks that are still to be made.
    pub chunk_interval: Duration,
    /// Hash partitions of `frames` by source; 1 is none. Decided when the tables are made.
    pub space_partitions: u16,
    /// Series that are remembered as written, so that they are not looked up again.
    pub cached_series: usize,
    /// Columns of layouts that are remembered, as written and again as read.
    pub cached_columns: usize,
    /// Bytes of decoded frames that are remembered for readers; 0 is none.
    pub frame_cache_bytes: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 8,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            chunk_interval: Duration::from_secs(3_600),
            space_partitions: 1,
            cached_series: 3_000_000,
            cached_columns: 8_000_000,
            frame_cache_bytes: FRAME_CACHE_BYTES,
        }
    }
}

impl PostgresOptions {
    pub(crate) fn check(&self) -> Result<(), PortError> {
        let refuse = |message: &str| Err(PortError::new(ErrorKind::Invalid, message));
        if self.max_connections == 0 {
            return refuse("max_connections must be at least 1");
        }
        if self.acquire_timeout.is_zero() || self.statement_timeout.as_millis() == 0 {
            return refuse("acquire_timeout and statement_timeout must be above zero");
        }
        if self.chunk_interval < Duration::from_secs(60)
            || self.chunk_interval > Duration::from_secs(366 * 86_400)
        {
            return refuse("chunk_interval must be between one minute and one year");
        }
        if self.space_partitions == 0 || self.space_partitions > 1_024 {
            return refuse("space_partitions must be between 1 and 1024");
        }
        Ok(())
    }

    /// Connections for appends, those for outbox and catalogue, and those for queries.
    pub(crate) fn split(&self) -> (u32, u32, u32) {
        let own = self.max_connections.div_ceil(3).max(3);
        (2, own - 2, self.max_connections.saturating_sub(own).max(2))
    }

    /// No call lasts longer: a wait for a connection and a few statements.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.acquire_timeout.saturating_add(self.statement_timeout.saturating_mul(2))
    }
}
