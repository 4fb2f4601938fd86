//! `POST /api/v1/write`: remote write 1.0 and 2.0, answered so that senders do the right thing.
//!
//! 204: everything is stored. 400: some samples never will be, the others are stored; senders go on. 413 and 415
//! likewise: sending the same again cannot help. 503 with `Retry-After`: nothing was acknowledged, send it again.

mod second;
mod starts;

use std::fmt::Write;

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metricsd_codec::remote_write::{BlockError, unpack};
use metricsd_ingest::{Caller, OwnedWrite, Protocol, WriteError, WriteFailure, WriteOrigin, Written};

use super::AppState;
use crate::Problem;
use crate::api::{Shared, now};
use crate::arrival;
use crate::body::BodyLimits;
use crate::custom::source_from;
use crate::targets::check_source_id;

/// Who writes, where nobody says.
const DEFAULT_SOURCE: &str = "remote_write";

/// The media type of the bodies.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// The message of remote write 1.0, as a parameter of the media type.
const MESSAGE: &str = "prometheus.WriteRequest";

/// The message of remote write 2.0.
const MESSAGE_2: &str = "io.prometheus.write.v2.Request";

/// Samples that were not stored and that an answer describes; all are counted.
const MAX_FAULTS: usize = 10;

/// Packed bodies above this are unpacked on a thread of their own, so that they do not hold up others.
const LARGE: usize = 32 << 10;

pub(crate) use starts::KnownStarts;

/// The handler.
pub(crate) async fn write(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Plain> {
    let Some(ingest) = shared.api.ingest.clone() else {
        return Err(Problem::unavailable("this process does not take remote writes").into());
    };
    if version_of(&headers)? == Version::Second {
        return Ok(second::write(&shared, &ingest, caller, query.as_deref(), &headers, body).await);
    }
    check_encoding(&headers)?;
    let source_id = source_of(query.as_deref(), &headers, &caller)?;
    let (packed, slot) = arrival::whole(&shared, &headers, body).await?;
    let body = unpacked(&shared, packed).await?;
    let origin = WriteOrigin { caller, ..WriteOrigin::new(source_id, Protocol::RemoteWrite) };
    let prepared = ingest.prepare_write(OwnedWrite { origin, body, received_at: now() }).await?;
    drop(slot);
    let written = ingest.store_write(prepared).await.map_err(Problem::from)?;
    Ok(answer(&written))
}

/// An error as a line of text: senders log the first line of what they are answered.
#[derive(Debug)]
pub(crate) struct Plain {
    status: StatusCode,
    text: String,
    retry_after: Option<u64>,
}

impl Plain {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after: None }
    }
}

impl From<Problem> for Plain {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            text: problem.detail().to_owned(),
            retry_after: problem.retry_after_seconds(),
        }
    }
}

impl From<BlockError> for Plain {
    fn from(error: BlockError) -> Self {
        let status = match error {
            BlockError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BlockError::Damaged(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WriteError> for Plain {
    fn from(error: WriteError) -> Self {
        let status = match error {
            WriteError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            WriteError::Damaged(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WriteFailure> for Plain {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Refused(error) => error.into(),
            WriteFailure::Failed(error) => Problem::from(error).into(),
        }
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Which message a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

/// A body without a type is taken for remote write 1.0, as Prometheus takes it.
fn version_of(headers: &HeaderMap) -> Result<Version, Plain> {
    let mut version = Version::First;
    let Some(text) = header_text(headers, header::CONTENT_TYPE) else {
        return Ok(version);
    };
    let refused = |found: &str| {
        let shown: String = found.chars().take(80).collect();
        let text = format!(
            "Content-Type is {shown:?}; supported are {PROTOBUF};proto={MESSAGE} (remote write 1.0) and \
             {PROTOBUF};proto={MESSAGE_2} (remote write 2.0)"
        );
        Plain::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    };
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(PROTOBUF)) {
        return Err(refused(&text));
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.trim().eq_ignore_ascii_case("proto") {
            version = match value.trim().trim_matches('"') {
                MESSAGE => Version::First,
                MESSAGE_2 => Version::Second,
                _ => return Err(refused(&text)),
            };
        }
    }
    Ok(version)
}

/// Remote write knows one encoding; a body that names none is taken for that.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Plain> {
    match header_text(headers, header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.trim().eq_ignore_ascii_case("snappy") => {
            let shown: String = encoding.chars().take(60).collect();
            let text = format!("Content-Encoding is {shown:?}; supported is snappy");
            Err(Plain::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
        _ => Ok(()),
    }
}

/// A header's text; `None` where it is absent or empty.
pub(super) fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|text| !text.is_empty())
}

/// Parameters of the address that are not known are ignored, as on the other routes of Prometheus' API.
fn source_of(query: Option<&str>, headers: &HeaderMap, caller: &Caller) -> Result<String, Plain> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let asked = pairs.find(|(name, value)| name == "source_id" && !value.is_empty());
    if let Some((_, source_id)) = &asked {
        check_source_id(source_id)
            .map_err(|message| Plain::new(StatusCode::BAD_REQUEST, format!("source_id: {message}")))?;
    }
    let asked = asked.map(|(_, source_id)| source_id.into_owned());
    Ok(source_from(asked, headers, caller, DEFAULT_SOURCE)?)
}

/// Unpacks a body; the limit holds before anything is allocated. Its ratio needs no bound: no block of snappy unfolds to more
/// than 22 times its size.
async fn unpacked(shared: &Shared, packed: Bytes) -> Result<Bytes, Plain> {
    let large = packed.len() > LARGE;
    let limits = BodyLimits::of(&shared.api);
    let limit = limits.unpacked;
    let read = move || unpack(&packed, limit);
    let body = if large {
        tokio::task::spawn_blocking(read).await.map_err(|_| Problem::internal())?
    } else {
        read()
    };
    let body = body.inspect_err(|error| match error {
        BlockError::TooLarge { .. } => limits.count("too_large_unpacked"),
        BlockError::Damaged(_) => limits.count("damaged"),
    });
    Ok(body?.into())
}

fn answer(written: &Written) -> Response {
    if written.is_whole() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let refused: u64 = written.refused.values().sum();
    let mut text = format!("{refused} of {} samples were refused (", written.received);
    for (place, (reason, count)) in written.refused.iter().enumerate() {
        let _ = write!(text, "{}{reason} {count}", if place > 0 { ", " } else { "" });
    }
    let _ = write!(text, "), {} are stored", written.stored);
    let described = written.faults.iter().take(MAX_FAULTS);
    let left = refused - described.len() as u64;
    for fault in described {
        let _ = write!(text, "; {}", fault.message);
    }
    if left > 0 {
        let _ = write!(text, "; and {left} more");
    }
    Plain::new(StatusCode::BAD_REQUEST, text).into_response()
}
