//! `GET /api/v1/metrics/events`: `metrics_collected` as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use metricsd_ingest::Caller;
use metricsd_model::MetricsCollected;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::end_of_reading;
use crate::api::{AppState, Shared};
use crate::params::Params;
use crate::targets::check_source_id;
use crate::{Problem, ProblemKind};

/// A comment goes out after this much silence, so that nobody between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells nginx not to hold events back.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Held by an open stream: its place among those allowed, and its count.
struct Open {
    _slot: OwnedSemaphorePermit,
    shared: Arc<Shared>,
}

impl Open {
    fn new(slot: OwnedSemaphorePermit, shared: Arc<Shared>) -> Self {
        shared.api.metrics.streams.inc();
        Self { _slot: slot, shared }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.api.metrics.streams.dec();
    }
}

/// The handler.
pub(crate) async fn stream(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let source_id = params.parsed("source_id", |text| check_source_id(text).map(|()| text.to_owned()));
    params.finish()?;
    let Ok(slot) = shared.streams.clone().try_acquire_owned() else {
        let limit = shared.api.settings.max_event_streams;
        let detail = format!("{limit} event streams are open, which is as many as may");
        return Err(
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Overloaded, detail).retry_after(5)
        );
    };
    let events = shared.api.events.subscribe().await?;
    let open = Open::new(slot, shared.clone());
    // The first comment sends the head of the answer: a reader knows that it will miss nothing from now on.
    let hello = stream::once(async { Event::default().comment("metrics_collected events follow") });
    let wanted = events.filter_map(move |event| {
        let _ = &open;
        let wanted = source_id.as_ref().is_none_or(|source| event.metrics_collected.source_id == *source);
        futures::future::ready(wanted.then(|| to_sse(&event)).flatten())
    });
    let until_ended = wanted.take_until(end_of_reading(&shared, caller));
    let body = hello.chain(until_ended).map(Ok::<_, Infallible>);
    let answer = Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("still here"));
    Ok(([UNBUFFERED], answer).into_response())
}

fn to_sse(event: &MetricsCollected) -> Option<Event> {
    let id = event.event_id.to_string();
    Event::default().event("metrics_collected").id(id).json_data(event).ok()
}
