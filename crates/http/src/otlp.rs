//! `POST /v1/metrics` and `POST /api/v1/otlp/v1/metrics`: OTLP over HTTP, as protobuf or JSON.
//!
//! 200 with `ExportMetricsServiceResponse`, which counts the data points that were refused; 4xx and 5xx with
//! `google.rpc.Status`. Both are written as the request is. Only 429 and 503 are worth sending again.

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_codec::otlp::answer::{Code, ExportResponse, Status};
use metricsd_ingest::{Caller, OtlpExport, OtlpFailure, OtlpForm, OtlpOutcome, Protocol, WriteOrigin};

use crate::Problem;
use crate::api::{AppState, Shared, now};
use crate::arrival;
use crate::body::{self, BodyLimits};
use crate::custom::source_from;
use crate::params::Params;
use crate::targets::check_source_id;

/// Who sends, where nobody says.
const DEFAULT_SOURCE: &str = "otlp";

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The handler.
pub(crate) async fn export(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match form_of(&headers) {
        Ok(form) => form,
        Err(problem) => return refused(OtlpForm::Json, &problem),
    };
    match take(&shared, caller, query.as_deref(), &headers, form, body).await {
        Ok(outcome) => accepted(form, outcome),
        Err(problem) => refused(form, &problem),
    }
}

async fn take(
    shared: &Shared,
    caller: Caller,
    query: Option<&str>,
    headers: &HeaderMap,
    form: OtlpForm,
    body: Body,
) -> Result<OtlpOutcome, Problem> {
    let api = &shared.api;
    let Some(door) = &api.otlp else {
        return Err(Problem::unavailable("this process does not take OTLP"));
    };
    let origin = WriteOrigin::new(source_of(query, headers, &caller)?, Protocol::Otlp);
    let origin = WriteOrigin { caller, ..origin };
    let (body, slot) = arrival::whole(shared, headers, body).await?;
    let limits = BodyLimits::of(api);
    let body = body::unpacked(headers, body, &limits).await?;
    let prepared = door.prepare(OtlpExport { origin, form, body, received_at: now() }).await?;
    drop(slot);
    Ok(door.store(prepared).await?)
}

impl From<OtlpFailure> for Problem {
    fn from(failure: OtlpFailure) -> Self {
        match failure {
            OtlpFailure::Malformed(text) => Self::malformed(text),
            OtlpFailure::TooLarge(text) => Self::too_large(text),
            OtlpFailure::Failed(error) => error.into(),
        }
    }
}

/// A body without a type is taken for protobuf, which every sender can write.
fn form_of(headers: &HeaderMap) -> Result<OtlpForm, Problem> {
    body::require_type(headers, &[PROTOBUF, JSON])?;
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    Ok(if essence.eq_ignore_ascii_case(JSON) { OtlpForm::Json } else { OtlpForm::Protobuf })
}

fn source_of(query: Option<&str>, headers: &HeaderMap, caller: &Caller) -> Result<String, Problem> {
    let mut params = Params::new(query);
    let asked = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
    params.finish()?;
    source_from(asked, headers, caller, DEFAULT_SOURCE)
}

fn accepted(form: OtlpForm, outcome: OtlpOutcome) -> Response {
    let answer = if outcome.message.is_empty() {
        ExportResponse::whole()
    } else {
        ExportResponse::partial(outcome.rejected, outcome.message)
    };
    written(form, StatusCode::OK, answer.to_bytes(), || answer.to_json().to_string())
}

/// A problem as OTLP has it.
fn refused(form: OtlpForm, problem: &Problem) -> Response {
    let code = match problem.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    };
    let seconds = problem.retry_after_seconds();
    let status = Status::new(code, problem.detail(), seconds);
    let mut response = written(form, problem.status(), status.to_bytes(), || status.to_json().to_string());
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn written(form: OtlpForm, status: StatusCode, protobuf: Vec<u8>, json: impl Fn() -> String) -> Response {
    let (kind, body) = match form {
        OtlpForm::Protobuf => (PROTOBUF, protobuf),
        OtlpForm::Json => (JSON, json().into_bytes()),
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
