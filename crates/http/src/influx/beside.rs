//! What clients of InfluxDB ask before they write.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::{InfluxError, Version};
use super::off;
use crate::api::AppState;
use crate::body::{self, BodyLimits};

/// The version of InfluxDB whose protocol clients may expect.
const SPOKEN: &str = "1.8.10";

/// Bytes of a statement's body.
const MAX_STATEMENT: usize = 64 << 10;

/// `GET /ping`
pub(super) async fn ping(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Response, InfluxError> {
    if shared.api.lines.influx.is_none() {
        return Err(Version::V1.problem(&off()));
    }
    let headers = [("x-influxdb-version", SPOKEN), ("x-influxdb-build", "metricsd")];
    let mut pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let verbose =
        pairs.any(|(name, value)| name == "verbose" && !matches!(value.as_ref(), "" | "0" | "false"));
    Ok(match verbose {
        true => (headers, Json(json!({"version": SPOKEN}))).into_response(),
        false => (StatusCode::NO_CONTENT, headers).into_response(),
    })
}

/// `GET /health`
pub(super) async fn health(State(shared): AppState) -> Result<Response, InfluxError> {
    if shared.api.lines.influx.is_none() {
        return Err(Version::V2.problem(&off()));
    }
    let body = json!({
        "name": "metricsd", "message": "ready for writes", "status": "pass", "checks": [],
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(Json(body).into_response())
}

/// `GET` and `POST /query`: statements that prepare for writing do nothing, and say so as InfluxDB does.
pub(super) async fn query(
    State(shared): AppState,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InfluxError> {
    if shared.api.lines.influx.is_none() {
        return Err(Version::V1.problem(&off()));
    }
    let limits = BodyLimits::small(&shared.api, MAX_STATEMENT);
    let form = body::read(&headers, body, limits).await.map_err(|problem| Version::V1.problem(&problem))?;
    let in_address = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let in_body = url::form_urlencoded::parse(&form);
    let statement =
        in_address.chain(in_body).find(|(name, _)| name == "q").map(|(_, text)| text.into_owned());
    let Some(statement) = statement else {
        return Err(Version::V1.error(StatusCode::BAD_REQUEST, "missing required parameter \"q\""));
    };
    let words: Vec<String> = statement.split_whitespace().take(2).map(str::to_ascii_uppercase).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim_end_matches(';')).collect();
    let result = match words.as_slice() {
        ["CREATE" | "ALTER", "DATABASE" | "RETENTION"] => json!({"statement_id": 0}),
        ["SHOW", "DATABASES"] => json!({
            "statement_id": 0,
            "series": [{"name": "databases", "columns": ["name"], "values": [["metricsd"]]}]
        }),
        _ => {
            let message = "this statement is not supported; ask in PromQL at /api/v1/query";
            return Err(Version::V1.error(StatusCode::BAD_REQUEST, message));
        }
    };
    Ok(Json(json!({"results": [result]})).into_response())
}
