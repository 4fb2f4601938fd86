//! Influx line protocol: `/write` as InfluxDB 1 has it, `/api/v2/write` as InfluxDB 2, and what clients ask beside.
//!
//! 204: every line is stored. 400: the lines that the answer names never will be, the others are stored. 503: nothing was
//! acknowledged, send it again.

mod answer;
mod beside;
mod read;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metricsd_codec::influx::{Mapping, Precision};
use metricsd_ingest::{Caller, OwnedWrite, Protocol, WriteError, WriteFailure, WriteOrigin};
use metricsd_model::Refusal;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::Problem;
use crate::api::{AppState, Shared, now};
use crate::arrival;
use crate::body::{self, BodyLimits, LARGE};
use crate::custom::source_from;
use crate::router::{Route, route};
use crate::targets::check_source_id;
use answer::{InfluxError, Version};
use read::Read;

/// Who writes, where nobody says.
const DEFAULT_SOURCE: &str = "influx";

/// How line protocol is taken.
#[derive(Debug, Clone)]
pub struct InfluxOptions {
    /// How lines become series.
    pub mapping: Mapping,
    /// Label that names the database or bucket of a request; empty: none.
    pub db_label: String,
    /// Fields that are texts, which are not stored.
    pub text_fields: Counter,
}

impl InfluxOptions {
    /// Options whose counter is shown.
    pub fn new(mapping: Mapping, db_label: String, registry: &mut Registry) -> Self {
        let text_fields = Counter::default();
        let own = registry.sub_registry_with_prefix("influx");
        own.register(
            "text_fields",
            "Fields of lines that are texts, which are not stored",
            text_fields.clone(),
        );
        Self { mapping, db_label, text_fields }
    }
}

/// The routes; they refuse everything where line protocol is not taken.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route("/write", &["POST"], post(write_v1)).pushes(),
        route("/api/v2/write", &["POST"], post(write_v2)).pushes(),
        route("/ping", &["GET"], get(beside::ping)).open(),
        route("/health", &["GET"], get(beside::health)).open(),
        route("/query", &["GET", "POST"], get(beside::query).post(beside::query)).pushes(),
    ]
}

/// What an address says. Parameters that are not known are ignored, as InfluxDB does.
#[derive(Debug, Default)]
struct Asked {
    db: String,
    precision: Precision,
    source_id: Option<String>,
}

impl Asked {
    fn read(query: Option<&str>, version: Version) -> Result<Self, InfluxError> {
        let mut asked = Self::default();
        let db = if version == Version::V1 { "db" } else { "bucket" };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "precision" => {
                    asked.precision = Precision::from_name(&value).ok_or_else(|| {
                        version.error(
                            StatusCode::BAD_REQUEST,
                            format!("invalid precision {value:?}; expected ns, us, ms, s, m or h"),
                        )
                    })?;
                }
                "source_id" if !value.is_empty() => {
                    check_source_id(&value)
                        .map_err(|why| version.error(StatusCode::BAD_REQUEST, format!("source_id: {why}")))?;
                    asked.source_id = Some(value.into_owned());
                }
                name if name == db => asked.db = value.into_owned(),
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// `POST /write`
async fn write_v1(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InfluxError> {
    write(&shared, Version::V1, caller, query.as_deref(), &headers, body).await
}

/// `POST /api/v2/write`
async fn write_v2(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, InfluxError> {
    write(&shared, Version::V2, caller, query.as_deref(), &headers, body).await
}

/// What is said where line protocol is not taken.
fn off() -> Problem {
    Problem::not_found("line protocol is not taken here; influx.enabled switches it on")
}

async fn write(
    shared: &Arc<Shared>,
    version: Version,
    caller: Caller,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, InfluxError> {
    let api = &shared.api;
    let options = api.lines.influx.clone().ok_or_else(|| version.problem(&off()))?;
    let Some(ingest) = api.ingest.clone() else {
        return Err(version.problem(&Problem::unavailable("this process does not take pushes")));
    };
    let asked = Asked::read(query, version)?;
    let source_id = source_from(asked.source_id.clone(), headers, &caller, DEFAULT_SOURCE)
        .map_err(|problem| version.problem(&problem))?;
    let arrived = arrival::whole(shared, headers, body).await;
    let (body, slot) = arrived.map_err(|problem| version.problem(&problem))?;
    let limits = BodyLimits::of(api);
    let lines = body::unpacked(headers, body, &limits).await.map_err(|problem| version.problem(&problem))?;
    let received_at = now();
    let limit = api.limits.max_write_samples;
    let text_fields = options.text_fields.clone();
    let large = lines.len() > LARGE;
    let read = move || Read::lines(&lines, &options, &asked, received_at, limit);
    let mut read = match large {
        false => read(),
        true => tokio::task::spawn_blocking(read).await.map_err(|_| version.problem(&Problem::internal()))?,
    }
    .map_err(|error| version.error(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
    let origin = WriteOrigin { caller, ..WriteOrigin::new(source_id, Protocol::Influx) };
    let write = OwnedWrite { origin, body: std::mem::take(&mut read.body).into(), received_at };
    let prepared = ingest.prepare_write(write).await.map_err(|failure| version.failure(failure))?;
    drop(slot);
    let written = ingest.store_write(prepared).await.map_err(|error| version.problem(&error.into()))?;
    text_fields.inc_by(read.texts);
    if !written.duplicate {
        ingest.count_refused(Protocol::Influx, Refusal::InvalidValue, read.unreadable());
    }
    match read.faults(&written) {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(faults) => Err(version.refused(&faults, written.stored > 0)),
    }
}

impl Version {
    fn failure(self, failure: WriteFailure) -> InfluxError {
        match failure {
            WriteFailure::Refused(error @ WriteError::TooLarge { .. }) => {
                self.error(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            WriteFailure::Refused(error) => self.error(StatusCode::BAD_REQUEST, error.to_string()),
            WriteFailure::Failed(error) => self.problem(&error.into()),
        }
    }
}
