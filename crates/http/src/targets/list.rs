//! Looking at targets.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metricsd_model::{HealthStatus, Target};
use metricsd_ports::{PortError, TargetFilter};

use super::answer::MetricTarget;
use super::{TargetId, check_target_id, unknown_target};
use crate::Problem;
use crate::api::{Api, AppState};
use crate::discovery::read_origin;
use crate::params::Params;

/// Entries of a page that asks for no number, and the most that one may ask for.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// The cursor of the next page, for those who do not read `Link`.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// `GET /api/v1/metrics/targets`
pub(crate) async fn list(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (filter, limit) = read(query.as_deref())?;
    let mut targets = shared.api.catalog.targets(&filter, limit + 1).await?;
    let more = targets.len() > limit;
    targets.truncate(limit);
    let answer: Vec<MetricTarget<'_>> = targets.iter().map(MetricTarget::from).collect();
    let mut response = Json(answer).into_response();
    if let (true, Some(last)) = (more, targets.last()) {
        let cursor = URL_SAFE_NO_PAD.encode(&last.spec.target_id);
        let link = format!("<{}>; rel=\"next\"", next_page(query.as_deref(), &cursor));
        let headers = response.headers_mut();
        for (name, text) in [(header::LINK, link), (NEXT_CURSOR, cursor)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
    Ok(response)
}

/// Targets that are read at once where all are wanted.
const PAGE: usize = 1_000;

/// All targets of a filter that are not being deleted.
pub(crate) async fn all(api: &Api, mut filter: TargetFilter) -> Result<Vec<Target>, PortError> {
    let mut all: Vec<Target> = Vec::new();
    loop {
        let page = api.catalog.targets(&filter, PAGE).await?;
        let more = page.len() == PAGE;
        filter.after = page.last().map(|target| target.spec.target_id.clone());
        all.extend(page.into_iter().filter(|target| !target.deleting));
        if !more {
            return Ok(all);
        }
    }
}

/// `GET /api/v1/metrics/targets/{target_id}`
pub(crate) async fn show(
    State(shared): AppState,
    TargetId(target_id): TargetId,
) -> Result<Response, Problem> {
    let catalog = &shared.api.catalog;
    let target = catalog.target(&target_id).await?.ok_or_else(unknown_target)?;
    let discovered = match target.origin.job() {
        Some(_) => catalog.discovered_labels(std::slice::from_ref(&target_id)).await?.remove(&target_id),
        None => None,
    };
    Ok(Json(MetricTarget::from(&target).with_discovered(discovered)).into_response())
}

fn read(query: Option<&str>) -> Result<(TargetFilter, usize), Problem> {
    let mut params = Params::new(query);
    let labels = params.all("label");
    let filter = TargetFilter {
        source_id: params.one("source_id"),
        health: params.parsed("health", |text| {
            let names: Vec<&str> = HealthStatus::ALL.iter().map(|status| status.as_str()).collect();
            HealthStatus::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
        }),
        labels: labels.iter().filter_map(|text| split_label(&mut params, text)).collect(),
        origin: read_origin(&mut params),
        enabled: params.parsed("enabled", |text| text.parse().map_err(|_| "is not true or false".to_owned())),
        after: params
            .parsed("cursor", |text| decode_cursor(text).ok_or_else(|| "is not a cursor".to_owned())),
    };
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT);
    params.finish()?;
    Ok((filter, limit))
}

/// A filter by label, `name:value`.
pub(crate) fn split_label(params: &mut Params, text: &str) -> Option<(String, String)> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Some((name.to_owned(), value.to_owned())),
        _ => {
            params.error("label", "is not written name:value");
            None
        }
    }
}

fn decode_cursor(text: &str) -> Option<String> {
    let id = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    check_target_id(&id).is_ok().then_some(id)
}

/// The same request with another cursor.
fn next_page(query: Option<&str>, cursor: &str) -> String {
    let mut serializer = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
        if name != "cursor" {
            serializer.append_pair(&name, &value);
        }
    }
    serializer.append_pair("cursor", cursor);
    format!("/api/v1/metrics/targets?{}", serializer.finish())
}
