//! Creating, replacing and changing a target.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_model::{Origin, Target, TargetSpec};
use metricsd_ports::{Created, TargetChange};
use serde_json::{Map, Value};

use super::address::check_policy;
use super::answer::MetricTarget;
use super::debug::dry_run;
use super::difference::differences;
use super::register::{register, take_ttl};
use super::request::{self, Context};
use super::{TargetId, discovered, unknown_target};
use crate::api::{Api, AppState};
use crate::body::{self, BodyLimits};
use crate::fields::{Errors, Fields, parse_object};
use crate::params::Params;
use crate::problem::{FieldError, Problem};

/// Bytes of a target's description; that of a push may be far larger.
const MAX_BODY: usize = 1 << 20;

/// Changes come as JSON, and patches may say that they are such.
const TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// `POST /api/v1/metrics/targets`
pub(crate) async fn create(
    State(shared): AppState,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let dry = params
        .parsed("dry_run", |text| text.parse::<bool>().map_err(|_| "expected true or false".to_owned()));
    params.finish()?;
    let api = &shared.api;
    let map = read_body(api, &headers, body, &TYPES[..1]).await?;
    let (settings, limits, access) = (&api.settings, &*api.limits, api.pages.confined());
    let context = Context { settings, limits, access, target_id: None, stored: None };
    let spec = request::read(map, &context)?;
    check_address(api, &spec).await?;
    if dry == Some(true) {
        return dry_run(api, spec).await;
    }
    match api.catalog.create_target(&spec).await? {
        Created::New(target) => Ok(created(&target)),
        Created::Existing(target) if target.deleting => Err(being_deleted()),
        Created::Existing(Target { origin: Origin::Discovered { job, .. }, .. }) => Err(discovered(&job)),
        Created::Existing(target) if target.spec == spec => {
            Ok(Json(MetricTarget::from(&target)).into_response())
        }
        Created::Existing(target) => {
            let detail = format!(
                "target {:?} exists with other settings; PUT to its address replaces them",
                spec.target_id
            );
            Err(Problem::conflict(detail).with_differences(differences(&target.spec, &spec)))
        }
    }
}

pub(super) fn created(target: &Target) -> Response {
    let mut response = (StatusCode::CREATED, Json(MetricTarget::from(target))).into_response();
    let location = format!("/api/v1/metrics/targets/{}", target.spec.target_id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `PUT /api/v1/metrics/targets/{target_id}`
pub(crate) async fn replace(
    State(shared): AppState,
    TargetId(target_id): TargetId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let mut map = read_body(api, &headers, body, &TYPES[..1]).await?;
    let ttl = take_ttl(&mut map)?;
    let stored = match ttl {
        Some(_) => api.catalog.target(&target_id).await?,
        None => Some(existing(api, &target_id).await?),
    };
    let context = Context {
        settings: &api.settings,
        limits: &api.limits,
        access: api.pages.confined(),
        target_id: Some(&target_id),
        stored: stored.as_ref().map(|stored| &stored.spec.scrape_config),
    };
    let spec = request::read(map, &context)?;
    check_address(api, &spec).await?;
    if let Some(ttl) = ttl {
        return register(api, stored, &spec, ttl).await;
    }
    let replaced = api.catalog.replace_target(&spec).await?.ok_or_else(unknown_target)?;
    Ok(Json(MetricTarget::from(&replaced)).into_response())
}

/// `PATCH /api/v1/metrics/targets/{target_id}`
pub(crate) async fn change(
    State(shared): AppState,
    TargetId(target_id): TargetId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let map = read_body(api, &headers, body, &TYPES).await?;
    let mut errors = Errors::default();
    let mut fields = Fields::new("", map, &mut errors);
    let change = TargetChange { enabled: fields.bool("enabled"), labels: fields.string_map("labels") };
    request::check_labels(&mut fields, change.labels.as_ref().unwrap_or(&Default::default()), &api.limits);
    fields.finish();
    let change = errors.into_result(Some(change))?;
    existing(api, &target_id).await?;
    let changed = api.catalog.change_target(&target_id, &change).await?.ok_or_else(unknown_target)?;
    Ok(Json(MetricTarget::from(&changed)).into_response())
}

async fn read_body(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    types: &[&str],
) -> Result<Map<String, Value>, Problem> {
    body::require_type(headers, types)?;
    let limits = BodyLimits::small(api, MAX_BODY);
    parse_object(&body::read(headers, body, limits).await?)
}

async fn check_address(api: &Api, spec: &TargetSpec) -> Result<(), Problem> {
    check_policy(api, spec).await.map_err(|message| {
        Problem::fields(vec![FieldError { field: "scrape_config.target_url".to_owned(), message }])
    })
}

/// A target that can be changed.
async fn existing(api: &Api, target_id: &str) -> Result<Target, Problem> {
    match api.catalog.target(target_id).await? {
        Some(target) if target.deleting => Err(being_deleted()),
        Some(target) => match target.origin.job() {
            Some(job) => Err(discovered(job)),
            None => Ok(target),
        },
        None => Err(unknown_target()),
    }
}

/// 409, until the worker is done.
pub(super) fn being_deleted() -> Problem {
    Problem::conflict("this target is being deleted; try again when that is done").retry_after(1)
}
