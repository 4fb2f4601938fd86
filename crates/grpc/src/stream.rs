//! `metricsd.v1.MetricsStream/Push`: items in over a stream that stays open, acknowledged by number as they commit.

mod messages;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use metricsd_ingest::Caller;
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::{Ack, OpenStream, StreamError, StreamInput, Streams};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_service::Service;

use crate::entry::{Entry, source_of};
use crate::raw::Raw;
use crate::status::{of_error, unavailable};
use crate::wire::Wire;
use messages::Acknowledgement;

/// Who sends, where nobody says.
const DEFAULT_SOURCE: &str = "custom";

/// Names the stream; one without a name cannot be gone on with.
const STREAM_KEY: &str = "x-stream-id";

/// Bytes of one message, as it arrives and unpacked.
const MAX_MESSAGE: usize = 4 << 20;

/// When to open a stream again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub(crate) struct MetricsStream {
    pub(crate) streams: Arc<Streams>,
    pub(crate) entry: Entry,
    /// What messages may unfold to, in times of what arrived.
    pub(crate) max_ratio: usize,
    /// Counts what is refused.
    pub(crate) refused: RefusedBodies,
    /// Cancelled when the process begins to drain.
    pub(crate) stop: CancellationToken,
}

impl NamedService for MetricsStream {
    const NAME: &'static str = "metricsd.v1.MetricsStream";
}

impl Service<http::Request<Body>> for MetricsStream {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if request.uri().path().rsplit('/').next() != Some("Push") {
                return Ok(Status::unimplemented("MetricsStream has the method Push alone").into_http());
            }
            let caller = match this.entry.caller(request.headers()) {
                Ok(caller) => caller,
                Err(denied) => return Ok(denied.into_http()),
            };
            let (request, wire) = Wire::count(request, this.refused.clone());
            let mut grpc = Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_MESSAGE);
            Ok(grpc.streaming(Push { service: this, caller, wire }, request).await)
        })
    }
}

/// One call.
struct Push {
    service: MetricsStream,
    caller: Caller,
    wire: Wire,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

impl StreamingService<Bytes> for Push {
    type Response = Vec<u8>;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let MetricsStream { streams, stop, max_ratio, .. } = self.service.clone();
        let (caller, wire) = (self.caller.clone(), self.wire.clone());
        Box::pin(async move {
            let source_id = source_of(&request, &caller, DEFAULT_SOURCE)?;
            let stream_id = named(&request)?;
            let opened = streams.open(caller.clone(), &source_id, stream_id.as_deref()).await;
            let OpenStream { position, input, acks } = opened.map_err(|error| of_stream(&error))?;
            let (failed, failure) = oneshot::channel();
            let ended = CancellationToken::new();
            let reader =
                Reader { messages: request.into_inner(), input, caller, wire, unfolded: 0, max_ratio };
            let (idle, over) = (streams.options().idle, ended.clone());
            tokio::spawn(async move {
                if let Err(status) = reader.run(idle, stop, over).await {
                    // Nobody listens any more where the client has gone.
                    let _ = failed.send(status);
                }
            });
            Ok(Response::new(Told { acks, failure, ended: ended.drop_guard() }.from(position)))
        })
    }
}

fn named<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    let name = request.metadata().get(STREAM_KEY).map(|value| value.to_str().map(str::to_owned));
    name.transpose().map_err(|_| of_stream(&StreamError::Name))
}

/// What a client sends.
struct Reader {
    messages: Streaming<Bytes>,
    input: StreamInput,
    caller: Caller,
    wire: Wire,
    /// Bytes of the messages so far.
    unfolded: u64,
    max_ratio: usize,
}

impl Reader {
    /// Reads until the client closes, is silent for too long, or there is nobody left to answer. What was taken is committed
    /// and acknowledged.
    async fn run(
        mut self,
        idle: Duration,
        stop: CancellationToken,
        ended: CancellationToken,
    ) -> Result<(), Status> {
        let silent = |_| Status::deadline_exceeded(format!("nothing went on for {} s", idle.as_secs_f64()));
        loop {
            let goes_on = tokio::select! {
                taken = tokio::time::timeout(idle, self.take()) => taken.map_err(silent)??,
                () = stop.cancelled() => {
                    return Err(unavailable("metricsd is shutting down; open the stream again", RETRY_AFTER));
                }
                () = ended.cancelled() => {
                    return Err(Status::aborted("the stream has ended; open it again"));
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Takes the next message; `false` where the client has sent its last.
    async fn take(&mut self) -> Result<bool, Status> {
        let message = self.messages.message().await.map_err(of_framing).inspect_err(|status| {
            if status.code() == Code::ResourceExhausted {
                self.wire.refused.count("too_large");
            }
        })?;
        let Some(message) = message else { return Ok(false) };
        self.unfolded += message.len() as u64;
        self.wire.check(self.unfolded, self.max_ratio)?;
        let pause = self.caller.take_streamed_bytes(message.len() as u64);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.input.protobuf(&message).await.map_err(|error| of_stream(&error))?;
        Ok(true)
    }
}

/// What a client is told.
struct Told {
    acks: mpsc::Receiver<Result<Ack, StreamError>>,
    /// Why reading ended, where it did not end well.
    failure: oneshot::Receiver<Status>,
    /// Ends the reading with the answers.
    ended: DropGuard,
}

impl Told {
    /// Where the stream is, then what commits, then how it ended where it did not end well.
    fn from(self, position: u64) -> Answers {
        let begin = Acknowledgement { last: position, ..Acknowledgement::default() }.encode_to_vec();
        let rest = stream::unfold(Some(self), async |told| {
            let mut told = told?;
            match told.acks.recv().await {
                Some(Ok(ack)) => Some((Ok(Acknowledgement::from(ack).encode_to_vec()), Some(told))),
                Some(Err(error)) => Some((Err(of_stream(&error)), None)),
                None => {
                    drop(told.ended);
                    told.failure.await.ok().map(|status| (Err(status), None))
                }
            }
        });
        Box::pin(stream::once(std::future::ready(Ok(begin))).chain(rest))
    }
}

/// Why a stream does not begin, or ends.
fn of_stream(error: &StreamError) -> Status {
    match error {
        StreamError::TooMany { .. } => unavailable(&error.to_string(), RETRY_AFTER),
        StreamError::Position(_) => {
            unavailable("it is not known where the stream is; open it again", RETRY_AFTER)
        }
        StreamError::Ingest(error) => of_error(error.clone()),
        StreamError::Overtaken { .. } => unavailable(&error.to_string(), Duration::ZERO),
        StreamError::Superseded => Status::aborted(error.to_string()),
        StreamError::Name | StreamError::Backwards { .. } | StreamError::Unreadable(_) => {
            Status::invalid_argument(error.to_string())
        }
    }
}

/// What the framework says of messages that it does not read, in terms of this service.
fn of_framing(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Status::resource_exhausted(format!(
            "a message is larger than {MAX_MESSAGE} bytes, as it arrives or unpacked; send its items in several"
        )),
        // Damaged gzip among them.
        Code::Internal => Status::invalid_argument(format!("a message does not read: {}", status.message())),
        _ => status,
    }
}
