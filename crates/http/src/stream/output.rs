//! Samples as they commit, as server-sent events or over a WebSocket.
//!
//! A reader is told what this process commits. One that does not keep up misses batches, and is told how many samples
//! they held before it gets the next.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use metricsd_ingest::Caller;
use metricsd_ingest::after::metrics_json;
use metricsd_ingest::tap::Listener;
use metricsd_model::{Batch, HISTOGRAM_MARKER_BITS, LabelSet, LayoutId, Matcher, SampleValue};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::end_of_reading;
use crate::api::Shared;
use crate::problem::FieldError;
use crate::{Problem, ProblemKind};

/// A comment goes out after this much silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a reader of a WebSocket may take for one message.
const PATIENCE: Duration = Duration::from_secs(60);

/// Samples of one message.
const MAX_SAMPLES: usize = 1_000;

/// Lists of series of which it is remembered which match.
const MAX_LISTS: usize = 1_000;

const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// A reader: what it wants, and its place among those allowed.
struct Reader {
    listener: Listener,
    selectors: Vec<Vec<Matcher>>,
    lists: HashMap<LayoutId, Arc<[u32]>>,
    /// Messages of the batch before that are still to be sent.
    ready: std::vec::IntoIter<Told>,
    _slot: OwnedSemaphorePermit,
}

/// What a reader is told.
enum Told {
    /// A list of metrics, as the documented JSON.
    Samples(String),
    /// Samples that it missed.
    Dropped(u64),
}

pub(super) fn answer(
    shared: Arc<Shared>,
    caller: Caller,
    selectors: &[String],
    socket: Option<WebSocketUpgrade>,
) -> Result<Response, Problem> {
    let Some(ingest) = &shared.api.ingest else {
        return Err(Problem::unavailable("this process stores nothing that it could tell of"));
    };
    let selectors = selectors.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    let Ok(slot) = shared.streams.clone().try_acquire_owned() else {
        let limit = shared.api.settings.max_event_streams;
        let detail = format!("{limit} event streams are open, which is as many as may");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, ProblemKind::Overloaded, detail).retry_after(5));
    };
    let reader = Reader {
        listener: ingest.taps().listen(),
        selectors,
        lists: HashMap::new(),
        ready: Vec::new().into_iter(),
        _slot: slot,
    };
    let ended = end_of_reading(&shared, caller);
    if let Some(socket) = socket {
        return Ok(socket.on_upgrade(move |socket| async move {
            tokio::select! {
                () = serve(reader, socket) => {}
                () = ended => {}
            }
        }));
    }
    let hello = stream::once(async { Event::default().comment("samples follow as they commit") });
    let told = stream::unfold(reader, |mut reader| async move {
        let told = reader.next().await?;
        Some((told.event(), reader))
    });
    let body = hello.chain(told.take_until(ended)).map(Ok::<_, Infallible>);
    let answer = Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("still here"));
    Ok(([UNBUFFERED], answer).into_response())
}

fn parse(text: &str) -> Result<Vec<Matcher>, Problem> {
    metricsd_promql::parse_selector(text).map_err(|error| {
        Problem::parameters(vec![FieldError { field: "match[]".to_owned(), message: error.to_string() }])
    })
}

/// A WebSocket: texts of the same, until the reader closes it.
async fn serve(mut reader: Reader, mut socket: WebSocket) {
    loop {
        let told = tokio::select! {
            told = reader.next() => told,
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let Some(told) = told else { return };
        match tokio::time::timeout(PATIENCE, socket.send(Message::Text(told.text().into()))).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

impl Told {
    fn event(self) -> Event {
        match self {
            Self::Samples(text) => Event::default().event("samples").data(text),
            Self::Dropped(samples) => {
                Event::default().event("dropped").data(json!({"samples": samples}).to_string())
            }
        }
    }

    fn text(self) -> String {
        match self {
            Self::Samples(text) => format!("{{\"samples\":{text}}}"),
            Self::Dropped(samples) => json!({"dropped": samples}).to_string(),
        }
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.ready.next() {
                return Some(told);
            }
            let batch = self.listener.next().await?;
            let mut ready = self.told(&batch);
            let dropped = self.listener.take_dropped();
            if dropped > 0 {
                ready.insert(0, Told::Dropped(dropped));
            }
            self.ready = ready.into_iter();
        }
    }

    /// What of a batch matches. Neither native histograms nor the ends of series are told.
    fn told(&mut self, batch: &Batch) -> Vec<Told> {
        let mut told = Vec::new();
        for frame in &batch.frames {
            let wanted = match frame.layout.id {
                Some(id) => match self.lists.get(&id) {
                    Some(known) => known.clone(),
                    None => {
                        let wanted: Arc<[u32]> = self.wanted(frame).into();
                        if self.lists.len() >= MAX_LISTS {
                            self.lists.clear();
                        }
                        self.lists.insert(id, wanted.clone());
                        wanted
                    }
                },
                None => self.wanted(frame).into(),
            };
            let samples = wanted.iter().filter_map(|column| {
                let column = *column as usize;
                let (series, value) = (frame.layout.series.get(column)?, frame.values.get(column)?);
                let value = SampleValue::from_float(*value).as_float()?;
                let float = value.to_bits() != HISTOGRAM_MARKER_BITS;
                float.then(|| (&**series, value, frame.timestamp(column)))
            });
            let samples: Vec<_> = samples.collect();
            told.extend(
                samples.chunks(MAX_SAMPLES).map(|part| Told::Samples(metrics_json(part.iter().copied()))),
            );
        }
        told
    }

    /// Columns whose series match one of the selectors.
    fn wanted(&self, frame: &metricsd_model::Frame) -> Vec<u32> {
        let matches = |labels: &LabelSet| {
            self.selectors.iter().any(|all| all.iter().all(|matcher| matcher.matches_labels(labels)))
        };
        let columns = frame.layout.series.iter().enumerate();
        columns.filter(|(_, series)| matches(&series.labels)).map(|(column, _)| column as u32).collect()
    }
}
