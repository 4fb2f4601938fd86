//! `GET /api/v1/metrics/jobs`: what was collected when, newest first.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use metricsd_model::event::rfc3339;
use metricsd_model::{CollectionMethod, Job, JobStatus, Ledger};
use metricsd_ports::{JobFilter, WorkFilter, WorkKind, WorkState};
use serde::Serialize;

use crate::api::{Api, AppState};
use crate::params::Params;
use crate::{Problem, work};

/// Entries of an answer that asks for no number, and the most that one may ask for.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// A job as answers show it: the columns of `collection_jobs`, and what became of every sample.
#[derive(Serialize)]
pub(crate) struct CollectionJob {
    job_id: String,
    target_id: String,
    source_id: String,
    collection_method: CollectionMethod,
    status: JobStatus,
    metrics_collected: u64,
    collection_duration_ms: f64,
    error_details: Option<String>,
    ledger: Ledger,
    created_at: String,
}

impl From<Job> for CollectionJob {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.job_id,
            target_id: job.target_id,
            source_id: job.source_id,
            collection_method: job.collection_method,
            status: job.status,
            metrics_collected: job.metrics_collected,
            collection_duration_ms: job.collection_duration_ms,
            error_details: job.error_details,
            ledger: job.ledger,
            created_at: rfc3339(job.created_at),
        }
    }
}

/// The handler.
pub(crate) async fn list(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let kind = params.parsed("kind", |text| {
        let names: Vec<&str> = WorkKind::ALL.iter().map(|kind| kind.as_str()).collect();
        WorkKind::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
    });
    if kind.is_some() {
        return list_work(&shared.api, params, kind).await;
    }
    let filter = JobFilter {
        target_id: params.one("target_id"),
        status: params.parsed("status", |text| {
            let names: Vec<&str> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
            JobStatus::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
        }),
        before: params.time("before"),
    };
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT);
    params.finish()?;
    let jobs = shared.api.catalog.jobs(&filter, limit).await?;
    let jobs: Vec<CollectionJob> = jobs.into_iter().map(CollectionJob::from).collect();
    Ok(Json(jobs).into_response())
}

/// With `kind`: work of that kind, done or not.
async fn list_work(api: &Api, mut params: Params, kind: Option<WorkKind>) -> Result<Response, Problem> {
    let state = params.parsed("state", |text| {
        let names: Vec<&str> = WorkState::ALL.iter().map(|state| state.as_str()).collect();
        WorkState::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
    });
    let filter = WorkFilter { kind, state, source_id: params.one("source_id") };
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT);
    params.finish()?;
    Ok(Json(work::list(api, &filter, limit).await?).into_response())
}
