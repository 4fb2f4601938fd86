//! Remote write 2.0: brought into the form of 1.0, stored by the same door, and answered with what was written, by kind.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metricsd_codec::remote_write2::{Bounds, Start, Starts, TranscodeError, transcode};
use metricsd_ingest::{Caller, Ingest, OwnedWrite, Protocol, WriteFailure, WriteOrigin, Written};
use tracing::warn;

use super::{Plain, answer, check_encoding, source_of, unpacked};
use crate::Problem;
use crate::api::{Shared, now};
use crate::arrival;

const SAMPLES: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Parameter of the address: whether beginnings of series become samples of nothing.
const OPTION: &str = "created_timestamp_zero";

/// Texts of one request for each sample that it may hold.
const SYMBOLS_PER_SAMPLE: usize = 4;

/// Bodies above this are brought into the other form on a thread of their own.
const LARGE: usize = 32 << 10;

/// What was written, by kind.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

/// Answers a request; whatever is answered says what was written.
pub(super) async fn write(
    shared: &Arc<Shared>,
    ingest: &Ingest,
    caller: Caller,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let (mut response, counts) = match store(shared, ingest, caller, query, headers, body).await {
        Ok((written, counts)) => (answer(&written), counts),
        Err(refused) => (refused.into_response(), Counts::default()),
    };
    let out = response.headers_mut();
    out.insert(SAMPLES, HeaderValue::from(counts.samples));
    out.insert(HISTOGRAMS, HeaderValue::from(counts.histograms));
    out.insert(EXEMPLARS, HeaderValue::from(counts.exemplars));
    response
}

async fn store(
    shared: &Arc<Shared>,
    ingest: &Ingest,
    caller: Caller,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Written, Counts), Plain> {
    check_encoding(headers)?;
    let source_id = source_of(query, headers, &caller)?;
    let origin = WriteOrigin { caller, ..WriteOrigin::new(source_id, Protocol::RemoteWrite2) };
    let told = wants_starts(query)?;
    let (packed, slot) = arrival::whole(shared, headers, body).await?;
    let limits = &shared.api.limits;
    let request = unpacked(shared, packed).await?;
    let bounds = Bounds {
        max_symbols: limits.max_write_samples.saturating_mul(SYMBOLS_PER_SAMPLE),
        max_bytes: limits.max_decompressed_bytes,
    };
    let read = decoded(shared.clone(), request, bounds, told.then(|| origin.source_id.clone())).await?;
    let received_at = now();
    let write = OwnedWrite { origin: origin.clone(), body: read.body, received_at };
    let prepared = ingest.prepare_write(write).await?;
    drop(slot);
    let written = ingest.store_write(prepared).await.map_err(Problem::from)?;
    let counts = Counts {
        samples: (written.stored + written.repeated).saturating_sub(written.histograms),
        histograms: written.histograms,
        exemplars: read.exemplars.saturating_sub(written.exemplars_dropped),
    };
    if !read.starts.is_empty() {
        note_starts(shared, ingest, origin, read.zeros, read.starts).await;
    }
    Ok((written, counts))
}

/// What a request becomes.
struct Read {
    body: Bytes,
    exemplars: u64,
    /// A body with a sample of nothing for each of `starts`.
    zeros: Bytes,
    starts: Vec<Start>,
}

async fn decoded(
    shared: Arc<Shared>,
    request: Bytes,
    bounds: Bounds,
    source_id: Option<String>,
) -> Result<Read, Plain> {
    let large = request.len() > LARGE;
    let read = move || -> Result<Read, TranscodeError> {
        let Some(source_id) = source_id else {
            let found = transcode(&request, bounds, None)?;
            return Ok(Read {
                body: found.body.into(),
                exemplars: found.exemplars,
                zeros: Bytes::new(),
                starts: Vec::new(),
            });
        };
        let mut known = shared.starts.reader(&source_id);
        let mut unknown = |labels: &[u8], start| known.is_news(labels, start);
        let mut starts = Starts::new(&mut unknown);
        let found = transcode(&request, bounds, Some(&mut starts))?;
        let (starts, zeros) = starts.finish();
        Ok(Read { body: found.body.into(), exemplars: found.exemplars, zeros: zeros.into(), starts })
    };
    let found = if large {
        tokio::task::spawn_blocking(read).await.map_err(|_| Problem::internal())?
    } else {
        read()
    };
    found.map_err(|error| match error {
        TranscodeError::Damaged(_) => Plain::new(StatusCode::BAD_REQUEST, error.to_string()),
        TranscodeError::TooManySymbols { .. } | TranscodeError::TooLarge { .. } => {
            Plain::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
        }
    })
}

/// Stores that series began. They are a collection of their own, so that the counts of the request are those of its
/// samples. One that is too long ago to be stored is not told again; where the store is away, the next request tells it.
async fn note_starts(shared: &Shared, ingest: &Ingest, origin: WriteOrigin, body: Bytes, starts: Vec<Start>) {
    let source_id = origin.source_id.clone();
    match ingest.write(OwnedWrite { origin, body, received_at: now() }).await {
        Ok(_) => shared.starts.note(&source_id, &starts),
        Err(WriteFailure::Refused(error)) => {
            warn!(source = source_id, %error, "beginnings of series were not stored");
        }
        Err(WriteFailure::Failed(error)) => {
            warn!(source = source_id, %error, "beginnings of series were not stored; they are told again");
        }
    }
}

fn wants_starts(query: Option<&str>) -> Result<bool, Plain> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match pairs.find(|(name, _)| name == OPTION) {
        None => Ok(false),
        Some((_, value)) => match value.as_ref() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Plain::new(StatusCode::BAD_REQUEST, format!("{OPTION}: expected true or false"))),
        },
    }
}
