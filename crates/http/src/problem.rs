//! The one error of every route: an RFC 9457 problem document.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_ingest::IngestError;
use metricsd_ports::{ErrorKind, PortError};
use metricsd_promql::{QueryError, QueryErrorKind};
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, error, warn};

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What kinds of problem there are; each is a `type` of the documents, and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is not JSON.
    MalformedBody,
    /// A field or a parameter is wrong; `errors` names it.
    InvalidRequest,
    /// There is no such thing.
    NotFound,
    /// There is such a thing, but not for this method.
    MethodNotAllowed,
    /// At odds with what is stored; `differences` may say how.
    Conflict,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body's type or encoding is not understood.
    UnsupportedMediaType,
    /// More than a limit allows.
    LimitExceeded,
    /// Nobody knows who asks.
    Unauthorized,
    /// Not allowed to who asks.
    Forbidden,
    /// A quota of who asks is used up; come back later.
    QuotaExceeded,
    /// Too much at once; come back later.
    Overloaded,
    /// Something that is needed is away; come back later.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// A fault of metricsd's own.
    Internal,
}

impl ProblemKind {
    /// The last part of `type`, and the title.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::MalformedBody => ("malformed-body", "the body does not read"),
            Self::InvalidRequest => ("invalid-request", "the request is not valid"),
            Self::NotFound => ("not-found", "there is no such resource"),
            Self::MethodNotAllowed => ("method-not-allowed", "the method is not allowed here"),
            Self::Conflict => ("conflict", "the request is at odds with what is stored"),
            Self::BodyTooLarge => ("body-too-large", "the body is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", "the body's type is not supported"),
            Self::LimitExceeded => ("limit-exceeded", "the request exceeds a limit"),
            Self::Unauthorized => ("unauthorized", "a token is needed"),
            Self::QuotaExceeded => ("quota-exceeded", "a quota is used up"),
            Self::Forbidden => ("forbidden", "this is not allowed"),
            Self::Overloaded => ("overloaded", "metricsd has too much to do"),
            Self::Unavailable => ("unavailable", "a needed service is not available"),
            Self::Timeout => ("timeout", "there was no answer in time"),
            Self::Internal => ("internal", "metricsd failed"),
        }
    }
}

/// One wrong field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its path, such as `scrape_config.scrape_timeout` or `filters[0].name`.
    pub field: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// One setting in which a request and what is stored differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its path.
    pub field: String,
    /// As it is stored; secrets are masked.
    pub existing: Value,
    /// As it was asked for; secrets are masked.
    pub requested: Value,
}

/// A problem document, and the status and headers that go with it.
#[derive(Debug, Clone)]
pub struct Problem(Box<Document>);

#[derive(Debug, Clone, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// What callers are told to wait where nothing better is known, in seconds.
const RETRY_AFTER: u64 = 5;

impl Problem {
    /// A problem with a sentence for the one who asked.
    pub fn new(status: StatusCode, kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (name, title) = kind.describe();
        Self(Box::new(Document {
            kind: format!("urn:metricsd:problem:{name}"),
            title,
            status,
            detail: detail.into(),
            instance: None,
            errors: Vec::new(),
            differences: Vec::new(),
            retry_after: None,
        }))
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ProblemKind::NotFound, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ProblemKind::Conflict, detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemKind::BodyTooLarge, detail)
    }

    /// 415.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ProblemKind::UnsupportedMediaType, detail)
    }

    /// 400: the body does not read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ProblemKind::MalformedBody, detail)
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Unavailable, detail).retry_after(RETRY_AFTER)
    }

    /// 400: parameters of the address.
    pub fn parameters(errors: Vec<FieldError>) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, errors)
    }

    /// 422: fields of a body that reads.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, errors)
    }

    fn invalid(status: StatusCode, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.field.is_empty() => only.message.clone(),
            [only] => format!("{}: {}", only.field, only.message),
            many => format!("{} fields are wrong; see errors", many.len()),
        };
        let mut problem = Self::new(status, ProblemKind::InvalidRequest, detail);
        problem.0.errors = errors;
        problem
    }

    /// The same with what differs.
    #[must_use]
    pub fn with_differences(mut self, differences: Vec<Difference>) -> Self {
        self.0.differences = differences;
        self
    }

    /// The same with seconds after which trying again may help.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence for the one who asked.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether it says that something took too long.
    pub(crate) fn is_timeout(&self) -> bool {
        self.0.kind.ends_with(ProblemKind::Timeout.describe().0)
    }

    /// Seconds after which trying again may help.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after
    }

    /// The same with the path of the request that it is about.
    pub(crate) fn about(mut self, path: &str) -> Self {
        self.0.instance = Some(path.to_owned());
        self
    }
}

impl IntoResponse for Problem {
    /// The problem also travels in the response's extensions, so that the outermost layer can say what it is about.
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"metricsd\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<PortError> for Problem {
    /// Tells what the caller can act on, and logs the rest: answers never show a store's own words, except where they
    /// name a limit or a wrong request.
    fn from(error: PortError) -> Self {
        let chain = error.chain();
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                warn!(error = chain, "a port is not available");
                let told = error.told();
                Self::unavailable(
                    told.unwrap_or("a service that metricsd needs for this does not answer; try again"),
                )
            }
            ErrorKind::Limit => {
                debug!(error = chain, "a limit was reached");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, ProblemKind::LimitExceeded, error.to_string())
            }
            ErrorKind::Invalid => {
                debug!(error = chain, "a port refused a request");
                Self::new(StatusCode::BAD_REQUEST, ProblemKind::InvalidRequest, error.to_string())
            }
            ErrorKind::Conflict => {
                debug!(error = chain, "a conflict");
                Self::conflict("something else changed this at the same time; look again")
            }
            ErrorKind::Internal => {
                error!(error = chain, "a port failed");
                Self::internal()
            }
        }
    }
}

impl Problem {
    /// 500, without a word on why: that is in the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ProblemKind::Internal,
            "a fault of metricsd's own; its log says more",
        )
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let chain = error.chain();
        let place = error.place().map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
        let detail = format!("{place}{error}");
        match error.kind() {
            QueryErrorKind::BadData => {
                Self::parameters(vec![FieldError { field: "query".to_owned(), message: detail }])
            }
            QueryErrorKind::Limit => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, ProblemKind::LimitExceeded, detail)
            }
            QueryErrorKind::Timeout => {
                warn!(error = chain, "a query took too long");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Timeout, detail)
                    .retry_after(RETRY_AFTER)
            }
            QueryErrorKind::Unavailable => {
                warn!(error = chain, "a query found the store away");
                Self::unavailable(detail)
            }
            QueryErrorKind::Execution => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, ProblemKind::InvalidRequest, detail)
            }
            QueryErrorKind::Cancelled => Self::unavailable(detail),
            QueryErrorKind::Internal => {
                error!(error = chain, "a query failed");
                Self::internal()
            }
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match &error {
            IngestError::Overloaded { retry_after } => {
                let seconds = retry_after.as_secs().max(1);
                let detail = "more waits for the store than may; nothing of this request was acknowledged, send it again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Overloaded, detail)
                    .retry_after(seconds)
            }
            IngestError::Denied(denied) => Self::from(denied),
            IngestError::Closed => Self::unavailable("metricsd is shutting down; send this again"),
            IngestError::Store { message, retryable: true } => {
                warn!(error = message, "a push was not stored");
                Self::unavailable(
                    "the store does not answer; nothing of this request was acknowledged, send it again",
                )
            }
            IngestError::Store { message, retryable: false } => {
                error!(error = message, "a push was not stored");
                Self::internal()
            }
        }
    }
}
