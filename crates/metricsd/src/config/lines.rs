//! Line protocols as they are configured.

use metricsd_codec::influx::Mapping;
use metricsd_listeners::gateway::GatewayOptions;
use metricsd_listeners::graphite::GraphiteOptions;
use metricsd_listeners::statsd::StatsdOptions;

/// Which line protocols are spoken, and how.
#[derive(Debug, Clone)]
pub(crate) struct LinesConfig {
    /// Over HTTP, kept in the catalogue.
    pub(crate) gateway: Option<GatewayConfig>,
    /// Over HTTP.
    pub(crate) influx: Option<InfluxConfig>,
    /// On a socket of its own.
    pub(crate) graphite: Option<GraphiteOptions>,
    /// On a socket of its own.
    pub(crate) statsd: Option<StatsdOptions>,
}

/// How Influx line protocol is taken.
#[derive(Debug, Clone)]
pub(crate) struct InfluxConfig {
    /// How lines become series.
    pub(crate) mapping: Mapping,
    /// Label that names the database or bucket of a request; empty: none.
    pub(crate) db_label: String,
}

/// How pushed groups are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayConfig {
    /// Times and bounds.
    pub(crate) options: GatewayOptions,
    /// Whether all of them may be removed at once.
    pub(crate) admin: bool,
}
