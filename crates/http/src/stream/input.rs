//! Items in a body that goes on: lines of JSON, or messages with their lengths before them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, BytesMut};
use futures::StreamExt;
use metricsd_ingest::IngestError;
use metricsd_ingest::stream::{OpenStream, StreamError, StreamInput};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Asked, lines, streams};
use crate::Problem;
use crate::api::Shared;
use crate::custom;

/// The answer's type.
const NDJSON: &str = "application/x-ndjson";

/// Bytes of one line or message.
const MAX_FRAME: usize = 4 << 20;

/// Lines that come at once are read together, up to this.
const PART: usize = 256 << 10;

/// Lines of the answer that wait for a client that does not read.
const MAX_LINES: usize = 64;

/// Tells nginx not to hold lines back.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// How items are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Messages,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match custom::Form::of(headers)? {
            custom::Form::Lines => Ok(Self::Lines),
            custom::Form::Protobuf => Ok(Self::Messages),
            custom::Form::Json => Err(Problem::unsupported_media_type(format!(
                "a stream is lines of JSON ({NDJSON}) or messages with their lengths (application/x-protobuf); send \
                 Content-Type: {NDJSON}"
            ))),
        }
    }
}

/// Opens the stream and answers with its position; acknowledgements follow as items commit.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    asked: Asked,
    form: Form,
    body: Body,
) -> Result<Response, Problem> {
    let streams = streams(shared)?;
    let idle = streams.options().idle;
    let OpenStream { position, mut input, acks } =
        streams.open(asked.caller.clone(), &asked.source_id, asked.stream_id.as_deref()).await?;
    input.next_is(asked.from)?;
    let (told, lines) = mpsc::channel(MAX_LINES);
    // The channel is empty.
    let _ = told.try_send(lines::begin(asked.stream_id.as_deref(), position));
    let ended = CancellationToken::new();
    tokio::spawn(tell(acks, told.clone(), ended.clone(), idle));
    let shutdown = shared.api.shutdown.clone();
    tokio::spawn(async move {
        let reading = read(form, body, &mut input, idle);
        let read = tokio::select! {
            read = reading => read,
            () = shutdown.cancelled() => Err(StreamError::Ingest(IngestError::Closed)),
            () = ended.cancelled() => Ok(()),
        };
        // What was read is committed and acknowledged before the error is told.
        drop(input);
        ended.cancelled().await;
        if let Err(error) = read {
            let _ = timeout(idle, told.send(lines::error(&error))).await;
        }
    });
    let body = tokio_stream(lines).map(|line| Ok::<_, Infallible>(Bytes::from(line + "\n")));
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(([UNBUFFERED, kind], Body::from_stream(body)).into_response())
}

fn tokio_stream(lines: mpsc::Receiver<String>) -> impl futures::Stream<Item = String> {
    futures::stream::unfold(lines, |mut lines| async move { lines.recv().await.map(|line| (line, lines)) })
}

/// Passes acknowledgements on; `ended` is cancelled after the last.
async fn tell(
    mut acks: mpsc::Receiver<Result<metricsd_ingest::stream::Ack, StreamError>>,
    told: mpsc::Sender<String>,
    ended: CancellationToken,
    idle: Duration,
) {
    while let Some(ack) = acks.recv().await {
        let line = match ack {
            Ok(ack) => lines::ack(ack),
            Err(error) => lines::error(&error),
        };
        // A client that is gone, or reads nothing, is told nothing; what it sent is committed all the same.
        if !matches!(timeout(idle, told.send(line)).await, Ok(Ok(()))) {
            break;
        }
    }
    ended.cancel();
}

/// Reads a body to its end, or until its client is silent for too long.
async fn read(form: Form, body: Body, input: &mut StreamInput, idle: Duration) -> Result<(), StreamError> {
    let mut chunks = body.into_data_stream();
    let mut held = BytesMut::new();
    loop {
        let chunk = match timeout(idle, chunks.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => break,
            // What came whole is taken.
            Ok(Some(Err(_))) => return Ok(()),
            Err(_) => return Err(lines::silent(idle)),
        };
        held.extend_from_slice(&chunk);
        let taken = async {
            match form {
                Form::Lines => take_lines(&mut held, input).await,
                Form::Messages => take_messages(&mut held, input).await,
            }
        };
        // A client that does not read its acknowledgements is not read from.
        timeout(idle, taken).await.map_err(|_| lines::silent(idle))??;
        if held.len() > MAX_FRAME {
            return Err(StreamError::Unreadable(format!(
                "a line or a message is larger than {MAX_FRAME} bytes"
            )));
        }
    }
    match form {
        Form::Lines => input.lines(&held).await,
        Form::Messages if held.is_empty() => Ok(()),
        Form::Messages => Err(StreamError::Unreadable("the last message is cut short".to_owned())),
    }
}

/// Takes whole lines.
async fn take_lines(held: &mut BytesMut, input: &mut StreamInput) -> Result<(), StreamError> {
    while let Some(end) = memchr_last(held.get(..PART).unwrap_or(held)).or_else(|| first_end(held)) {
        let lines = held.split_to(end + 1);
        input.lines(&lines).await?;
    }
    Ok(())
}

fn memchr_last(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

/// The end of a first line that is longer than a part.
fn first_end(bytes: &[u8]) -> Option<usize> {
    let behind = bytes.get(PART..)?;
    behind.iter().position(|byte| *byte == b'\n').map(|end| end + PART)
}

/// Takes whole messages, each with its length before it as a varint.
async fn take_messages(held: &mut BytesMut, input: &mut StreamInput) -> Result<(), StreamError> {
    while let Some((head, length)) = length_of(held)? {
        if held.len() < head + length {
            return Ok(());
        }
        held.advance(head);
        let message = held.split_to(length);
        input.protobuf(&message).await?;
    }
    Ok(())
}

/// The bytes of a length and the length; `None` where it is not whole yet.
fn length_of(bytes: &[u8]) -> Result<Option<(usize, usize)>, StreamError> {
    let mut length = 0usize;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            if length > MAX_FRAME {
                break;
            }
            return Ok(Some((place + 1, length)));
        }
    }
    if bytes.len() < 4 && bytes.iter().all(|byte| *byte >= 0x80) {
        return Ok(None);
    }
    Err(StreamError::Unreadable(format!("a message is larger than {MAX_FRAME} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_when_they_are_whole() {
        assert_eq!(length_of(b"").unwrap(), None);
        assert_eq!(length_of(&[0x80]).unwrap(), None);
        assert_eq!(length_of(&[0x05, 1]).unwrap(), Some((1, 5)));
        assert_eq!(length_of(&[0x80, 0x01]).unwrap(), Some((2, 128)));
        assert!(length_of(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(length_of(&[0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
