//! Items over a WebSocket: texts are lines of JSON, binary messages are `metricsd.custom.v1.Metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use metricsd_ingest::stream::{Ack, OpenStream, StreamError, StreamInput};
use tokio::sync::mpsc;
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
    let teller = tokio::spawn(tell(sink, first, acks, ended.clone()));
    let error = tokio::select! {
        read = read(&mut messages, &mut input, idle) => read.err(),
        () = ended.cancelled() => None,
        () = shared.api.shutdown.cancelled() => {
            Some(StreamError::Unreadable("metricsd is shutting down".to_owned()))
        }
    };
    // What was taken is committed and acknowledged.
    drop(input);
    let Ok(Some(mut sink)) = teller.await else { return };
    if let Some(error) = error {
        close(&mut sink, &error).await;
    } else {
        let _ = sink.send(Message::Close(None)).await;
    }
}

type Sink = SplitSink<WebSocket, Message>;

/// Tells where the stream is and what commits; gives the socket back unless it is gone or was closed.
async fn tell(
    mut sink: Sink,
    first: String,
    mut acks: mpsc::Receiver<Result<Ack, StreamError>>,
    ended: CancellationToken,
) -> Option<Sink> {
    let _end = ended.drop_guard();
    sink.send(Message::Text(first.into())).await.ok()?;
    while let Some(ack) = acks.recv().await {
        match ack {
            Ok(ack) => sink.send(Message::Text(lines::ack(ack).into())).await.ok()?,
            Err(error) => {
                close(&mut sink, &error).await;
                return None;
            }
        }
    }
    Some(sink)
}

async fn close(sink: &mut Sink, error: &StreamError) {
    let _ = sink.send(Message::Text(lines::error(error).into())).await;
    let code = if error.is_retryable() { close_code::AGAIN } else { close_code::POLICY };
    let frame = CloseFrame { code, reason: "see the message before".into() };
    let _ = sink.send(Message::Close(Some(frame))).await;
}

/// Reads until the client closes, or is silent for too long, or does not read what it is told.
async fn read(
    messages: &mut SplitStream<WebSocket>,
    input: &mut StreamInput,
    idle: Duration,
) -> Result<(), StreamError> {
    loop {
        let message = tokio::time::timeout(idle, messages.next()).await.map_err(|_| lines::silent(idle))?;
        let taken = async {
            match message {
                Some(Ok(Message::Text(text))) => input.lines(text.as_bytes()).await.map(|()| true),
                Some(Ok(Message::Binary(bytes))) => input.protobuf(&bytes).await.map(|()| true),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(true),
                Some(Ok(Message::Close(_)) | Err(_)) | None => Ok(false),
            }
        };
        if !tokio::time::timeout(idle, taken).await.map_err(|_| lines::silent(idle))?? {
            return Ok(());
        }
    }
}
