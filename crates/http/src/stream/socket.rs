//! Items over a WebSocket: texts are lines of JSON, binary messages are `metricsd.custom.v1.Metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use metricsd_ingest::stream::{Ack, OpenStream, StreamError, StreamInput};
use metricsd_ingest::{Caller, IngestError};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Asked, lines, streams};
use crate::Problem;
use crate::api::Shared;

/// Bytes of one message.
const MAX_MESSAGE: usize = 4 << 20;

/// Bytes of acknowledgements that may wait for a client that does not read them.
const MAX_UNREAD: usize = 1 << 20;

pub(super) async fn answer(
    shared: Arc<Shared>,
    asked: Asked,
    socket: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let streams = streams(&shared)?;
    let idle = streams.options().idle;
    let mut stream = streams.open(asked.caller.clone(), &asked.source_id, asked.stream_id.as_deref()).await?;
    stream.input.next_is(asked.from)?;
    let socket =
        socket.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).max_write_buffer_size(MAX_UNREAD);
    Ok(socket.on_upgrade(move |socket| async move { serve(shared, asked, stream, socket, idle).await }))
}

async fn serve(shared: Arc<Shared>, asked: Asked, stream: OpenStream, socket: WebSocket, idle: Duration) {
    let OpenStream { position, mut input, acks } = stream;
    let (sink, mut messages) = socket.split();
    let ended = CancellationToken::new();
    let first = lines::begin(asked.stream_id.as_deref(), position);
    // Acknowledgements go out while items come in, or neither would end where both are full.
    let teller = tokio::spawn(tell(Teller { sink, idle }, first, acks, ended.clone()));
    let error = tokio::select! {
        read = read(&mut messages, &mut input, &asked.caller, idle) => read.err(),
        () = ended.cancelled() => None,
        () = shared.api.shutdown.cancelled() => Some(StreamError::Ingest(IngestError::Closed)),
    };
    // What was taken is committed and acknowledged.
    drop(input);
    let Ok(Some(mut teller)) = teller.await else { return };
    if let Some(error) = error {
        teller.close(&error).await;
    } else {
        teller.say(Message::Close(None)).await;
    }
}

/// Tells a client something, as long as it reads.
struct Teller {
    sink: SplitSink<WebSocket, Message>,
    idle: Duration,
}

impl Teller {
    /// `None` where the client is gone, or has read nothing for too long.
    async fn say(&mut self, message: Message) -> Option<()> {
        timeout(self.idle, self.sink.send(message)).await.ok()?.ok()
    }

    async fn close(&mut self, error: &StreamError) -> Option<()> {
        self.say(Message::Text(lines::error(error).into())).await?;
        let code = if error.is_retryable() { close_code::AGAIN } else { close_code::POLICY };
        let frame = CloseFrame { code, reason: "see the message before".into() };
        self.say(Message::Close(Some(frame))).await
    }
}

/// Tells where the stream is and what commits; gives the socket back unless it is gone or was closed.
async fn tell(
    mut teller: Teller,
    first: String,
    mut acks: mpsc::Receiver<Result<Ack, StreamError>>,
    ended: CancellationToken,
) -> Option<Teller> {
    let _end = ended.drop_guard();
    teller.say(Message::Text(first.into())).await?;
    while let Some(ack) = acks.recv().await {
        match ack {
            Ok(ack) => teller.say(Message::Text(lines::ack(ack).into())).await?,
            Err(error) => {
                teller.close(&error).await;
                return None;
            }
        }
    }
    Some(teller)
}

/// Reads until the client closes, or is silent for too long, or does not read what it is told.
async fn read(
    messages: &mut SplitStream<WebSocket>,
    input: &mut StreamInput,
    caller: &Caller,
    idle: Duration,
) -> Result<(), StreamError> {
    loop {
        let message = timeout(idle, messages.next()).await.map_err(|_| lines::silent(idle))?;
        let bytes = match &message {
            Some(Ok(Message::Text(text))) => text.len(),
            Some(Ok(Message::Binary(bytes))) => bytes.len(),
            _ => 0,
        };
        let pause = caller.take_streamed_bytes(bytes as u64);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let taken = async {
            match message {
                Some(Ok(Message::Text(text))) => input.lines(text.as_bytes()).await.map(|()| true),
                Some(Ok(Message::Binary(bytes))) => input.protobuf(&bytes).await.map(|()| true),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(true),
                Some(Ok(Message::Close(_)) | Err(_)) | None => Ok(false),
            }
        };
        if !timeout(idle, taken).await.map_err(|_| lines::silent(idle))?? {
            return Ok(());
        }
    }
}
