//! What listeners count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// `graphite` or `statsd`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: &'static str,
}

/// The same with a reason of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabel {
    protocol: &'static str,
    reason: &'static str,
}

/// Why a line, or what it says, was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It does not read.
    Malformed,
    /// It is longer than a line may be.
    TooLong,
    /// It is no metric: an event or a service check.
    NoMetric,
    /// A rule says so.
    Rule,
    /// The store did not take it in time.
    Backlog,
    /// There are as many series as there may be.
    Series,
    /// Its series is of another type.
    OtherType,
    /// A count that falls.
    Negative,
}

impl Dropped {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NoMetric => "no_metric",
            Self::Rule => "rule",
            Self::Backlog => "backlog",
            Self::Series => "series_limit",
            Self::OtherType => "other_type",
            Self::Negative => "negative_count",
        }
    }
}

/// Why a connection was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// No whole line came for too long.
    Idle,
    /// Another came when there were as many as there may be, and this one had been silent for longest.
    Displaced,
    /// There were as many as there may be, all of them busy.
    Refused,
}

impl Closed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Displaced => "displaced",
            Self::Refused => "refused",
        }
    }
}

/// Counters of all listeners. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    bytes: Family<ProtocolLabel, Counter>,
    lines: Family<ProtocolLabel, Counter>,
    dropped: Family<DropLabel, Counter>,
    lost: Family<ProtocolLabel, Counter>,
    connections: Family<ProtocolLabel, Gauge>,
    closed: Family<DropLabel, Counter>,
    series: Gauge,
    state: Gauge,
}

impl ListenerMetrics {
    /// Makes them and has them shown.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let own = registry.sub_registry_with_prefix("listener");
        own.register("received_bytes", "Bytes heard, by protocol", metrics.bytes.clone());
        own.register("lines", "Lines heard, by protocol", metrics.lines.clone());
        own.register(
            "dropped_lines",
            "Lines of which nothing was taken, by protocol and reason",
            metrics.dropped.clone(),
        );
        own.register(
            "dropped_datagrams",
            "Datagrams that the system had no room for, by protocol, where it tells",
            metrics.lost.clone(),
        );
        own.register(
            "connections",
            "TCP connections that are open, by protocol",
            metrics.connections.clone(),
        );
        own.register(
            "closed_connections",
            "TCP connections that were closed on them, by protocol and reason",
            metrics.closed.clone(),
        );
        let own = registry.sub_registry_with_prefix("statsd");
        own.register("series", "StatsD series that are added up", metrics.series.clone());
        own.register("state_bytes", "About what adding them up takes", metrics.state.clone());
        metrics
    }

    /// Those of one protocol.
    pub(crate) fn of(&self, protocol: &'static str) -> Counted {
        Counted { protocol, all: self.clone() }
    }
}

/// Counters of one protocol.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    protocol: &'static str,
    all: ListenerMetrics,
}

impl Counted {
    fn label(&self) -> ProtocolLabel {
        ProtocolLabel { protocol: self.protocol }
    }

    /// How logs call it.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    pub(crate) fn bytes(&self, bytes: usize) {
        self.all.bytes.get_or_create(&self.label()).inc_by(bytes as u64);
    }

    pub(crate) fn lines(&self, lines: u64) {
        self.all.lines.get_or_create(&self.label()).inc_by(lines);
    }

    pub(crate) fn dropped(&self, reason: Dropped, lines: u64) {
        let label = DropLabel { protocol: self.protocol, reason: reason.as_str() };
        self.all.dropped.get_or_create(&label).inc_by(lines);
    }

    pub(crate) fn lost(&self, datagrams: u64) {
        self.all.lost.get_or_create(&self.label()).inc_by(datagrams);
    }

    pub(crate) fn connections(&self, open: usize) {
        self.all.connections.get_or_create(&self.label()).set(open as i64);
    }

    pub(crate) fn closed(&self, reason: Closed) {
        let label = DropLabel { protocol: self.protocol, reason: reason.as_str() };
        self.all.closed.get_or_create(&label).inc();
    }

    pub(crate) fn state(&self, series: usize, bytes: usize) {
        self.all.series.set(series as i64);
        self.all.state.set(bytes as i64);
    }
}
