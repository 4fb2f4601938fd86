//! `/api/v1/metrics/stream`: items in over one long request or a WebSocket (`input`), samples out as they commit
//! (`output`).

mod input;
mod lines;
mod output;
mod socket;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use metricsd_ingest::Caller;
use metricsd_ingest::stream::{StreamError, Streams};
use metricsd_ports::Right;
use serde::Serialize;

use crate::access::{caller_of, metered_stream};
use crate::api::{AppState, Shared};
use crate::cors;
use crate::custom::source_from;
use crate::params::Params;
use crate::targets::check_source_id;
use crate::{Problem, ProblemKind};

/// Names the stream, where the address does not.
const STREAM_HEADER: &str = "x-stream-id";

/// Who pushes, where nobody says.
const DEFAULT_SOURCE: &str = "custom";

/// What a client says of its stream.
struct Asked {
    /// Who asks, and may push.
    caller: Caller,
    source_id: String,
    stream_id: Option<String>,
    /// Number of the first item.
    from: u64,
}

impl Asked {
    fn read(mut params: Params, headers: &HeaderMap, caller: Caller) -> Result<Self, Problem> {
        let source = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
        let stream_id = params.one("stream_id");
        let from = params.parsed("from", |text| match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err("expected the number of an item, from 1".to_owned()),
        });
        params.finish()?;
        let header =
            headers.get(STREAM_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self {
            source_id: source_from(source, headers, &caller, DEFAULT_SOURCE)?,
            stream_id: stream_id.or(header),
            from: from.unwrap_or(1),
            caller,
        })
    }
}

fn streams(shared: &Shared) -> Result<&Arc<Streams>, Problem> {
    shared.api.streams.as_ref().ok_or_else(|| Problem::unavailable("this process does not take pushes"))
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooMany { .. } => {
                let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, ProblemKind::Overloaded, error.to_string()).retry_after(5)
            }
            StreamError::Name => Self::parameters(vec![crate::problem::FieldError {
                field: "stream_id".to_owned(),
                message: error.to_string(),
            }]),
            StreamError::Ingest(error) => error.into(),
            StreamError::Position(_) => {
                Self::unavailable("it is not known where the stream is").retry_after(5)
            }
            other => Self::conflict(other.to_string()),
        }
    }
}

/// `POST`: items in a body that goes on, acknowledged in an answer that goes on.
pub(crate) async fn post(
    State(shared): AppState,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = caller_of(&shared, &headers, Right::Push)?;
    let form = input::Form::of(&headers)?;
    let asked = Asked::read(Params::new(query.as_deref()), &headers, caller)?;
    let body = metered_stream(&shared, &headers, body, &asked.caller)?;
    input::answer(&shared, asked, form, body).await
}

/// `GET`: samples out where `match[]` says which; else items in over a WebSocket.
pub(crate) async fn get(
    State(shared): AppState,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let selectors = params.all("match[]");
    if socket.is_ok() {
        cors::check_socket(&shared, &headers)?;
    }
    if !selectors.is_empty() {
        let caller = caller_of(&shared, &headers, Right::Read)?;
        params.finish()?;
        return output::answer(shared, caller, &selectors, socket.ok());
    }
    let caller = caller_of(&shared, &headers, Right::Push)?;
    let Ok(socket) = socket else {
        params.error("match[]", "missing: say which series, or open a WebSocket to send items");
        params.finish()?;
        return Err(Problem::internal());
    };
    let asked = Asked::read(params, &headers, caller)?;
    socket::answer(shared, asked, socket).await
}

#[derive(Serialize)]
struct PositionAnswer<'a> {
    stream: &'a str,
    source_id: &'a str,
    position: u64,
}

/// `GET …/{stream_id}/position`.
pub(crate) async fn position(
    State(shared): AppState,
    Path(stream_id): Path<String>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let source = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
    params.finish()?;
    let source_id = source_from(source, &headers, &caller, DEFAULT_SOURCE)?;
    let position = streams(&shared)?.position(&source_id, &stream_id).await?;
    Ok(Json(PositionAnswer { stream: &stream_id, source_id: &source_id, position }).into_response())
}
