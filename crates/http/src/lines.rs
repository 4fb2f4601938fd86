//! Which protocols of others are spoken beside our own.

use crate::{GatewayAccess, InfluxOptions};

/// What is absent is refused.
#[derive(Debug, Clone, Default)]
pub struct LineProtocols {
    /// Influx line protocol.
    pub influx: Option<InfluxOptions>,
    /// What a Pushgateway takes.
    pub gateway: Option<GatewayAccess>,
}
