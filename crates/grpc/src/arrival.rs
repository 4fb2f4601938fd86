//! How messages arrive: a sender that dribbles holds up nobody else.
//!
//! Only so many messages are read and prepared at once. A call gets its slot when its body has come as a whole; until then
//! small ones wait in memory, and larger ones have a place of their own from the byte on that makes them so, for which
//! they have to come at a pace.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use metricsd_ingest::arrival::{AT_NO_PACE, RefusedBodies, SMALL, due};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;

use crate::status::unavailable;

/// Calls that may be under way at once.
const MAX_CALLS: usize = 1_024;

/// Bytes before a message.
const HEAD: usize = 5;

/// The places of one service. Clones share them.
#[derive(Clone)]
pub(crate) struct Places {
    calls: Arc<Semaphore>,
    large: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
    refused: RefusedBodies,
}

/// A message's place among those at work.
pub(crate) struct Slot {
    _call: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
    _push: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// For so many messages at work at once.
    pub(crate) fn new(pushes: usize, refused: RefusedBodies) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { calls: semaphore(MAX_CALLS), large: semaphore(pushes), pushes: semaphore(pushes), refused }
    }

    /// Waits until a request has arrived and may be worked on. One that is larger than may be is not read to its end: whoever
    /// reads it on refuses it.
    pub(crate) async fn whole(
        self,
        request: http::Request<Body>,
        max_message: usize,
    ) -> Result<(http::Request<Body>, Slot), Status> {
        let Ok(call) = self.calls.clone().try_acquire_owned() else {
            return Err(unavailable("more calls are under way than may", Duration::from_secs(1)));
        };
        let (head, mut body) = request.into_parts();
        let limit = max_message.saturating_add(HEAD);
        let (mut read, mut large, mut began) = (BytesMut::new(), None, Instant::now());
        while read.len() <= limit {
            if large.is_none() && read.len() > SMALL {
                large = self.large.clone().acquire_owned().await.ok();
                began = Instant::now();
            }
            let frame = match &large {
                None => body.frame().await,
                Some(_) => {
                    let next = timeout_at(due(began, read.len()), body.frame()).await;
                    next.map_err(|_| self.too_slow())?
                }
            };
            let Some(frame) = frame else { break };
            if let Ok(data) = frame?.into_data() {
                read.extend_from_slice(&data);
            }
        }
        let push = self.pushes.acquire_owned().await.ok();
        let body = Body::new(Full::<Bytes>::new(read.freeze()));
        Ok((http::Request::from_parts(head, body), Slot { _call: call, _large: large, _push: push }))
    }

    fn too_slow(&self) -> Status {
        self.refused.count("too_slow");
        Status::deadline_exceeded(format!("the message {AT_NO_PACE}"))
    }
}
