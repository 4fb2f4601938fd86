//! `/api/v1/metrics/upload`: files of samples, taken whole or in parts, and handed to whichever worker comes first.
//!
//! The bytes go piece by piece into the store as they arrive; a piece is all of them that is in memory. A connection that
//! breaks loses what was sent since the last piece, and whoever uploads in parts goes on from there.

mod asked;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_ingest::Caller;
use metricsd_ports::{Submitted, Work, WorkQueue, WorkState};
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tracing::warn;
use uuid::Uuid;

use crate::Problem;
use crate::api::{Api, AppState};
use crate::work::WorkJob;
use asked::{Asked, Next};

/// What uploads stand on, and their bounds.
pub struct UploadAccess {
    /// Where they wait for a worker.
    pub queue: Arc<dyn WorkQueue>,
    /// Told when one is complete.
    pub signal: Arc<Notify>,
    /// Bytes of one file, as it is sent.
    pub max_bytes: u64,
    /// Bytes of all files that are not done.
    pub max_spool_bytes: u64,
    /// How long an upload is kept after its last change.
    pub keep: Duration,
    /// Tries until one is given up.
    pub max_tries: u32,
    /// Bodies that may arrive at once.
    pub slots: Semaphore,
}

/// Uploads that may be arriving, be anybody sending or not; each is a row that is kept for as long as uploads are.
const MAX_RECEIVING: u32 = 1_000;

/// How many bytes of a file are there.
static UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// How far receiving is.
#[derive(Serialize)]
struct Received {
    upload_id: Uuid,
    received: u64,
    state: WorkState,
}

fn access(api: &Api) -> Result<&UploadAccess, Problem> {
    api.uploads.as_ref().ok_or_else(|| Problem::unavailable("this process does not take uploads"))
}

impl UploadAccess {
    fn slot(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.slots.try_acquire().map_err(|_| {
            Problem::unavailable("as many files arrive at once as may; try again").retry_after(2)
        })
    }
}

/// `POST /api/v1/metrics/upload`: a whole file, or with `resumable=true` the beginning of one that comes in parts.
pub(crate) async fn create(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let uploads = access(&shared.api)?;
    let asked = Asked::read(query.as_deref(), &headers, &caller)?;
    if asked.resumable {
        return Ok(begun(submit(uploads, &asked).await?));
    }
    let body = receive::checked(uploads, 0, &headers, body).await?;
    let slot = uploads.slot()?;
    let work = match submit(uploads, &asked).await? {
        Submitted::New(work) => work,
        // It was named by its content, and stands already.
        Submitted::Existing(work) if work.state != WorkState::Receiving => return Ok(taken(work, true)),
        Submitted::Existing(work) => {
            let detail = format!(
                "the same file is being sent already, {} bytes are there: go on with PUT /api/v1/metrics/upload/{}",
                work.received, work.id
            );
            return Err(Problem::conflict(detail));
        }
    };
    let mut orphan = Orphan(Some((uploads.queue.clone(), work.id)));
    let hash = receive::all(uploads, &work, 0, body).await?;
    drop(slot);
    let sealed = seal(uploads, &work, &hash).await?;
    orphan.0 = None;
    Ok(sealed)
}

async fn submit(uploads: &UploadAccess, asked: &Asked) -> Result<Submitted, Problem> {
    uploads.queue.submit(&asked.work(uploads)).await?.ok_or_else(|| {
        let detail = format!(
            "{MAX_RECEIVING} uploads were begun and are not complete: complete or cancel some, or try again later"
        );
        Problem::unavailable(detail).retry_after(60)
    })
}

/// An upload of which nobody else knows the name: it goes when its request does, also where the client went away.
struct Orphan(Option<(Arc<dyn WorkQueue>, Uuid)>);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some((queue, id)) = self.0.take() {
            tokio::spawn(async move {
                if let Err(error) = queue.cancel(id).await {
                    warn!(upload = %id, error = error.chain(), "an upload that broke off was not removed");
                }
            });
        }
    }
}

/// `PUT /api/v1/metrics/upload/{id}?offset=…&complete=…`: more of a file.
pub(crate) async fn more(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let uploads = access(&shared.api)?;
    let next = Next::read(query.as_deref())?;
    let work = upload_of(uploads, &caller, &id).await?;
    if work.state != WorkState::Receiving {
        return Ok(taken(work, true));
    }
    let body = receive::checked(uploads, next.offset, &headers, body).await?;
    // Reading a file back is as much work as taking it.
    let _slot = uploads.slot()?;
    receive::all(uploads, &work, next.offset, body).await?;
    let work = upload_of(uploads, &caller, &id).await?;
    if !next.complete {
        return Ok(far(&work, StatusCode::OK));
    }
    let hash = receive::stored_hash(&*uploads.queue, &work).await?;
    seal(uploads, &work, &hash).await
}

/// `GET /api/v1/metrics/upload/{id}`: how much of a file is there.
pub(crate) async fn show(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let work = upload_of(access(&shared.api)?, &caller, &id).await?;
    Ok(far(&work, StatusCode::OK))
}

/// An upload, to who may push as its source; to others there is none.
async fn upload_of(uploads: &UploadAccess, caller: &Caller, id: &str) -> Result<Work, Problem> {
    let shown: String = id.chars().take(60).collect();
    let none = || Problem::not_found(format!("there is no upload {shown:?}; it may have expired"));
    let id = Uuid::try_parse(id).map_err(|_| none())?;
    let work = uploads.queue.work(id).await?.ok_or_else(none)?;
    let shown = work.kind == metricsd_ports::WorkKind::Upload && caller.check_source(&work.source_id).is_ok();
    if shown { Ok(work) } else { Err(none()) }
}

/// All bytes are there: a worker may begin.
async fn seal(uploads: &UploadAccess, work: &Work, hash: &str) -> Result<Response, Problem> {
    let content = asked::content_of(work, hash);
    if work.content.as_ref().is_some_and(|declared| *declared != content) {
        uploads.queue.cancel(work.id).await?;
        return Err(Problem::malformed(format!(
            "the bytes that arrived have the sha256 {hash}, not the one that was declared; the upload was dropped"
        )));
    }
    let sealed = uploads.queue.seal(work.id, &content).await?;
    uploads.signal.notify_one();
    match sealed {
        Some(Submitted::New(work)) => Ok(taken(work, false)),
        Some(Submitted::Existing(work)) => Ok(taken(work, true)),
        None => Err(Problem::conflict("the upload was cancelled, or completed by someone else")),
    }
}

fn located(response: &mut Response, path: &str) {
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// The job of a complete file.
fn taken(work: Work, duplicate: bool) -> Response {
    let path = format!("/api/v1/metrics/jobs/{}", work.id);
    let status = if duplicate { StatusCode::OK } else { StatusCode::ACCEPTED };
    let job = WorkJob::from(work);
    let mut response = (status, Json(if duplicate { job.again() } else { job })).into_response();
    located(&mut response, &path);
    response
}

fn begun(submitted: Submitted) -> Response {
    match submitted {
        Submitted::New(work) => far(&work, StatusCode::CREATED),
        Submitted::Existing(work) if work.state == WorkState::Receiving => far(&work, StatusCode::OK),
        Submitted::Existing(work) => taken(work, true),
    }
}

/// How far receiving is.
fn far(work: &Work, status: StatusCode) -> Response {
    let answer = Received { upload_id: work.id, received: work.received, state: work.state };
    let mut response = (status, Json(answer)).into_response();
    response.headers_mut().insert(UPLOAD_OFFSET.clone(), HeaderValue::from(work.received));
    located(&mut response, &format!("/api/v1/metrics/upload/{}", work.id));
    response
}
