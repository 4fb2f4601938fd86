//! `targets`, `targets/metadata`, `scrape_pools`: our targets as Prometheus shows its own. A source is a pool.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use metricsd_model::event::rfc3339;
use metricsd_model::{
    FamilyMetadata, HealthStatus, LabelSet, METRIC_NAME, Matcher, Series, Target, family_of,
};
use metricsd_ports::{PortError, TargetFilter};
use serde::Serialize;

use super::answer::{List, Remarks, success, success_value};
use super::error::ApiError;
use super::form::Form;
use super::metadata::Statements;
use super::{AppState, json, metadata, values};
use crate::api::{Api, now};
use crate::targets::all;

/// Targets that are read at once.
const PAGE: usize = 1_000;

/// A target that is scraped.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
}

/// A target that is not scraped: it is disabled, or relabelling dropped it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTarget {
    discovered_labels: BTreeMap<String, String>,
    scrape_pool: String,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
    dropped_targets: Vec<DroppedTarget>,
    dropped_target_counts: BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pools {
    scrape_pools: BTreeSet<String>,
}

/// Which pool a target is in: its job's, or its source's.
fn pool(target: &Target) -> &str {
    target.origin.job().unwrap_or(&target.spec.source_id)
}

/// Labels before relabelling, of those targets that have such.
async fn all_discovered(
    api: &Api,
    targets: &[Target],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
    let found = targets.iter().filter(|target| target.origin.job().is_some());
    let ids: Vec<String> = found.map(|target| target.spec.target_id.clone()).collect();
    let mut labels = BTreeMap::new();
    for page in ids.chunks(PAGE) {
        labels.extend(api.catalog.discovered_labels(page).await?);
    }
    Ok(labels)
}

/// What the target adds to its series.
fn labels(target: &Target) -> BTreeMap<String, String> {
    if target.spec.scrape_config.options.exact_labels {
        return target.spec.labels.clone();
    }
    let mut labels = BTreeMap::from([
        ("job".to_owned(), target.spec.source_id.clone()),
        ("instance".to_owned(), target.spec.instance()),
    ]);
    labels.extend(target.spec.labels.clone());
    labels
}

/// What is known of it before it is scraped.
fn discovered(target: &Target) -> BTreeMap<String, String> {
    let config = &target.spec.scrape_config;
    let mut labels = BTreeMap::from([
        ("__address__".to_owned(), target.spec.instance()),
        ("__metrics_path__".to_owned(), config.metrics_path.clone()),
        ("__scheme__".to_owned(), config.scheme.clone()),
        ("__scrape_interval__".to_owned(), config.scrape_interval.to_string()),
        ("__scrape_timeout__".to_owned(), config.scrape_timeout.to_string()),
        ("job".to_owned(), target.spec.source_id.clone()),
    ]);
    labels.extend(target.spec.labels.clone());
    labels
}

/// When a target was last scraped that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl ActiveTarget {
    fn new(target: &Target, discovered_labels: BTreeMap<String, String>) -> Self {
        let (spec, health) = (&target.spec, &target.health);
        Self {
            discovered_labels,
            labels: labels(target),
            scrape_pool: pool(target).to_owned(),
            scrape_url: spec.scrape_url(),
            global_url: spec.scrape_url(),
            last_error: health.error.clone().unwrap_or_default(),
            last_scrape: health.last_scrape.map_or_else(|| NEVER.to_owned(), rfc3339),
            last_scrape_duration: health.scrape_duration_ms / 1e3,
            health: match health.status {
                HealthStatus::Healthy => "up",
                HealthStatus::Unhealthy => "down",
                HealthStatus::Unknown | HealthStatus::Disabled => "unknown",
            },
            scrape_interval: spec.scrape_config.scrape_interval.to_string(),
            scrape_timeout: spec.scrape_config.scrape_timeout.to_string(),
        }
    }
}

/// `/api/v1/targets`
pub(super) async fn targets(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let state = form.first("state").to_lowercase();
    let shows = |kind: &str| matches!(state.as_str(), "" | "any") || state == kind;
    let wanted = form.first("scrapePool");
    let in_pool = |name: &str| wanted.is_empty() || wanted == name;
    let api = &shared.api;
    let mut found = all(api, TargetFilter::default()).await?;
    found.retain(|target| in_pool(pool(target)));
    let mut labels = all_discovered(api, &found).await?;
    let mut answer = Targets::default();
    for target in found {
        let dropped = answer.dropped_target_counts.entry(pool(&target).to_owned()).or_default();
        let labels = labels.remove(&target.spec.target_id).unwrap_or_else(|| discovered(&target));
        if target.spec.enabled {
            if shows("active") {
                answer.active_targets.push(ActiveTarget::new(&target, labels));
            }
            continue;
        }
        *dropped += 1;
        if shows("dropped") {
            let scrape_pool = pool(&target).to_owned();
            answer.dropped_targets.push(DroppedTarget { discovered_labels: labels, scrape_pool });
        }
    }
    for job in api.catalog.discovery_states().await?.into_iter().filter(|job| in_pool(&job.job)) {
        *answer.dropped_target_counts.entry(job.job.clone()).or_default() += job.dropped;
        if shows("dropped") {
            answer.dropped_targets.extend(job.dropped_targets.into_iter().map(|dropped| DroppedTarget {
                discovered_labels: dropped.labels,
                scrape_pool: job.job.clone(),
            }));
        }
    }
    Ok(success_value(&answer))
}

/// `/api/v1/scrape_pools`
pub(super) async fn pools(State(shared): AppState) -> Result<Response, ApiError> {
    let targets = all(&shared.api, TargetFilter::default()).await?;
    let mut scrape_pools: BTreeSet<String> = targets.iter().map(|target| pool(target).to_owned()).collect();
    let jobs = shared.api.catalog.discovery_states().await?;
    scrape_pools.extend(jobs.into_iter().map(|job| job.job));
    Ok(success_value(&Pools { scrape_pools }))
}

/// How far back a target's newest page is looked for.
const LATEST_MILLIS: i64 = 3_600_000;

/// One family of one target.
struct TargetFamily {
    target: LabelSet,
    metric: Option<String>,
    statement: Vec<u8>,
}

/// `/api/v1/targets/metadata`: what the newest pages of the targets say.
pub(super) async fn targets_metadata(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let limit = values::number(form.first("limit"))
        .map_err(|_| ApiError::bad_data("limit must be a number"))?
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let matchers = match form.first("match_target") {
        "" => Vec::new(),
        text => {
            metricsd_promql::parse_selector(text).map_err(|error| ApiError::invalid("match_target", error))?
        }
    };
    let metric = form.first("metric");
    let known = Statements::all(&shared.api).await?;
    let mut found = Vec::new();
    let mut asked = 0;
    for target in
        all(&shared.api, TargetFilter::default()).await?.into_iter().filter(|target| target.spec.enabled)
    {
        if asked >= limit {
            break;
        }
        let Ok(labels) = LabelSet::new(labels(&target)) else { continue };
        // A selector of targets has no metric name.
        let of_labels = |matcher: &Matcher| {
            matcher.name == METRIC_NAME || matcher.matches(labels.get(&matcher.name).unwrap_or(""))
        };
        if matchers.iter().all(of_labels) {
            asked += 1;
            found.extend(families(&shared.api, &target, &labels, metric, &known).await?);
        }
    }
    Ok(success(List::new(found, write), &Remarks::default()))
}

/// What a series says of its family.
fn stated(series: &Series) -> FamilyMetadata {
    FamilyMetadata {
        family: family_of(series.labels.metric_name(), series.metric_type).to_owned(),
        metric_type: series.metric_type.into(),
        help: series.help.as_deref().unwrap_or_default().to_owned(),
        unit: series.unit.as_deref().unwrap_or_default().to_owned(),
    }
}

async fn families(
    api: &Api,
    target: &Target,
    labels: &LabelSet,
    metric: &str,
    known: &Statements,
) -> Result<Vec<TargetFamily>, PortError> {
    let latest = api.source.latest(&target.spec.target_id, now() - LATEST_MILLIS).await?;
    let mut families: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for series in latest.iter().map(|latest| &latest.series) {
        let said = stated(series);
        // What families say of themselves goes before what their series say.
        let better = known.covering(&said).unwrap_or(&said);
        if (!metric.is_empty() && metric != better.family) || families.contains_key(&better.family) {
            continue;
        }
        let mut statement = Vec::new();
        metadata::statement(&mut statement, better.metric_type, &better.help, &better.unit);
        families.insert(better.family.clone(), statement);
    }
    // Who asks for one family knows its name.
    let name = |family: String| metric.is_empty().then_some(family);
    let family =
        |(family, statement)| TargetFamily { target: labels.clone(), metric: name(family), statement };
    Ok(families.into_iter().map(family).collect())
}

fn write(out: &mut Vec<u8>, family: TargetFamily) {
    out.extend_from_slice(b"{\"target\":");
    json::labels(out, &family.target);
    if let Some(metric) = &family.metric {
        out.extend_from_slice(b",\"metric\":");
        json::string(out, metric);
    }
    out.push(b',');
    out.extend_from_slice(&family.statement);
}
