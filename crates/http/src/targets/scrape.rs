//! A scrape out of turn.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metricsd_model::event::rfc3339;
use metricsd_model::{Health, HealthStatus, Millis, Target};
use metricsd_ports::PortError;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::{LastError, note};
use super::remove::has_worker;
use super::write::being_deleted;
use super::{TargetId, unknown_target};
use crate::api::{Api, AppState, now};
use crate::{Problem, ProblemKind};

#[derive(Serialize)]
struct ScrapeResult<'t> {
    target_id: &'t str,
    health_status: HealthStatus,
    last_scrape: Option<String>,
    scrape_duration_ms: f64,
    samples_scraped: u64,
    last_error: Option<LastError<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'t str>,
}

/// `POST /api/v1/metrics/targets/{target_id}/scrape`
pub(crate) async fn scrape(
    State(shared): AppState,
    TargetId(target_id): TargetId,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let target = api.catalog.target(&target_id).await?.ok_or_else(unknown_target)?;
    if target.deleting {
        return Err(being_deleted());
    }
    if !target.spec.enabled {
        return Err(Problem::conflict(
            "this target is disabled; PATCH {\"enabled\": true} to its address enables it",
        ));
    }
    if !has_worker(api).await? {
        return Err(Problem::unavailable("no process with the role worker lives, so nothing can scrape"));
    }
    // Above the last scrape too, which a worker whose clock is ahead may have dated after now.
    let at = now().max(target.health.last_scrape.map_or(Millis::MIN, |last| last.saturating_add(1)));
    api.catalog.request_scrape(&target_id, at).await?.ok_or_else(unknown_target)?;
    let health = wait_for_scrape(api, &target, at).await?.ok_or_else(|| no_scrape(&target))?;
    let result = ScrapeResult {
        target_id: &target_id,
        health_status: health.status,
        last_scrape: health.last_scrape.map(rfc3339),
        scrape_duration_ms: health.scrape_duration_ms,
        samples_scraped: health.samples_scraped,
        last_error: LastError::of(&health),
        note: note(&health),
    };
    Ok(Json(result).into_response())
}

/// The health after a scrape that `at` asked for; `None` where none came in time, or the target went. A scrape that
/// began before is told by its start: a worker dates what is asked of it at `at` or later, whatever its clock says.
async fn wait_for_scrape(api: &Api, before: &Target, at: Millis) -> Result<Option<Health>, PortError> {
    let timeout = before.spec.scrape_config.scrape_timeout.0;
    let deadline = Instant::now() + timeout + api.settings.scrape_patience;
    loop {
        let Some(target) = api.catalog.target(&before.spec.target_id).await? else {
            return Ok(None);
        };
        let health = target.health;
        if health.last_scrape >= Some(at) && health.status != HealthStatus::Disabled {
            return Ok(Some(health));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(api.settings.poll_every).await;
    }
}

fn no_scrape(target: &Target) -> Problem {
    let timeout = target.spec.scrape_config.scrape_timeout;
    let detail = format!("no scrape ended within its timeout of {timeout}; its worker may be busy or gone");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, ProblemKind::Timeout, detail)
}
