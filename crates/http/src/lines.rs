//! Which protocols of others are spoken beside our own.

use crate::InfluxOptions;

/// What is absent is refused.
#[derive(Debug, Clone, Default)]
pub struct LineProtocols {
    /// Influx line protocol.
    pub influx: Option<InfluxOptions>,
}
