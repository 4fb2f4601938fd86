//! What a client of a stream is told, a line of JSON each.

use std::time::Duration;

use metricsd_ingest::stream::{Ack, StreamError};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct AckLine {
    ack: u64,
    stored: u64,
    refused: u64,
    repeated: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorOfItem>,
}

#[derive(Serialize)]
struct ErrorOfItem {
    number: u64,
    reason: metricsd_model::Refusal,
    field: String,
    message: String,
}

/// The first line: where the stream is.
pub(super) fn begin(stream_id: Option<&str>, position: u64) -> String {
    json!({"stream": stream_id, "position": position}).to_string()
}

/// What was committed.
pub(super) fn ack(ack: Ack) -> String {
    let errors = ack.errors.into_iter().map(|error| ErrorOfItem {
        number: error.number,
        reason: error.error.reason,
        field: error.error.field,
        message: error.error.message,
    });
    let line = AckLine {
        ack: ack.last,
        stored: ack.stored,
        refused: ack.refused,
        repeated: ack.repeated,
        errors: errors.collect(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// The last line of a stream that does not end well.
pub(super) fn error(error: &StreamError) -> String {
    json!({"error": shown(error), "retry": error.is_retryable()}).to_string()
}

/// A client that sends nothing, or reads nothing.
pub(super) fn silent(idle: Duration) -> StreamError {
    let silent = metricsd_model::format_duration(idle);
    StreamError::Unreadable(format!("nothing went on for {silent}"))
}

/// What is wrong inside is for the log.
fn shown(error: &StreamError) -> String {
    match error {
        StreamError::Ingest(metricsd_ingest::IngestError::Store { retryable: true, .. }) => {
            "the store is away; open the stream again".to_owned()
        }
        StreamError::Position(_) => "it is not known where the stream is; open it again".to_owned(),
        other => other.to_string(),
    }
}
