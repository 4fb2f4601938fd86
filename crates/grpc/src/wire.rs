//! How much arrived, so that what unfolds out of all proportion is refused.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use metricsd_ingest::arrival::RefusedBodies;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;

/// Bytes that messages may unfold to without a look at the ratio.
const FREE: u64 = 1 << 20;

/// Bytes that have arrived of a call.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    arrived: Arc<AtomicU64>,
    pub(crate) refused: RefusedBodies,
}

impl Wire {
    /// Counts what arrives of a call from now on.
    pub(crate) fn count(request: http::Request<Body>, refused: RefusedBodies) -> (http::Request<Body>, Self) {
        let wire = Self { arrived: Arc::default(), refused };
        let counted = wire.clone();
        (request.map(|inner| Body::new(Counted { inner, wire: counted })), wire)
    }

    /// Refuses messages that are so many bytes together, where that is more than `ratio` times what arrived; 0: no bound.
    pub(crate) fn check(&self, unfolded: u64, ratio: usize) -> Result<(), Status> {
        let arrived = self.arrived.load(Ordering::Relaxed);
        if ratio == 0 || unfolded <= FREE || unfolded <= arrived.saturating_mul(ratio as u64) {
            return Ok(());
        }
        self.refused.count("decompression_ratio");
        Err(Status::resource_exhausted(format!(
            "what was sent unfolds to more than {ratio} times the bytes that arrived (limits.max_decompression_ratio); send \
             it less packed, or in parts"
        )))
    }
}

/// A body whose bytes are counted as they are read.
struct Counted {
    inner: Body,
    wire: Wire,
}

impl tonic::codegen::Body for Counted {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.wire.arrived.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
