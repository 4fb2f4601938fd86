//! `POST /api/v1/metrics/custom`: metrics as a JSON list, lines of JSON or protobuf, each judged by itself.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use metricsd_codec::custom::{BodyError, CustomBody, CustomWriter};
use metricsd_ingest::custom::{item_outcome, item_write};
use metricsd_ingest::{Caller, Ingest, ItemOutcome, Protocol, Rejected, WriteFailure, WriteOrigin};
use metricsd_model::{BatchId, Millis, Refusal};
use metricsd_ports::Catalog;
use serde::Serialize;

use crate::Problem;
use crate::api::{AppState, now};
use crate::arrival;
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
    /// In lines of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
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
    let form = Form::of(&headers)?;
    let source_id = source_of(query.as_deref(), &headers, &caller)?;
    let idempotency_key = key_of(&headers)?;
    let (body, slot) = arrival::whole(&shared, &headers, body).await?;
    let limits = BodyLimits::of(api);
    let bytes = body::unpacked(&headers, body, &limits).await?;
    let keyed = idempotency_key.is_some();
    let received_at = now();
    let origin =
        WriteOrigin { key: idempotency_key, caller, ..WriteOrigin::new(source_id, Protocol::Custom) };
    let mut items = read_items(ingest.clone(), bytes, form, received_at).await?;
    let source_id = origin.source_id.clone();
    let prepared =
        ingest.prepare_write(item_write(origin, &mut items, received_at)).await.map_err(refusal)?;
    drop(slot);
    let written = ingest.store_write(prepared).await?;
    let id = written.id.unwrap_or_else(|| BatchId::for_push(&source_id, &[]));
    let job = id.collection_batch_id(written.shared_since.unwrap_or(received_at));
    let mut result = IngestionResult::new(job, item_outcome(&items, &written), form);
    if written.duplicate && written.shared_since.is_some() {
        // The job's counts are those of all that share it.
        result.duplicate = true;
    } else if written.duplicate {
        let counts = (written.received, written.stored);
        result = repeated(&*api.catalog, id, result, counts, keyed).await?;
    }
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

/// How items are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Lines,
    Protobuf,
}

/// Media types of items, the documented one first.
const TYPES: [(&str, Form); 6] = [
    ("application/json", Form::Json),
    ("application/x-ndjson", Form::Lines),
    ("application/ndjson", Form::Lines),
    ("application/jsonl", Form::Lines),
    ("application/x-protobuf", Form::Protobuf),
    ("application/vnd.metricsd.custom+protobuf", Form::Protobuf),
];

impl Form {
    /// As a body's type says; JSON where it says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        body::require_type(headers, &TYPES.map(|(name, _)| name))?;
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = value.split(';').next().unwrap_or("").trim();
        let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(essence));
        Ok(known.map_or(Self::Json, |(_, form)| *form))
    }
}

/// Reads the items of a body, away from the other requests where it is large.
async fn read_items(
    ingest: Ingest,
    bytes: Bytes,
    form: Form,
    received_at: Millis,
) -> Result<CustomBody, Problem> {
    let large = bytes.len() > body::LARGE;
    let read = move || {
        let writer = CustomWriter::new(ingest.items(), received_at, ingest.limits().max_push_items);
        match form {
            Form::Json => writer.json(&bytes),
            Form::Lines => writer.lines(&bytes),
            Form::Protobuf => writer.protobuf(&bytes),
        }
    };
    let read = if large {
        tokio::task::spawn_blocking(read).await.map_err(|_| Problem::internal())?
    } else {
        read()
    };
    read.map_err(|error| match error {
        BodyError::Syntax { .. } | BodyError::Message(_) => Problem::malformed(error.to_string()),
        BodyError::TooManyItems { .. } | BodyError::TooLarge { .. } => {
            Problem::too_large(format!("{error}: send them in several requests"))
        }
    })
}

/// Why nothing of a body was stored.
fn refusal(failure: WriteFailure) -> Problem {
    match failure {
        WriteFailure::Refused(error) => Problem::too_large(format!("{error}: send it in several requests")),
        WriteFailure::Failed(error) => error.into(),
    }
}

impl IngestionResult {
    fn new(batch_id: String, outcome: ItemOutcome, form: Form) -> Self {
        let fault = |item: Rejected| ItemFault {
            index: item.index,
            line: (form == Form::Lines).then_some(item.index + 1),
            reason: item.reason,
            field: item.field,
            message: item.message,
        };
        Self {
            batch_id,
            accepted: outcome.accepted,
            rejected: outcome.rejected,
            duplicate: false,
            errors: outcome.errors.into_iter().map(fault).collect(),
        }
    }
}

/// What a repetition is answered: what the first request stored, not what this one would have. Where its job is gone,
/// this request's own counts must do.
async fn repeated(
    catalog: &dyn Catalog,
    id: BatchId,
    mut result: IngestionResult,
    (asked, storable): (u64, u64),
    keyed: bool,
) -> Result<IngestionResult, Problem> {
    result.duplicate = true;
    let Some(job) = catalog.job_of(id).await? else {
        return Ok(result);
    };
    let (received, stored) = (job.ledger.received, job.ledger.stored);
    result.batch_id = job.job_id;
    if (received, stored) == (asked, storable) {
        return Ok(result);
    }
    if keyed {
        return Err(Problem::conflict(format!(
            "this Idempotency-Key was used for another body: {} stored {stored} of {received} items, of this body {} \
             of {asked} would be; nothing of it was stored, send it under another key",
            result.batch_id, storable
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
