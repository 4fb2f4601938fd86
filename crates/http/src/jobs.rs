//! `GET /api/v1/metrics/jobs`: what was collected when, newest first.

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_model::event::rfc3339;
use metricsd_model::{CollectionMethod, Job, JobStatus, Ledger};
use metricsd_ports::JobFilter;
use serde::Serialize;

use crate::Problem;
use crate::api::AppState;
use crate::params::Params;

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
pub(crate) async fn list(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<CollectionJob>>, Problem> {
    let mut params = Params::new(query.as_deref());
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
    Ok(Json(jobs.into_iter().map(CollectionJob::from).collect()))
}
