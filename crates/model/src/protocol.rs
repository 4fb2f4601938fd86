//! What a push spoke.

use crate::CollectionMethod;
use crate::series::names;

/// What a push spoke. A closed set, small enough to be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Remote write 1.0.
    RemoteWrite,
    /// Remote write 2.0.
    RemoteWrite2,
    /// Our own lists of metrics: JSON, NDJSON, protobuf.
    Custom,
    /// OpenTelemetry's.
    Otlp,
    /// The Pushgateway's.
    Pushgateway,
    /// Influx line protocol.
    Influx,
    /// Graphite plaintext.
    Graphite,
    /// StatsD and its dialects.
    Statsd,
    /// A stream that a client keeps open.
    Stream,
    /// A file that was uploaded.
    Upload,
}

names!(Protocol {
    RemoteWrite = "remote_write",
    RemoteWrite2 = "remote_write_2",
    Custom = "custom",
    Otlp = "otlp",
    Pushgateway = "pushgateway",
    Influx = "influx",
    Graphite = "graphite",
    Statsd = "statsd",
    Stream = "stream",
    Upload = "upload",
});

impl Protocol {
    /// How its collections are called.
    pub fn method(self) -> CollectionMethod {
        match self {
            Self::Stream => CollectionMethod::Streaming,
            Self::Upload => CollectionMethod::BatchUpload,
            _ => CollectionMethod::PushGateway,
        }
    }
}
