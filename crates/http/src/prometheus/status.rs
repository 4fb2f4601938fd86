//! `status/…`: what this process is and how it is set.

use axum::extract::State;
use axum::response::Response;
use metricsd_model::event::rfc3339;
use serde::Serialize;

use super::AppState;
use super::answer::success_value;
use super::error::ApiError;
use super::form::Form;
use crate::api::now;

/// The version of Prometheus whose API and language this is: clients decide by it what they may ask for. What follows
/// the plus sign is ours, and is left aside where versions are compared.
const VERSION: &str = concat!("3.5.0+metricsd.", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// `/api/v1/status/buildinfo`
pub(super) async fn build_info() -> Response {
    success_value(&BuildInfo {
        version: VERSION,
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    #[serde(rename = "CWD")]
    folder: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    /// Tasks of the runtime are what comes nearest.
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    collector: &'static str,
    #[serde(rename = "GODEBUG")]
    debug: &'static str,
    storage_retention: String,
}

/// `/api/v1/status/runtimeinfo`
pub(super) async fn runtime_info(State(shared): AppState) -> Response {
    let started = rfc3339(shared.started);
    let folder = std::env::current_dir().unwrap_or_default();
    success_value(&RuntimeInfo {
        start_time: started.clone(),
        folder: folder.to_string_lossy().into_owned(),
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        server_time: rfc3339(now()),
        reload_config_success: true,
        // The configuration is read once, at start.
        last_config_time: started,
        corruption_count: 0,
        goroutine_count: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_limit: i64::MAX,
        collector: "",
        debug: "",
        storage_retention: shared.api.settings.prometheus.retention.clone(),
    })
}

#[derive(Serialize)]
struct Config<'a> {
    yaml: &'a str,
}

/// `/api/v1/status/config`
pub(super) async fn config(State(shared): AppState) -> Response {
    success_value(&Config { yaml: &shared.api.settings.prometheus.config_yaml })
}

/// `/api/v1/status/flags`
pub(super) async fn flags(State(shared): AppState) -> Response {
    success_value(&shared.api.settings.prometheus.flags)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Entry>,
    label_value_count_by_label_name: Vec<Entry>,
    memory_in_bytes_by_label_name: Vec<Entry>,
    series_count_by_label_value_pair: Vec<Entry>,
}

/// Without what belongs to chunks in memory, of which there are none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: usize,
    num_label_pairs: usize,
    chunk_count: usize,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    value: usize,
}

fn entries(entries: Vec<(String, usize)>) -> Vec<Entry> {
    entries.into_iter().map(|(name, value)| Entry { name, value }).collect()
}

/// Entries of each list where none or no sensible number is asked for, and at most.
const DEFAULT_TOP: usize = 10;
const MAX_TOP: usize = 10_000;

/// `/api/v1/status/tsdb`
pub(super) async fn tsdb(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let top = match form.first("limit") {
        "" => DEFAULT_TOP,
        text => match text.parse::<usize>() {
            Ok(0) | Err(_) => return Err(ApiError::bad_data("limit must be a positive number")),
            Ok(top) if top > MAX_TOP => {
                return Err(ApiError::bad_data(format!("limit must not exceed {MAX_TOP}")));
            }
            Ok(top) => top,
        },
    };
    let statistics = shared.api.source.index_statistics(top).await?;
    Ok(success_value(&Index {
        head_stats: HeadStats {
            num_series: statistics.series,
            num_label_pairs: statistics.label_pairs,
            chunk_count: 0,
        },
        series_count_by_metric_name: entries(statistics.series_by_metric),
        label_value_count_by_label_name: entries(statistics.values_by_label),
        memory_in_bytes_by_label_name: entries(statistics.bytes_by_label),
        series_count_by_label_value_pair: entries(statistics.series_by_pair),
    }))
}
