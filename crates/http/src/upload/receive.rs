//! Takes the bytes of a file as they arrive.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use metricsd_model::hex::hex;
use metricsd_ports::{Stored, Work, WorkQueue};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::UploadAccess;
use crate::{Problem, ProblemKind};

/// Bytes that are stored at once.
const PIECE: usize = 1 << 20;

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a piece may take: who sends a byte now and then would keep others out for ever.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a file that is refused, and how long, which are read all the same.
const HEARD: usize = 8 << 20;
const LISTENED: Duration = Duration::from_secs(1);

fn too_large(uploads: &UploadAccess) -> Problem {
    Problem::too_large(format!(
        "the file is larger than {} bytes, the bound set by upload.max_bytes",
        uploads.max_bytes
    ))
}

/// Gives the body back, but for one that says that it is too large.
pub(super) async fn checked(
    uploads: &UploadAccess,
    offset: u64,
    headers: &HeaderMap,
    body: Body,
) -> Result<Body, Problem> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if offset.saturating_add(declared.unwrap_or(0)) > uploads.max_bytes {
        // Who asked first is sending nothing yet, and reading would tell it to begin.
        if !headers.contains_key(header::EXPECT) {
            let _ = tokio::time::timeout(LISTENED, listen(body)).await;
        }
        return Err(too_large(uploads));
    }
    if offset == 0 && declared == Some(0) {
        return Err(empty());
    }
    Ok(body)
}

/// Reads some of what is refused: a sender whose connection breaks off while it sends does not come to read why.
async fn listen(body: Body) {
    let (mut chunks, mut heard) = (body.into_data_stream(), 0);
    while let Some(Ok(chunk)) = chunks.next().await {
        heard += chunk.len();
        if heard > HEARD {
            break;
        }
    }
}

/// Stores a body from `offset` on; answers the sha256 of the body. What arrived before a connection breaks is stored.
pub(super) async fn all(
    uploads: &UploadAccess,
    work: &Work,
    offset: u64,
    body: Body,
) -> Result<String, Problem> {
    if offset != work.received {
        return Err(elsewhere(work.received));
    }
    let mut hasher = Sha256::new();
    let mut pieces = Pieces { uploads, work, at: offset, waiting: Vec::new() };
    let mut chunks = body.into_data_stream();
    let (mut due, mut stored) = (Instant::now() + PIECE_WITHIN, pieces.at);
    loop {
        let until = due.min(Instant::now() + SILENCE);
        let chunk = match tokio::time::timeout_at(until, chunks.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => {
                pieces.store().await?;
                return Err(Problem::malformed(format!(
                    "the body broke off; {} bytes of the file are there",
                    pieces.at
                )));
            }
            Err(_) => {
                pieces.store().await?;
                return Err(too_slow(pieces.at));
            }
        };
        hasher.update(&chunk);
        // A chunk may be of any size.
        for part in chunk.chunks(PIECE) {
            pieces.add(part).await?;
        }
        if pieces.at != stored {
            (due, stored) = (Instant::now() + PIECE_WITHIN, pieces.at);
        }
    }
    pieces.store().await?;
    if pieces.at == 0 {
        return Err(empty());
    }
    Ok(hex(&hasher.finalize()))
}

fn empty() -> Problem {
    Problem::malformed("the body is empty; expected a file")
}

fn too_slow(at: u64) -> Problem {
    let detail = format!(
        "nothing arrived for {} s, or less than {PIECE} bytes in {} s; {at} bytes of the file are there",
        SILENCE.as_secs(),
        PIECE_WITHIN.as_secs()
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, ProblemKind::Timeout, detail)
}

fn elsewhere(received: u64) -> Problem {
    Problem::conflict(format!("{received} bytes of the file are there: go on with offset={received}"))
}

struct Pieces<'a> {
    uploads: &'a UploadAccess,
    work: &'a Work,
    at: u64,
    waiting: Vec<u8>,
}

impl Pieces<'_> {
    async fn add(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let together = self.at + self.waiting.len() as u64 + bytes.len() as u64;
        if together > self.uploads.max_bytes {
            return Err(too_large(self.uploads));
        }
        if self.waiting.len() + bytes.len() > PIECE {
            self.store().await?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    async fn store(&mut self) -> Result<(), Problem> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.waiting);
        let bound = self.uploads.max_spool_bytes;
        match self.uploads.queue.store_bytes(self.work.id, self.at, &bytes, bound).await? {
            Stored::Kept(received) => {
                self.at = received;
                Ok(())
            }
            Stored::Elsewhere(received) => Err(elsewhere(received)),
            Stored::Closed => {
                Err(Problem::conflict("the upload takes no more bytes: it is complete, or was cancelled"))
            }
            Stored::Full => {
                let detail = format!(
                    "the files that wait hold {bound} bytes, the bound set by upload.max_spool_bytes; try again later"
                );
                Err(Problem::unavailable(detail).retry_after(60))
            }
        }
    }
}

/// The sha256 of all bytes that are there.
pub(super) async fn stored_hash(queue: &dyn WorkQueue, work: &Work) -> Result<String, Problem> {
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < work.received {
        let Some((start, piece)) = queue.bytes_at(work.id, at).await? else {
            return Err(Problem::conflict(
                "the upload takes no more bytes: it is complete, or was cancelled",
            ));
        };
        hasher.update(&piece);
        at = start + piece.len() as u64;
    }
    Ok(hex(&hasher.finalize()))
}
