//! How discovery goes, and our own targets for those who discover.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use metricsd_model::event::rfc3339;
use metricsd_model::{Millis, OriginKind, Target};
use metricsd_ports::{ConfigState, Conflict, DroppedTarget, JobState, ProviderState, TargetFilter};
use serde::Serialize;

use crate::Problem;
use crate::api::{AppState, now};
use crate::params::Params;
use crate::targets::{all, split_label};

#[derive(Serialize)]
struct Discovery {
    config: Option<Config>,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
struct Config {
    file: String,
    process: String,
    last_reload_successful: bool,
    last_success: Option<String>,
    last_read: Option<String>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Job {
    job: String,
    providers: Vec<Provider>,
    active: u64,
    dropped: u64,
    error: Option<String>,
    conflicts: Vec<Conflict>,
    synced: Option<String>,
    age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_targets: Option<Vec<DroppedTarget>>,
}

#[derive(Serialize)]
struct Provider {
    provider: String,
    settings: String,
    targets: u64,
    complete: bool,
    last_success: Option<String>,
    age_seconds: Option<f64>,
    last_failure: Option<String>,
    failures_in_a_row: u64,
    error: Option<String>,
}

fn age(at: Option<Millis>) -> Option<f64> {
    at.map(|at| now().saturating_sub(at).max(0) as f64 / 1e3)
}

impl From<ConfigState> for Config {
    fn from(state: ConfigState) -> Self {
        Self {
            last_reload_successful: state.errors.is_empty() && state.last_success.is_some(),
            file: state.file,
            process: state.process,
            last_success: state.last_success.map(rfc3339),
            last_read: state.last_read.map(rfc3339),
            errors: state.errors,
        }
    }
}

impl From<ProviderState> for Provider {
    fn from(state: ProviderState) -> Self {
        Self {
            provider: state.provider,
            settings: state.settings,
            targets: state.targets,
            complete: state.complete,
            last_success: state.last_success.map(rfc3339),
            age_seconds: age(state.last_success),
            last_failure: state.last_failure.map(rfc3339),
            failures_in_a_row: state.failures_in_a_row,
            error: state.error,
        }
    }
}

impl Job {
    fn of(state: JobState, dropped: bool) -> Self {
        Self {
            job: state.job,
            providers: state.providers.into_iter().map(Provider::from).collect(),
            active: state.active,
            dropped: state.dropped,
            error: state.error,
            conflicts: state.conflicts,
            synced: state.synced.map(rfc3339),
            age_seconds: age(state.synced),
            dropped_targets: dropped.then_some(state.dropped_targets),
        }
    }
}

/// `GET /api/v1/metrics/discovery`
pub(crate) async fn discovery(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let job = params.one("job");
    let dropped =
        params.parsed("dropped", |text| text.parse().map_err(|_| "is not true or false".to_owned()));
    params.finish()?;
    let catalog = &shared.api.catalog;
    let config = catalog.config_state().await?.map(Config::from);
    let mut states = catalog.discovery_states().await?;
    states.retain(|state| job.as_ref().is_none_or(|job| *job == state.job));
    let jobs = states.into_iter().map(|state| Job::of(state, dropped.unwrap_or(false))).collect();
    Ok(Json(Discovery { config, jobs }).into_response())
}

/// Targets with the same labels, as `http_sd` reads them.
#[derive(Serialize)]
struct Group {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// What another server needs to scrape a target as we do.
fn sd_labels(target: &Target) -> BTreeMap<String, String> {
    let spec = &target.spec;
    let config = &spec.scrape_config;
    let own = [
        ("job", spec.source_id.clone()),
        ("__scheme__", config.scheme.clone()),
        ("__metrics_path__", config.metrics_path.clone()),
        ("__scrape_interval__", config.scrape_interval.to_string()),
        ("__scrape_timeout__", config.scrape_timeout.to_string()),
        ("__meta_metricsd_origin", target.origin.kind().to_string()),
        ("__meta_metricsd_source_id", spec.source_id.clone()),
    ];
    let mut labels: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let url = spec.scrape_url();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // Of several values only the first can be said.
        labels.entry(format!("__param_{name}")).or_insert_with(|| value.into_owned());
    }
    for (name, values) in &config.options.params {
        if let Some(first) = values.first() {
            labels.entry(format!("__param_{name}")).or_insert_with(|| first.clone());
        }
    }
    labels.extend(spec.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    // It is so by itself.
    if labels.get("instance") == Some(&spec.instance()) {
        labels.remove("instance");
    }
    labels
}

/// `GET /api/v1/metrics/http_sd`
pub(crate) async fn http_sd(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut params = Params::new(query.as_deref());
    let labels = params.all("label");
    let filter = TargetFilter {
        source_id: params.one("source_id"),
        labels: labels.iter().filter_map(|text| split_label(&mut params, text)).collect(),
        origin: read_origin(&mut params),
        enabled: Some(true),
        ..TargetFilter::default()
    };
    params.finish()?;
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<String>> = BTreeMap::new();
    for target in all(&shared.api, filter).await? {
        groups.entry(sd_labels(&target)).or_default().push(target.spec.instance());
    }
    let groups: Vec<Group> = groups.into_iter().map(|(labels, targets)| Group { targets, labels }).collect();
    Ok(Json(groups).into_response())
}

/// The parameter `origin`.
pub(crate) fn read_origin(params: &mut Params) -> Option<OriginKind> {
    params.parsed("origin", |text| {
        let names: Vec<&str> = OriginKind::ALL.iter().map(|origin| origin.as_str()).collect();
        OriginKind::from_name(text).ok_or_else(|| format!("is not one of {}", names.join(", ")))
    })
}
