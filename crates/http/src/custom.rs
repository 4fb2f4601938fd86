//! `POST /api/v1/metrics/custom`: a list of metrics, each judged by itself.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metricsd_codec::custom::{BodyError, CustomLimits, CustomMetric, ItemError, decode};
use metricsd_ingest::push::content_of;
use metricsd_ingest::{Caller, Limits, Push, PushSample, Pushed, Rejected};
use metricsd_model::{CollectionMethod, Millis, Refusal, SampleValue};
use metricsd_ports::Catalog;
use serde::Serialize;

use crate::Problem;
use crate::api::{AppState, now};
use crate::body::{self, BodyLimits};
use crate::params::Params;
use crate::problem::FieldError;
use crate::targets::check_source_id;

/// Who pushes, where the address does not say.
const SOURCE_HEADER: &str = "x-source-id";

/// Who pushes, where nobody says.
const DEFAULT_SOURCE: &str = "custom";

/// Names a request, so that sending it again changes nothing.
const KEY_HEADER: &str = "idempotency-key";

/// Bytes of such a name.
const MAX_KEY: usize = 200;

/// Rejected items that an answer describes; all are counted.
const MAX_ERRORS: usize = 100;

/// What became of a push: the source document's `IngestionResult`.
#[derive(Serialize)]
struct IngestionResult {
    batch_id: String,
    accepted: u64,
    rejected: u64,
    duplicate: bool,
    errors: Vec<ItemFault>,
}

#[derive(Serialize)]
struct ItemFault {
    index: usize,
    reason: Refusal,
    field: String,
    message: String,
}

/// The handler.
pub(crate) async fn push(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let Some(ingest) = &api.ingest else {
        return Err(Problem::unavailable("this process does not take pushes"));
    };
    body::require_type(&headers, &["application/json"])?;
    let source_id = source_of(query.as_deref(), &headers, &caller)?;
    let idempotency_key = key_of(&headers)?;
    // Bodies wait in the socket rather than in memory.
    let slot = shared.pushes.acquire().await;
    let limits = BodyLimits {
        received: api.limits.max_body_bytes,
        unpacked: api.limits.max_decompressed_bytes,
        patience: body::patience(api.settings.request_timeout),
    };
    let bytes = body::read(&headers, body, limits).await?;
    let read = read_push(bytes, source_id, idempotency_key, api.limits.clone()).await?;
    drop(slot);
    let keyed = read.idempotency_key.is_some();
    let pushed = ingest.push(Push { caller, ..read }).await?;
    let result = if pushed.duplicate {
        repeated(&*api.catalog, pushed, keyed).await?
    } else {
        IngestionResult::from(pushed)
    };
    Ok(answer(result))
}

fn source_of(query: Option<&str>, headers: &HeaderMap, caller: &Caller) -> Result<String, Problem> {
    let mut params = Params::new(query);
    let asked = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
    params.finish()?;
    source_from(asked, headers, caller, DEFAULT_SOURCE)
}

/// Who pushes: what the address says, else the header, else the source that the token is bound to, else `default`.
pub(crate) fn source_from(
    asked: Option<String>,
    headers: &HeaderMap,
    caller: &Caller,
    default: &str,
) -> Result<String, Problem> {
    let asked = match asked {
        Some(source_id) => Some(source_id),
        None => headers.get(SOURCE_HEADER).map(source_of_header).transpose()?,
    };
    Ok(caller.source(asked)?.unwrap_or_else(|| default.to_owned()))
}

fn source_of_header(value: &HeaderValue) -> Result<String, Problem> {
    let read = match value.to_str() {
        Ok(text) => check_source_id(text).map(|()| text.to_owned()),
        Err(_) => Err("must be visible ASCII characters".to_owned()),
    };
    read.map_err(|message| header_problem("X-Source-Id", message))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    match value.to_str().ok().filter(visible) {
        Some(text) if (1..=MAX_KEY).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => {
            Err(header_problem("Idempotency-Key", format!("must be 1 to {MAX_KEY} visible ASCII characters")))
        }
    }
}

fn header_problem(name: &str, message: String) -> Problem {
    Problem::parameters(vec![FieldError { field: name.to_owned(), message }])
}

/// Decodes a body, away from the other requests where it is large.
async fn read_push(
    bytes: Bytes,
    source_id: String,
    idempotency_key: Option<String>,
    limits: Arc<Limits>,
) -> Result<Push, Problem> {
    let large = bytes.len() > body::LARGE;
    let read = move || to_push(&bytes, source_id, idempotency_key, &limits);
    if large {
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(Problem::internal()))
    } else {
        read()
    }
}

fn to_push(
    bytes: &[u8],
    source_id: String,
    idempotency_key: Option<String>,
    limits: &Limits,
) -> Result<Push, Problem> {
    let received_at = now();
    let items =
        decode(bytes, &CustomLimits { max_items: limits.max_push_items }).map_err(|error| match error {
            BodyError::Syntax { .. } => Problem::malformed(error.to_string()),
            BodyError::TooManyItems { .. } => {
                Problem::too_large(format!("{error}: send them in several requests"))
            }
        })?;
    let (mut samples, mut unreadable) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Ok(metric) => samples.push(to_sample(index, metric)),
            Err(error) => unreadable.push(to_rejected(error)),
        }
    }
    let timeless = samples.iter().any(|sample| sample.timestamp.is_none());
    Ok(Push {
        source_id,
        target_id: String::new(),
        method: CollectionMethod::PushGateway,
        idempotency_key,
        content: content(bytes, timeless, received_at),
        received_at,
        caller: Caller::anonymous(),
        samples,
        unreadable,
    })
}

/// What makes a body without a key the same as another. Where items have no time of their own, the time of arrival
/// is part of what they say: a gauge that is pushed twice with one value is two samples, not a repetition.
fn content(bytes: &[u8], timeless: bool, received_at: Millis) -> [u8; 16] {
    let content = content_of(bytes);
    if timeless { content_of(&[content.as_slice(), &received_at.to_le_bytes()].concat()) } else { content }
}

fn to_sample(index: usize, metric: CustomMetric) -> PushSample {
    PushSample {
        index,
        name: metric.name,
        labels: metric.labels,
        value: SampleValue::from_float(metric.value),
        timestamp: metric.timestamp,
        metric_type: metric.metric_type,
        source_type: metric.source,
        help: metric.help_text,
        unit: None,
    }
}

fn to_rejected(error: ItemError) -> Rejected {
    Rejected { index: error.index, reason: error.refusal, field: error.field, message: error.message }
}

impl From<Pushed> for IngestionResult {
    fn from(pushed: Pushed) -> Self {
        let rejected = pushed.rejected.len() as u64;
        let fault = |item: Rejected| ItemFault {
            index: item.index,
            reason: item.reason,
            field: item.field,
            message: item.message,
        };
        Self {
            batch_id: pushed.batch_id,
            accepted: pushed.accepted,
            rejected,
            duplicate: pushed.duplicate,
            errors: pushed.rejected.into_iter().take(MAX_ERRORS).map(fault).collect(),
        }
    }
}

/// What a repetition is answered: what the first request stored, not what this one would have. Where its job is gone,
/// this request's own counts must do.
async fn repeated(catalog: &dyn Catalog, pushed: Pushed, keyed: bool) -> Result<IngestionResult, Problem> {
    let job = catalog.job_of(pushed.id).await?;
    let mut result = IngestionResult::from(pushed);
    let Some(job) = job else {
        return Ok(result);
    };
    let (received, stored) = (job.ledger.received, job.ledger.stored);
    let asked = result.accepted + result.rejected;
    result.batch_id = job.job_id;
    if (received, stored) == (asked, result.accepted) {
        return Ok(result);
    }
    if keyed {
        return Err(Problem::conflict(format!(
            "this Idempotency-Key was used for another body: {} stored {stored} of {received} items, of this body {} \
             of {asked} would be; nothing of it was stored, send it under another key",
            result.batch_id, result.accepted
        )));
    }
    // The same body, but its items have become too old since; what is wrong with them now was not wrong then.
    result.accepted = stored;
    result.rejected = received.saturating_sub(stored);
    result.errors.clear();
    Ok(result)
}

/// 200 when something was stored or nothing was sent; 422 when everything was refused.
fn answer(result: IngestionResult) -> Response {
    let refused = result.accepted == 0 && result.rejected > 0;
    let status = if refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    (status, Json(result)).into_response()
}
