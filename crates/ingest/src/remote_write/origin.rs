//! Who writes, and by which protocol.

use std::collections::BTreeMap;

use metricsd_model::{CollectionMethod, MetricSource, Refusal};

use crate::Caller;

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

impl Protocol {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RemoteWrite => "remote_write",
            Self::RemoteWrite2 => "remote_write_2",
            Self::Custom => "custom",
            Self::Otlp => "otlp",
            Self::Pushgateway => "pushgateway",
            Self::Influx => "influx",
            Self::Graphite => "graphite",
            Self::Statsd => "statsd",
            Self::Stream => "stream",
            Self::Upload => "upload",
        }
    }

    /// Whether the same sample twice in one request is a fault, even with the same value: its contract says so.
    pub(crate) fn refuses_repeats(self) -> bool {
        self == Self::Custom
    }

    /// How its collections are called.
    fn method(self) -> CollectionMethod {
        match self {
            Self::Stream => CollectionMethod::Streaming,
            Self::Upload => CollectionMethod::BatchUpload,
            _ => CollectionMethod::PushGateway,
        }
    }
}

/// Who writes, and how: what the samples themselves do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOrigin {
    /// Who the metrics belong to; at most 100 characters.
    pub source_id: String,
    /// Target that the push speaks for; usually empty.
    pub target_id: String,
    /// Kind of source of new series.
    pub source_type: MetricSource,
    /// What it spoke.
    pub protocol: Protocol,
    /// How the collection is called.
    pub method: CollectionMethod,
    /// The client's name for this push, such as an `Idempotency-Key`; absent: the body's content decides whether it came
    /// before.
    pub key: Option<String>,
    /// Who was let in to write it: its quotas are used up by it.
    pub caller: Caller,
    /// What the protocol's decoder refused already.
    pub unreadable: Unreadable,
}

/// What of a push is not in its body, since it did not read. It is counted with the rest of the collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreadable {
    /// How many samples, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// What was wrong with the first, for the collection's job.
    pub first: Option<String>,
}

impl WriteOrigin {
    /// An application that speaks for itself, without a key.
    pub fn new(source_id: impl Into<String>, protocol: Protocol) -> Self {
        Self {
            source_id: source_id.into(),
            target_id: String::new(),
            source_type: MetricSource::Application,
            protocol,
            method: protocol.method(),
            key: None,
            unreadable: Unreadable::default(),
            caller: Caller::anonymous(),
        }
    }
}
