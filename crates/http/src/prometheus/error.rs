//! Errors as Prometheus words them: `{"status":"error","errorType":"…","error":"…"}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_ports::{ErrorKind, PortError};
use metricsd_promql::{QueryError, QueryErrorKind};
use tracing::{debug, error, warn};

use super::json;
use crate::Problem;

/// What went wrong, as clients tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query cannot be carried out, or exceeds a limit.
    Execution,
    /// It took too long.
    Timeout,
    /// Nobody waits for the answer any more.
    Cancelled,
    /// Something that is needed is away.
    Unavailable,
    /// There is no such thing.
    NotFound,
    /// A fault of ours or of the store.
    Internal,
}

impl ErrorType {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Cancelled => "canceled",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // What servers agree on where a client has gone; no standard names it.
            Self::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One error; its message is fit for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    kind: ErrorType,
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

/// What callers are told to wait where nothing better is known, in seconds.
const RETRY_AFTER: u64 = 5;

impl ApiError {
    pub(crate) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        let status = kind.status();
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        Self { kind, status, message: message.into(), retry_after }
    }

    /// 400.
    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorType::BadData, message)
    }

    /// 400: one parameter is wrong.
    pub(crate) fn invalid(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {message}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(self.message.len() + 64);
        body.extend_from_slice(b"{\"status\":\"error\",\"errorType\":");
        json::string(&mut body, self.kind.as_str());
        body.extend_from_slice(b",\"error\":");
        json::string(&mut body, &self.message);
        body.push(b'}');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(json::CONTENT_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    /// A query that is wrong is an error of the parameter `query`.
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        let chain = error.chain();
        match error.kind() {
            QueryErrorKind::BadData => Self::invalid("query", message),
            QueryErrorKind::Timeout => {
                warn!(error = chain, "a query took too long");
                Self::new(ErrorType::Timeout, message)
            }
            QueryErrorKind::Unavailable => {
                warn!(error = chain, "a query found the store away");
                Self::new(ErrorType::Unavailable, message)
            }
            QueryErrorKind::Limit => Self::new(ErrorType::Execution, message),
            QueryErrorKind::Execution => {
                debug!(error = chain, "a query cannot be carried out");
                Self::new(ErrorType::Execution, message)
            }
            QueryErrorKind::Cancelled => Self::new(ErrorType::Cancelled, message),
            QueryErrorKind::Internal => {
                error!(error = chain, "a query failed");
                Self::new(ErrorType::Internal, message)
            }
        }
    }
}

impl From<PortError> for ApiError {
    /// As [`Problem`] does: a store's own words are for the log.
    fn from(error: PortError) -> Self {
        let chain = error.chain();
        match error.kind() {
            ErrorKind::Limit => Self::new(ErrorType::Execution, error.to_string()),
            ErrorKind::Invalid => Self::bad_data(error.to_string()),
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                warn!(error = chain, "a look-up found the store away");
                let told = error.told().unwrap_or("the store does not answer; try again");
                Self::new(ErrorType::Unavailable, told)
            }
            ErrorKind::Conflict | ErrorKind::Internal => {
                error!(error = chain, "a look-up failed");
                Self::new(ErrorType::Internal, "the store could not answer")
            }
        }
    }
}

impl From<&Problem> for ApiError {
    /// Of what is told the same everywhere: a body too large or too slow, too many requests, a panic. Keeps the status.
    fn from(problem: &Problem) -> Self {
        let status = problem.status();
        let kind = match status {
            StatusCode::NOT_FOUND => ErrorType::NotFound,
            StatusCode::SERVICE_UNAVAILABLE if problem.is_timeout() => ErrorType::Timeout,
            StatusCode::SERVICE_UNAVAILABLE => ErrorType::Unavailable,
            status if status.is_client_error() => ErrorType::BadData,
            _ => ErrorType::Internal,
        };
        Self {
            kind,
            status,
            message: problem.detail().to_owned(),
            retry_after: problem.retry_after_seconds(),
        }
    }
}
