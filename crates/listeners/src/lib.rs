//! Pushes that do not come over HTTP: Graphite plaintext and StatsD over TCP and UDP.
//!
//! A line's way: `tcp` and `udp` hear it within their limits, [`graphite`] brings it to the door at once (small parts
//! are joined by `joiner`), [`statsd`] adds it up and brings the sums at every flush.
//!
//! Beside them [`gateway`]: pushed groups that stand until they are removed, whose samples are brought again and again.

mod connections;
mod drops;
mod lines;
mod tcp;
mod udp;

mod joiner;

pub mod graphite;
pub mod statsd;

pub mod gateway;

pub mod limits;
pub mod metrics;
mod start;

pub use limits::ListenLimits;
pub use metrics::ListenerMetrics;
pub use start::{ListenError, Listening};

/// The wall clock.
fn now() -> metricsd_model::Millis {
    chrono::Utc::now().timestamp_millis()
}
