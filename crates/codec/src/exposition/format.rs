//! The formats of pages.

/// A format of metrics; [`crate::negotiation`] finds it by the `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, versions 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics text, versions 0.0.1 and 1.0.0.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`, which [`crate::metric_family`] reads.
    Protobuf,
}

/// What [`crate::negotiation::accept_header`] says by default.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,\
                          */*;q=0.2";
