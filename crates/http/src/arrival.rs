//! How pushes arrive: what is slow to come holds up nobody else.
//!
//! Only so many pushes are read, unpacked and prepared at once ([`Shared::pushes`]). A body gets its slot when it has come as a
//! whole, so that a sender that dribbles holds none. Until then small ones wait in memory, bounded by the number of
//! requests, and larger ones have a place of their own ([`Shared::large`]) from the byte on that makes them so, which they
//! hold until they are through, and for which they have to come at a pace.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use futures::StreamExt;
use metricsd_ingest::arrival::{self, AT_NO_PACE, SMALL};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::api::Shared;
use crate::body;
use crate::{Problem, ProblemKind};

/// A push's place among those at work.
pub(crate) struct Slot<'a> {
    _push: Option<SemaphorePermit<'a>>,
    _large: Option<SemaphorePermit<'a>>,
}

/// A push that is all there.
pub(crate) struct Arrived<'a> {
    body: Body,
    large: Option<SemaphorePermit<'a>>,
}

impl<'a> Arrived<'a> {
    /// Waits until it may be worked on.
    pub(crate) async fn admitted(self, shared: &'a Shared) -> (Body, Slot<'a>) {
        let push = shared.pushes.acquire().await.ok();
        (self.body, Slot { _push: push, _large: self.large })
    }
}

/// Waits until a push has arrived and may be worked on.
pub(crate) async fn whole<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Body, Slot<'a>), Problem> {
    Ok(arrived(shared, headers, body).await?.admitted(shared).await)
}

/// Waits until a push has arrived. One that is larger than may be is not read to its end: whoever reads it on refuses it.
pub(crate) async fn arrived<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<Arrived<'a>, Problem> {
    let limit = shared.api.limits.max_body_bytes;
    let patience = body::patience(shared.api.settings.request_timeout);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit) {
        return Ok(Arrived { body, large: None });
    }
    let began = Instant::now();
    let mut arriving = Arriving::new(body);
    let small = async {
        while arriving.length() <= SMALL.min(limit) {
            if !arriving.more().await? {
                return Ok(true);
            }
        }
        Ok::<_, Problem>(arriving.length() > limit)
    };
    let there = timeout_at(began + patience, small).await.map_err(|_| body::too_slow(patience))??;
    let mut large = None;
    if !there {
        large = shared.large.acquire().await.ok();
        let began = Instant::now();
        arriving.reserve(declared);
        while arriving.length() <= limit {
            let due = arriving.due(began).min(began + patience);
            if !timeout_at(due, arriving.more()).await.map_err(|_| at_no_pace(patience, began))?? {
                break;
            }
        }
    }
    Ok(Arrived { body: Body::from(arriving.into_bytes()), large })
}

fn at_no_pace(patience: Duration, began: Instant) -> Problem {
    if began.elapsed() >= patience {
        return body::too_slow(patience);
    }
    let detail = format!("the body {AT_NO_PACE}");
    Problem::new(StatusCode::REQUEST_TIMEOUT, ProblemKind::Timeout, detail)
}

/// What has come of a body. One that comes at once is not copied.
struct Arriving {
    chunks: BodyDataStream,
    first: Bytes,
    rest: BytesMut,
}

impl Arriving {
    fn new(body: Body) -> Self {
        Self { chunks: body.into_data_stream(), first: Bytes::new(), rest: BytesMut::new() }
    }

    fn length(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Takes in what comes next; `false` at the end.
    async fn more(&mut self) -> Result<bool, Problem> {
        let Some(chunk) = self.chunks.next().await else { return Ok(false) };
        let chunk = chunk.map_err(|error| body::broken(&error))?;
        if self.length() == 0 {
            self.first = chunk;
        } else {
            self.join();
            self.rest.extend_from_slice(&chunk);
        }
        Ok(true)
    }

    fn join(&mut self) {
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            self.rest.extend_from_slice(&first);
        }
    }

    /// Makes room for what a body says that it is, which is no more than may be.
    fn reserve(&mut self, declared: Option<usize>) {
        self.join();
        self.rest.reserve(declared.unwrap_or(0).min(body::TRUSTED).saturating_sub(self.rest.len()));
    }

    /// When the next of it is due, of what has had a place since `began`.
    fn due(&self, began: Instant) -> Instant {
        arrival::due(began, self.length())
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}
