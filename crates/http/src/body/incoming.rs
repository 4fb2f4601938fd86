//! A body as it comes, chunk by chunk.

use axum::body::{Body, BodyDataStream, Bytes};
use bytes::BytesMut;
use futures::StreamExt;
use metricsd_ingest::Denied;

use super::{BodyLimits, Refused};
use crate::Problem;

/// Room that is made for a body because it says that it is so large, before it has arrived.
const TRUSTED: usize = 256 << 10;

/// What has come of a body. One that comes at once is not copied.
pub(crate) struct Incoming {
    chunks: BodyDataStream,
    first: Bytes,
    rest: BytesMut,
    /// Bytes that there is room to be made for, once there is more than the first chunk.
    room: usize,
}

impl Incoming {
    pub(crate) fn new(body: Body) -> Self {
        Self { chunks: body.into_data_stream(), first: Bytes::new(), rest: BytesMut::new(), room: 0 }
    }

    /// Believes what a body says of its length, which is no more than may be.
    pub(crate) fn expect(&mut self, declared: Option<usize>) {
        self.room = declared.unwrap_or(0).min(TRUSTED);
    }

    pub(crate) fn length(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Takes in what comes next; `false` at the end. A body that breaks off, or is longer than may be, is refused and counted.
    pub(crate) async fn more(&mut self, limits: &BodyLimits) -> Result<bool, Problem> {
        let Some(chunk) = self.chunks.next().await else { return Ok(false) };
        let chunk = chunk.map_err(|error| broken(&error, limits))?;
        if self.length() + chunk.len() > limits.received {
            return Err(limits.told(Refused::TooLarge(limits.received)));
        }
        if self.length() == 0 {
            self.first = chunk;
        } else {
            self.rest.reserve(self.room.saturating_sub(self.rest.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            self.rest.extend_from_slice(&chunk);
        }
        Ok(true)
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// A body that does not come to its end: its sender has gone, or may send no more.
fn broken(error: &axum::Error, limits: &BodyLimits) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return denied.into();
        }
        cause = error.source();
    }
    limits.told(Refused::BrokeOff)
}
