//! `/api/v1/metrics/jobs/{id}`: one job, be it a collection that was done or work that is under way, and its cancellation.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metricsd_ingest::UploadProgress;
use metricsd_model::BatchId;
use metricsd_model::event::rfc3339;
use metricsd_ports::{Work, WorkFilter, WorkKind, WorkState};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Problem;
use crate::api::{Api, AppState};
use crate::jobs::CollectionJob;

/// A job of work as answers show it.
#[derive(Serialize)]
pub(crate) struct WorkJob {
    job_id: Uuid,
    kind: WorkKind,
    state: WorkState,
    source_id: String,
    /// What was asked for.
    spec: Value,
    /// Bytes that arrived.
    received_bytes: u64,
    progress: Value,
    tries: u32,
    max_tries: u32,
    /// Whether somebody asked for it to stop.
    cancelling: bool,
    error: Option<String>,
    created_at: String,
    updated_at: String,
    /// Present where it was asked for before, and that is what is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl From<Work> for WorkJob {
    fn from(work: Work) -> Self {
        let progress = match work.kind {
            WorkKind::Upload => UploadProgress::of(&work.progress).to_json(),
        };
        Self {
            job_id: work.id,
            kind: work.kind,
            state: work.state,
            source_id: work.source_id,
            spec: work.spec,
            received_bytes: work.received,
            progress,
            tries: work.tries,
            max_tries: work.max_tries,
            cancelling: work.cancelling && !work.state.is_over(),
            error: work.error,
            created_at: rfc3339(work.created_at),
            updated_at: rfc3339(work.updated_at),
            duplicate: false,
        }
    }
}

impl WorkJob {
    /// The same, saying that it was there before.
    pub(crate) fn again(self) -> Self {
        Self { duplicate: true, ..self }
    }
}

fn none(id: &str) -> Problem {
    let shown: String = id.chars().take(80).collect();
    Problem::not_found(format!("there is no job {shown:?}; it may have been removed"))
}

/// Work by its id; `None` where the id is no such id, or there is none.
async fn work_of(api: &Api, id: &str) -> Result<Option<Work>, Problem> {
    match (&api.uploads, Uuid::try_parse(id)) {
        (Some(uploads), Ok(id)) => Ok(uploads.queue.work(id).await?),
        _ => Ok(None),
    }
}

/// A collection by its id, which ends with that of its batch.
async fn collection_of(api: &Api, id: &str) -> Result<Option<CollectionJob>, Problem> {
    let batch = id.strip_prefix("batch_").and_then(|rest| rest.rsplit_once('_')).map(|(_, number)| number);
    let Some(batch) = batch.and_then(|number| number.parse().ok()).map(BatchId) else { return Ok(None) };
    let job = api.catalog.job_of(batch).await?;
    Ok(job.filter(|job| job.job_id == id).map(CollectionJob::from))
}

/// `GET /api/v1/metrics/jobs/{id}`
pub(crate) async fn show(State(shared): AppState, Path(id): Path<String>) -> Result<Response, Problem> {
    if let Some(work) = work_of(&shared.api, &id).await? {
        return Ok(Json(WorkJob::from(work)).into_response());
    }
    match collection_of(&shared.api, &id).await? {
        Some(job) => Ok(Json(job).into_response()),
        None => Err(none(&id)),
    }
}

/// `DELETE /api/v1/metrics/jobs/{id}`: 200 where it has stopped, 202 where its worker is still to hear of it.
pub(crate) async fn cancel(State(shared): AppState, Path(id): Path<String>) -> Result<Response, Problem> {
    let Some(work) = work_of(&shared.api, &id).await? else {
        return Err(match collection_of(&shared.api, &id).await? {
            Some(_) => Problem::conflict("a collection is done when it has a job: there is nothing to stop"),
            None => none(&id),
        });
    };
    if matches!(work.state, WorkState::Done | WorkState::Dead) {
        return Err(Problem::conflict(format!("the job is over ({})", work.state.as_str())));
    }
    let Some(uploads) = &shared.api.uploads else { return Err(none(&id)) };
    let work = uploads.queue.cancel(work.id).await?.ok_or_else(|| none(&id))?;
    let status = if work.state.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(WorkJob::from(work))).into_response())
}

/// Jobs of one kind of work, newest first.
pub(crate) async fn list(api: &Api, filter: &WorkFilter, limit: usize) -> Result<Vec<WorkJob>, Problem> {
    let Some(uploads) = &api.uploads else { return Ok(Vec::new()) };
    Ok(uploads.queue.list_work(filter, limit).await?.into_iter().map(WorkJob::from).collect())
}
