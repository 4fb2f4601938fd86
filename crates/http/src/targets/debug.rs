//! What a target says, told in full: of one that is there, and of one that may be.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use metricsd_model::{Origin, PromDuration, Target, TargetSpec};
use metricsd_scrape::debug::{DebugReport, MAX_LINES};
use serde::Serialize;

use super::answer::MetricTarget;
use super::{TargetId, unknown_target};
use crate::Problem;
use crate::api::{Api, AppState, now};
use crate::params::Params;

/// Lines that are followed step by step where the question names no number.
const LINES: usize = 10;

/// `GET /api/v1/metrics/targets/{target_id}/debug`
pub(crate) async fn debug(
    State(shared): AppState,
    TargetId(target_id): TargetId,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let lines = params.limit(LINES, MAX_LINES);
    params.finish()?;
    let api = &shared.api;
    let target = api.catalog.target(&target_id).await?.ok_or_else(unknown_target)?;
    Ok(Json(ask(api, &target.spec, lines).await).into_response())
}

/// Asks the target; its timeout is kept within that of requests, which should see the answer.
async fn ask(api: &Api, spec: &TargetSpec, lines: usize) -> DebugReport {
    let mut spec = spec.clone();
    let patience = PromDuration(api.settings.request_timeout.mul_f64(0.8));
    spec.scrape_config.scrape_timeout = spec.scrape_config.scrape_timeout.min(patience);
    metricsd_scrape::debug::debug(&api.pages, &spec, &api.limits, lines, now()).await
}

/// What a dry run answers.
#[derive(Serialize)]
struct DryRun<'t> {
    /// The target as it would be created, defaults filled in.
    target: MetricTarget<'t>,
    /// Whether a target of this id is there already.
    exists: bool,
    /// What it says now.
    debug: DebugReport,
}

/// Tells what would come of a target. Nothing is stored.
pub(super) async fn dry_run(api: &Api, spec: TargetSpec) -> Result<Response, Problem> {
    let exists = api.catalog.target(&spec.target_id).await?.is_some();
    let debug = ask(api, &spec, LINES).await;
    let target = Target {
        origin: Origin::Api,
        id: uuid::Uuid::nil(),
        spec,
        health: Default::default(),
        created_at: now(),
        revision: 0,
        deleting: false,
        scrape_requested: None,
    };
    Ok(Json(DryRun { target: MetricTarget::from(&target), exists, debug }).into_response())
}
