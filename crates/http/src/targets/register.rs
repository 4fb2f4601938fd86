//! Targets that register themselves: created or renewed by repeating the same request, gone when they lapse.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use metricsd_model::{OriginKind, Target, TargetSpec};
use metricsd_ports::Registration;
use serde_json::{Map, Value};

use super::answer::MetricTarget;
use super::discovered;
use super::write::created;
use crate::Problem;
use crate::api::Api;
use crate::fields::{Errors, Fields};

/// The shortest and the longest time between two renewals.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Takes `ttl` out of a request.
pub(super) fn take_ttl(map: &mut Map<String, Value>) -> Result<Option<Duration>, Problem> {
    let Some(ttl) = map.remove("ttl") else { return Ok(None) };
    let mut errors = Errors::default();
    let map = Map::from_iter([("ttl".to_owned(), ttl)]);
    let mut fields = Fields::new("", map, &mut errors);
    let ttl = fields.duration("ttl").map(|ttl| ttl.0);
    if ttl.is_some_and(|ttl| !(SHORTEST..=LONGEST).contains(&ttl)) {
        fields.error("ttl", "must be between 1s and 7d");
    }
    fields.finish();
    errors.into_result(Some(ttl))
}

/// Creates or renews a target for some time. `standing` is what is there under its id.
pub(super) async fn register(
    api: &Api,
    standing: Option<Target>,
    spec: &TargetSpec,
    ttl: Duration,
) -> Result<Response, Problem> {
    let unchanged = |target: &Target| {
        target.origin.kind() == OriginKind::Registered && !target.deleting && target.spec == *spec
    };
    if standing.as_ref().is_some_and(unchanged)
        && let Some(target) = api.catalog.renew(&spec.target_id, ttl).await?
    {
        return Ok(Json(MetricTarget::from(&target)).into_response());
    }
    match api.catalog.register_target(spec, ttl).await? {
        Registration::New(target) => Ok(created(&target)),
        Registration::Renewed(target) => Ok(Json(MetricTarget::from(&target)).into_response()),
        Registration::Taken(target) => Err(match target.origin.job() {
            Some(job) => discovered(job),
            None => Problem::conflict(
                "a target of this id exists and does not lapse; delete it first, or leave ttl out to replace it",
            ),
        }),
    }
}
