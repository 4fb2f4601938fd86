//! Items over a WebSocket: texts are lines of JSON, binary messages are `metricsd.custom.v1.Metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use metricsd_ingest::stream::{OpenStream, StreamError};

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
    let mut stream = streams.open(&asked.source_id, asked.stream_id.as_deref()).await?;
    stream.input.next_is(asked.from)?;
    let socket = socket.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).max_write_buffer_size(MAX_UNREAD);
    Ok(socket.on_upgrade(move |socket| async move { serve(shared, asked, stream, socket, idle).await }))
}

async fn serve(
    shared: Arc<Shared>,
    asked: Asked,
    stream: OpenStream,
    mut socket: WebSocket,
    idle: Duration,
) {
    let OpenStream { position, mut input, mut acks } = stream;
    let first = lines::begin(asked.stream_id.as_deref(), position);
    if socket.send(Message::Text(first.into())).await.is_err() {
        return;
    }
    let error = loop {
        tokio::select! {
            ack = acks.recv() => match ack {
                Some(Ok(ack)) => {
                    if socket.send(Message::Text(lines::ack(ack).into())).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => break Some(error),
                None => return,
            },
            message = tokio::time::timeout(idle, socket.recv()) => {
                let taken = match message {
                    Ok(Some(Ok(Message::Text(text)))) => input.lines(text.as_bytes()).await,
                    Ok(Some(Ok(Message::Binary(bytes)))) => input.protobuf(&bytes).await,
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => Ok(()),
                    Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => break None,
                    Err(_) => {
                        let silent = metricsd_model::format_duration(idle);
                        Err(StreamError::Unreadable(format!("nothing came for {silent}")))
                    }
                };
                // What ended the stream is what its acknowledgements say.
                match taken {
                    Ok(()) | Err(StreamError::Superseded) => {}
                    Err(error) => break Some(error),
                }
            }
            () = shared.api.shutdown.cancelled() => {
                break Some(StreamError::Unreadable("metricsd is shutting down".to_owned()));
            }
        }
    };
    // What was taken is committed and acknowledged.
    drop(input);
    while let Some(Ok(ack)) = acks.recv().await {
        if socket.send(Message::Text(lines::ack(ack).into())).await.is_err() {
            return;
        }
    }
    if let Some(error) = error {
        let _ = socket.send(Message::Text(lines::error(&error).into())).await;
        let code = if error.is_retryable() { close_code::AGAIN } else { close_code::POLICY };
        let reason = "see the message before".into();
        let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
    }
}
