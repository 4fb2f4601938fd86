//! Deleting a target: answered when its worker has stopped and its series are marked stale.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metricsd_ports::{CacheKey, PortError};
use serde::Serialize;
use tokio::time::Instant;
use tracing::debug;

use super::{TargetId, discovered, unknown_target};
use crate::Problem;
use crate::api::{Api, AppState};

#[derive(Serialize)]
struct DeletionResult {
    target_id: String,
    deleted: bool,
    status: &'static str,
    message: &'static str,
}

/// `DELETE /api/v1/metrics/targets/{target_id}`
pub(crate) async fn delete(
    State(shared): AppState,
    TargetId(target_id): TargetId,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let target = api.catalog.target(&target_id).await?.ok_or_else(unknown_target)?;
    if let (Some(job), false) = (target.origin.job(), target.deleting) {
        return Err(discovered(job));
    }
    api.catalog.request_deletion(&target_id).await?.ok_or_else(unknown_target)?;
    if !wait_until_gone(api, &target_id).await? {
        let result = DeletionResult {
            target_id,
            deleted: false,
            status: "pending",
            message: "its worker has not stopped yet; the deletion goes on, ask again to see",
        };
        return Ok((StatusCode::ACCEPTED, Json(result)).into_response());
    }
    forget(api, &target_id).await;
    let result = DeletionResult {
        target_id,
        deleted: true,
        status: "deleted",
        message: "its scraping has stopped; the samples that are stored stay",
    };
    Ok(Json(result).into_response())
}

/// Whether the target has gone in time. Where no worker lives that could finish the deletion, this does.
async fn wait_until_gone(api: &Api, target_id: &str) -> Result<bool, PortError> {
    let deadline = Instant::now() + api.settings.deletion_patience;
    loop {
        if api.catalog.target(target_id).await?.is_none() {
            return Ok(true);
        }
        if !has_worker(api).await? {
            api.catalog.finish_deletion(target_id).await?;
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(api.settings.poll_every).await;
    }
}

/// Whether any process lives that scrapes.
pub(super) async fn has_worker(api: &Api) -> Result<bool, PortError> {
    let processes = api.catalog.processes().await?;
    Ok(processes.iter().any(|process| process.roles.iter().any(|role| role == "worker")))
}

/// Removes what the caches hold of a target; what stays expires.
async fn forget(api: &Api, target_id: &str) {
    let keys = [
        CacheKey::TargetHealth(target_id.to_owned()),
        CacheKey::LatestMetrics(target_id.to_owned()),
        CacheKey::ScrapeSchedule(target_id.to_owned()),
    ];
    if let Err(error) = api.cache.remove(&keys).await {
        debug!(error = error.chain(), "a deleted target stays in the caches until it expires there");
    }
}
