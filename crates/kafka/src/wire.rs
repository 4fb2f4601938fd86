//! What a record holds.

use metricsd_codec::event::{decode_event, encode_event};
use metricsd_model::MetricsCollected;
use metricsd_ports::{ErrorKind, PortError};
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};

/// The header that names a record's format.
const CONTENT_TYPE: &str = "content-type";

/// What the value of a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// The source document's JSON.
    #[default]
    Json,
    /// `proto/metrics_collected.proto`.
    Protobuf,
}

impl EventFormat {
    /// As the `content-type` header says it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    fn of_content_type(value: &[u8]) -> Option<Self> {
        [Self::Json, Self::Protobuf].into_iter().find(|format| format.content_type().as_bytes() == value)
    }

    /// The headers of every record.
    pub(crate) fn headers(self) -> OwnedHeaders {
        OwnedHeaders::new_with_capacity(1)
            .insert(Header { key: CONTENT_TYPE, value: Some(self.content_type()) })
    }

    /// The value of a record.
    pub(crate) fn encode(self, event: &MetricsCollected) -> Result<Vec<u8>, PortError> {
        match self {
            Self::Json => serde_json::to_vec(event).map_err(|error| {
                PortError::new(ErrorKind::Internal, "an event cannot be written as JSON").caused_by(error)
            }),
            Self::Protobuf => Ok(encode_event(event)),
        }
    }
}

/// Reads a record, in the format that its header names; `default` is for records without one.
pub(crate) fn decode(record: &impl Message, default: EventFormat) -> Result<MetricsCollected, String> {
    let named = record
        .headers()
        .and_then(|headers| headers.iter().find(|header| header.key.eq_ignore_ascii_case(CONTENT_TYPE)))
        .and_then(|header| header.value);
    let format = match named {
        Some(value) => EventFormat::of_content_type(value)
            .ok_or_else(|| format!("unknown content type {:?}", String::from_utf8_lossy(value)))?,
        None => default,
    };
    let value = record.payload().ok_or("a record without a value")?;
    match format {
        EventFormat::Json => serde_json::from_slice(value).map_err(|error| error.to_string()),
        EventFormat::Protobuf => decode_event(value).map_err(|error| error.to_string()),
    }
}
