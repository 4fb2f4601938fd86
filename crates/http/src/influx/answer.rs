//! Errors in the shapes that clients of InfluxDB read.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::read::Faults;
use crate::Problem;

/// Lines that an answer describes.
const MAX_FAULTS: usize = 10;

/// Characters of the header that repeats an error.
const MAX_HEADER: usize = 400;

/// Whose shape errors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// `{"error": …}`
    V1,
    /// `{"code": …, "message": …}`
    V2,
}

/// An error in the shape of a version.
#[derive(Debug)]
pub(super) struct InfluxError {
    version: Version,
    status: StatusCode,
    message: String,
    /// The first line that is at fault.
    line: Option<usize>,
    retry_after: Option<u64>,
}

impl Version {
    pub(super) fn error(self, status: StatusCode, message: impl Into<String>) -> InfluxError {
        InfluxError { version: self, status, message: message.into(), line: None, retry_after: None }
    }

    pub(super) fn problem(self, problem: &Problem) -> InfluxError {
        let retry_after = problem.retry_after_seconds();
        InfluxError { retry_after, ..self.error(problem.status(), problem.detail()) }
    }

    /// Lines were refused; whether others are stored.
    pub(super) fn refused(self, faults: &Faults, partial: bool) -> InfluxError {
        let shown = faults.described.iter().take(MAX_FAULTS);
        let left = faults.count - shown.len() as u64;
        let mut message = shown.map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
        if left > 0 {
            message.push_str(&format!("; and {left} more"));
        }
        if partial {
            message = format!("partial write: {message} dropped={}", faults.count);
        }
        let line = faults.described.first().map(|(line, _)| *line);
        InfluxError { line, ..self.error(StatusCode::BAD_REQUEST, message) }
    }
}

impl InfluxError {
    fn code(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "invalid",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not found",
            StatusCode::PAYLOAD_TOO_LARGE => "request too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported media type",
            StatusCode::TOO_MANY_REQUESTS => "too many requests",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal error",
        }
    }
}

impl IntoResponse for InfluxError {
    fn into_response(self) -> Response {
        let body = match (self.version, self.line) {
            (Version::V1, _) => json!({"error": self.message}),
            (Version::V2, None) => json!({"code": self.code(), "message": self.message}),
            (Version::V2, Some(line)) => json!({"code": self.code(), "message": self.message, "line": line}),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        let plain = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
        let shown: String = self.message.chars().take(MAX_HEADER).map(plain).collect();
        if let Ok(value) = HeaderValue::from_str(&shown) {
            headers.insert("x-influxdb-error", value);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
