//! `GET /api/v1/metrics/explain`: what becomes of one line of a target's page.

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_scrape::explain::{Explanation, explain};

use crate::Problem;
use crate::api::{AppState, now};
use crate::params::Params;
use crate::targets::unknown_target;

/// The handler.
pub(crate) async fn line(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Problem> {
    let mut params = Params::new(query.as_deref());
    let (target, line) = (params.one("target_id"), params.one("line"));
    if target.is_none() && !params.is_wrong("target_id") {
        params.error("target_id", "is needed: whose page the line is of");
    }
    if line.is_none() && !params.is_wrong("line") {
        params.error("line", "is needed: a sample as pages write it, such as up{a=\"b\"} 1");
    }
    params.finish()?;
    let api = &shared.api;
    let target = api.catalog.target(&target.unwrap_or_default()).await?.ok_or_else(unknown_target)?;
    Ok(Json(explain(&target.spec, api.limits.clone(), &line.unwrap_or_default(), now())))
}
