//! One `scrape_config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{OnLimit, PromDuration, ScrapeConfig, ScrapeOptions};

use super::context::Context;
use super::global::{GlobalConfig, Inherited, filled};
use super::section::{Section, describe};
use super::value::shown;
use super::yaml::{Node, Value};
use super::{consul, dns, file_sd, global, http, http_sd, kubernetes, relabel, static_sd, unsupported};
use crate::config::{JobConfig, ProviderConfig};

/// The shortest time between two scrapes; Prometheus has no such bound.
const MIN_INTERVAL: PromDuration = PromDuration(std::time::Duration::from_millis(100));

/// The longest that an adaptive interval may become.
const MAX_ADAPTIVE_INTERVAL: PromDuration = PromDuration(std::time::Duration::from_secs(24 * 3_600));

/// Reads a job; nothing where it has no name.
pub(super) fn read(cx: &Context, path: String, node: &Node, global: &GlobalConfig) -> Option<JobConfig> {
    if node.value == Value::Nothing {
        cx.problem(node.place, &path, "an empty job: write job_name and its targets");
        return None;
    }
    let mut job = Section::open(cx, path, node)?;
    let name = job.filled("job_name");
    if name.is_none() {
        job.problem("job_name", "job_name is missing");
    }
    let scrape = scrape(&mut job, global);
    let relabel_configs =
        relabel::read(&mut job, "relabel_configs", scrape.options.metric_name_validation_scheme);
    let limit = |written: Option<u64>, global: u64| written.filter(|limit| *limit > 0).unwrap_or(global);
    let target_limit = limit(job.count("target_limit"), global.target_limit);
    let keep_dropped_targets = limit(job.count("keep_dropped_targets"), global.keep_dropped_targets);
    let providers = providers(&mut job, relabel_configs.is_empty());
    job.close();
    Some(JobConfig { name: name?, scrape, relabel_configs, target_limit, keep_dropped_targets, providers })
}

fn scrape(job: &mut Section<'_>, global: &GlobalConfig) -> ScrapeConfig {
    let (scrape_interval, scrape_timeout) = times(job, global);
    let scheme = job.filled("scheme").unwrap_or_else(|| "http".to_owned());
    if !matches!(scheme.as_str(), "http" | "https") {
        job.problem("scheme", format!("{} is neither http nor https", shown(&scheme)));
    }
    ScrapeConfig {
        target_url: String::new(),
        scrape_interval,
        scrape_timeout,
        metrics_path: job.filled("metrics_path").unwrap_or_else(|| "/metrics".to_owned()),
        scheme,
        authentication: None,
        honor_labels: job.flag("honor_labels").unwrap_or(false),
        honor_timestamps: job.flag("honor_timestamps").unwrap_or(true),
        options: Arc::new(options(job, global, scrape_interval)),
    }
}

fn times(job: &mut Section<'_>, global: &GlobalConfig) -> (PromDuration, PromDuration) {
    let interval = filled(job.duration("scrape_interval")).unwrap_or(global.scrape_interval);
    if interval < MIN_INTERVAL {
        job.problem(
            "scrape_interval",
            format!("{interval} is too short; the shortest interval is {MIN_INTERVAL}"),
        );
    }
    match filled(job.duration("scrape_timeout")) {
        Some(timeout) if timeout > interval => {
            let message = format!("the timeout, {timeout}, is longer than the interval, {interval}");
            job.problem("scrape_timeout", message);
            (interval, interval)
        }
        Some(timeout) => (interval, timeout),
        None => (interval, global.scrape_timeout.min(interval)),
    }
}

fn options(job: &mut Section<'_>, global: &GlobalConfig, interval: PromDuration) -> ScrapeOptions {
    let (own, all) = (global::inherited(job), &global.scrape);
    global::failure_log(job);
    let limit = |of: fn(&Inherited) -> u64| if of(&own) > 0 { of(&own) } else { of(all) };
    let flag = |of: fn(&Inherited) -> Option<bool>| of(&own).or(of(all)).unwrap_or(false);
    let factors = [own.native_histogram_min_bucket_factor, all.native_histogram_min_bucket_factor];
    let inherited = ScrapeOptions {
        scrape_protocols: own.scrape_protocols.clone().or(all.scrape_protocols.clone()).unwrap_or_default(),
        scrape_native_histograms: flag(|it| it.scrape_native_histograms),
        always_scrape_classic_histograms: flag(|it| it.always_scrape_classic_histograms),
        convert_classic_histograms_to_nhcb: flag(|it| it.convert_classic_histograms_to_nhcb),
        extra_scrape_metrics: flag(|it| it.extra_scrape_metrics),
        body_size_limit: limit(|it| it.body_size_limit),
        sample_limit: limit(|it| it.sample_limit),
        label_limit: limit(|it| it.label_limit),
        label_name_length_limit: limit(|it| it.label_name_length_limit),
        label_value_length_limit: limit(|it| it.label_value_length_limit),
        native_histogram_bucket_limit: limit(|it| it.native_histogram_bucket_limit),
        native_histogram_min_bucket_factor: factors
            .into_iter()
            .find(|factor| *factor > 0.0)
            .unwrap_or_default(),
        metric_name_validation_scheme: own
            .metric_name_validation_scheme
            .or(all.metric_name_validation_scheme)
            .unwrap_or_default(),
        metric_name_escaping_scheme: own.metric_name_escaping_scheme.or(all.metric_name_escaping_scheme),
        ..ScrapeOptions::default()
    };
    ScrapeOptions {
        params: params(job),
        http: http::read(job),
        fallback_scrape_protocol: job.filled("fallback_scrape_protocol").and_then(|text| {
            let read = global::protocol(&text);
            read.map_err(|message| job.problem("fallback_scrape_protocol", message)).ok()
        }),
        track_timestamps_staleness: job.flag("track_timestamps_staleness").unwrap_or(false),
        enable_compression: job.flag("enable_compression").unwrap_or(true),
        metric_relabel_configs: relabel::read(
            job,
            "metric_relabel_configs",
            inherited.metric_name_validation_scheme,
        ),
        ..own_additions(job, inherited, interval)
    }
}

/// What Prometheus does not have: it refuses a file with these.
fn own_additions(job: &mut Section<'_>, options: ScrapeOptions, interval: PromDuration) -> ScrapeOptions {
    let on_limit = job.scalar("on_limit", |text| match text {
        "reject" => Ok(OnLimit::Reject),
        "truncate" => Ok(OnLimit::Truncate),
        other => Err(format!("{} is neither reject nor truncate", shown(other))),
    });
    let longest = filled(job.duration("adaptive_interval_max"));
    if let Some(longest) = longest {
        if longest < interval {
            let message =
                format!("{longest} is shorter than the interval, {interval}, that it is to stretch");
            job.problem("adaptive_interval_max", message);
        } else if longest > MAX_ADAPTIVE_INTERVAL {
            job.problem("adaptive_interval_max", format!("{longest} is too long; at most 1d is taken"));
        }
    }
    ScrapeOptions {
        on_limit: on_limit.unwrap_or_default(),
        adaptive_interval_max_ms: longest.and_then(|longest| u64::try_from(longest.millis()).ok()),
        created_timestamp_zero: job.flag("created_timestamp_zero").unwrap_or(false),
        ..options
    }
}

fn params(job: &mut Section<'_>) -> BTreeMap<String, Vec<String>> {
    let mut params = BTreeMap::new();
    for (key, path, node) in job.entries("params") {
        let text = |node: &Node| match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Nothing => Some(String::new()),
            other => {
                job.cx.problem(node.place, &path, format!("expected a text, found {}", describe(other)));
                None
            }
        };
        let values = match &node.value {
            Value::List(items) => items.iter().filter_map(text).collect(),
            // One value without brackets is taken as a list of one.
            _ => text(node).into_iter().collect(),
        };
        params.insert(key.name.clone(), values);
    }
    params
}

fn providers(job: &mut Section<'_>, without_rules: bool) -> Vec<ProviderConfig> {
    let cx = job.cx;
    let mut providers: Vec<ProviderConfig> = static_sd::read(job, without_rules).into_iter().collect();
    type Read = fn(Section<'_>) -> Option<ProviderConfig>;
    let kinds: [(&'static str, Read); 5] = [
        ("file_sd_configs", file_sd::read),
        ("http_sd_configs", http_sd::read),
        ("dns_sd_configs", dns::read),
        ("consul_sd_configs", consul::read),
        ("kubernetes_sd_configs", kubernetes::read),
    ];
    for (name, read) in kinds {
        for (path, node) in job.list(name) {
            providers.extend(Section::open(cx, path, node).and_then(read));
        }
    }
    unsupported::providers(job);
    providers
}
