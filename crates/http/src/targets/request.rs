//! `MetricCollectionRequest`: read, checked, defaults filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_ingest::Limits;
use metricsd_model::batch::content_key;
use metricsd_model::labels::is_classic_label_name;
use metricsd_model::{
    AuthConfig, CollectionMethod, MetricSource, PromDuration, RetentionPolicy, ScrapeConfig, TargetSpec,
};
use metricsd_scrape::SecretAccess;
use serde_json::{Map, Value};

use super::address::{origin, read_target_url};
use super::options::read_options;
use super::parts::{Stored, read_authentication, read_filters};
use super::{MAX_ID, check_source_id, check_target_id};
use crate::api::ApiSettings;
use crate::fields::{Errors, Fields};
use crate::problem::Problem;

/// The shortest interval.
const MIN_INTERVAL_MILLIS: i64 = 100;

/// The longest interval: a sample must speak for its series until the next.
const MAX_INTERVAL_MILLIS: i64 = 24 * 3_600_000;

/// The longest path.
const MAX_PATH: usize = 500;

/// Hexadecimal digits at the end of an id that metricsd makes.
const ID_DIGITS: usize = 12;

/// What a request is read against.
pub(super) struct Context<'c> {
    pub(super) settings: &'c ApiSettings,
    pub(super) limits: &'c Limits,
    /// What secrets may be references to.
    pub(super) access: &'c SecretAccess,
    /// The id that the address names, for requests that replace a target.
    pub(super) target_id: Option<&'c str>,
    /// What is stored, so that a masked secret may stand for the one that is known.
    pub(super) stored: Option<&'c ScrapeConfig>,
}

/// Reads a whole request.
pub(super) fn read(map: Map<String, Value>, context: &Context<'_>) -> Result<TargetSpec, Problem> {
    let mut errors = Errors::default();
    let mut fields = Fields::new("", map, &mut errors);
    let spec = read_spec(&mut fields, context);
    fields.finish();
    errors.into_result(spec)
}

fn read_spec(fields: &mut Fields<'_>, context: &Context<'_>) -> Option<TargetSpec> {
    let source_id = fields.string("source_id");
    let source_id = fields.require("source_id", source_id);
    if let Some(Err(message)) = source_id.as_deref().map(check_source_id) {
        fields.error("source_id", message);
    }
    let method = fields.one_of("collection_method", &named(CollectionMethod::ALL, CollectionMethod::as_str));
    if let Some(message) = method.and_then(not_scraped) {
        fields.error("collection_method", message);
    }
    let source_type = fields.one_of("source_type", &named(MetricSource::ALL, MetricSource::as_str));
    let labels = fields.string_map("labels").unwrap_or_default();
    check_labels(fields, &labels, context.limits);
    let enabled = fields.bool("enabled").unwrap_or(true);
    let filters = read_filters(fields);
    let retention_policy = read_retention(fields);
    let target_id = read_target_id(fields, context);
    let scrape_config = match fields.object("scrape_config") {
        Some(mut config) => {
            let read = read_scrape_config(&mut config, context);
            config.finish();
            read
        }
        None => fields.require("scrape_config", None),
    };
    let mut spec = TargetSpec {
        target_id: String::new(),
        source_id: source_id?,
        source_type: source_type.unwrap_or_default(),
        collection_method: CollectionMethod::PullScraping,
        scrape_config: scrape_config?,
        labels,
        filters,
        retention_policy,
        enabled,
    };
    spec.target_id = target_id.unwrap_or_else(|| derived_id(&spec));
    Some(spec)
}

fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<(&'static str, T)> {
    all.iter().map(|value| (name(*value), *value)).collect()
}

/// Only what is scraped is a target; everyone else pushes, and is told where.
fn not_scraped(method: CollectionMethod) -> Option<&'static str> {
    match method {
        CollectionMethod::PullScraping => None,
        CollectionMethod::PushGateway | CollectionMethod::BatchUpload | CollectionMethod::Streaming => Some(
            "only PULL_SCRAPING sources are targets; what pushes needs none: send it to POST /api/v1/metrics/custom",
        ),
    }
}

fn read_target_id(fields: &mut Fields<'_>, context: &Context<'_>) -> Option<String> {
    let given = fields.string("target_id");
    match (given, context.target_id) {
        (Some(id), Some(expected)) if id != expected => {
            fields.error("target_id", format!("differs from {expected:?} in the address"));
            None
        }
        (_, Some(expected)) => Some(expected.to_owned()),
        (Some(id), None) => {
            if let Err(message) = check_target_id(&id) {
                fields.error("target_id", message);
            }
            Some(id)
        }
        (None, None) => None,
    }
}

/// The id of a target that was given none: the same for the same source and page, whenever it is asked for.
fn derived_id(spec: &TargetSpec) -> String {
    let slug: String = spec
        .source_id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(MAX_ID - ID_DIGITS - 1)
        .collect();
    let key = content_key(format!("{}\n{}", spec.source_id, spec.scrape_url()).as_bytes());
    let digits: String = key.iter().take(ID_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{slug}-{digits}")
}

/// Labels that a target adds: names that every Prometheus reads, none of the reserved ones.
pub(super) fn check_labels(fields: &mut Fields<'_>, labels: &BTreeMap<String, String>, limits: &Limits) {
    // The metric's name, `job` and `instance` count too.
    if labels.len() + 3 > limits.max_labels {
        let message = format!("more than {} labels", limits.max_labels.saturating_sub(3));
        fields.error("labels", message);
    }
    for (name, value) in labels {
        let shown: String = name.chars().take(60).collect();
        let path = format!("labels.{shown}");
        if name.starts_with("__") {
            fields.error(&path, "is reserved: names that begin with two underscores are metricsd's own");
        } else if !is_classic_label_name(name) {
            fields.error(&path, "is not a label name: letters, digits and _, not a digit first");
        } else if name.len() > limits.max_label_name_bytes {
            fields.error(&path, format!("has a name longer than {} bytes", limits.max_label_name_bytes));
        }
        if value.len() > limits.max_label_value_bytes {
            fields.error(&path, format!("has a value longer than {} bytes", limits.max_label_value_bytes));
        }
        if value.contains('\0') {
            fields.error(&path, "holds a NUL character");
        }
    }
}

fn read_retention(fields: &mut Fields<'_>) -> Option<RetentionPolicy> {
    let mut policy = fields.object("retention_policy")?;
    let duration = policy.duration("duration");
    let duration = policy.require("duration", duration);
    if duration.is_some_and(|duration| duration.millis() == 0) {
        policy.error("duration", "must be above zero; leave retention_policy out to keep all samples");
    }
    policy.finish();
    duration.map(|duration| RetentionPolicy { duration })
}

fn read_scrape_config(fields: &mut Fields<'_>, context: &Context<'_>) -> Option<ScrapeConfig> {
    let target_url = fields.string("target_url");
    let target_url = fields.require("target_url", target_url);
    let url = target_url.as_deref().map(read_target_url);
    let url = match url {
        Some(Err(message)) => {
            fields.error("target_url", message);
            None
        }
        Some(Ok(url)) => Some(url),
        None => None,
    };
    let scheme = fields.one_of("scheme", &[("http", "http"), ("https", "https")]);
    let metrics_path = read_path(fields);
    if let Some(url) = &url {
        if let (Some(asked), Some(said)) = (scheme, url.scheme)
            && asked != said
        {
            fields.error("scheme", format!("is {asked}, but target_url begins with {said}://"));
        }
        if let (Some(asked), Some(said)) = (&metrics_path, &url.path)
            && asked != said
        {
            fields.error("metrics_path", format!("is {asked:?}, but the path of target_url is {said:?}"));
        }
    }
    let (scrape_interval, scrape_timeout) = read_times(fields, context.settings);
    let scheme = scheme.or(url.as_ref().and_then(|url| url.scheme)).unwrap_or("http");
    let goes_to = target_url.as_deref().and_then(|target_url| origin(scheme, target_url));
    let moved = context
        .stored
        .is_some_and(|stored| goes_to.is_none() || goes_to != origin(&stored.scheme, &stored.target_url));
    let (options, moved) = read_options(fields, context, moved);
    if let Some(fault) =
        metricsd_scrape::check::adaptive_fault(options.adaptive_interval_max_ms, scrape_interval)
    {
        fields.error("adaptive_interval_max_ms", fault);
    }
    let stored = context.stored.and_then(|stored| {
        stored.authentication.as_ref().map(|authentication| Stored { authentication, moved })
    });
    let authentication = read_authentication(fields, stored);
    if authentication.is_some() && options.http.auth.is_some() {
        fields.error("http.auth", "cannot be given together with authentication");
    }
    if let Some(AuthConfig::Header { name, .. }) = &authentication
        && options.http.headers.keys().any(|header| header.eq_ignore_ascii_case(name))
    {
        fields.error("http.headers", format!("{name} is what authentication sends"));
    }
    let honor_labels = fields.bool("honor_labels").unwrap_or(false);
    let honor_timestamps = fields.bool("honor_timestamps").unwrap_or(true);
    let url = url?;
    Some(ScrapeConfig {
        target_url: target_url?,
        scrape_interval,
        scrape_timeout,
        metrics_path: metrics_path.or(url.path).unwrap_or_else(|| "/metrics".to_owned()),
        scheme: scheme.to_owned(),
        authentication,
        honor_labels,
        honor_timestamps,
        options: Arc::new(options),
    })
}

fn read_path(fields: &mut Fields<'_>) -> Option<String> {
    let path = fields.string("metrics_path")?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '#');
    if !path.starts_with('/') {
        fields.error("metrics_path", "must begin with /");
    } else if path.contains('?') {
        fields.error("metrics_path", "holds a query: put it into target_url");
    } else if path.len() > MAX_PATH {
        fields.error("metrics_path", format!("is longer than {MAX_PATH} bytes"));
    } else if path.chars().any(odd) {
        fields.error("metrics_path", "holds a blank, a control character, a backslash or #");
    }
    Some(path)
}

/// Interval and timeout; where one is wrong its default stands in, as the request is refused anyway.
fn read_times(fields: &mut Fields<'_>, settings: &ApiSettings) -> (PromDuration, PromDuration) {
    let interval = fields.duration("scrape_interval").unwrap_or(settings.default_interval);
    if interval.millis() < MIN_INTERVAL_MILLIS {
        fields.error("scrape_interval", format!("is {interval}, shorter than {MIN_INTERVAL_MILLIS}ms"));
    }
    if interval.millis() > MAX_INTERVAL_MILLIS {
        fields.error("scrape_interval", format!("is {interval}, longer than 1d"));
    }
    let timeout = fields.duration("scrape_timeout").unwrap_or(settings.default_timeout.min(interval));
    if timeout > interval {
        fields.error("scrape_timeout", format!("is {timeout}, longer than the interval of {interval}"));
    }
    if timeout.millis() == 0 {
        fields.error("scrape_timeout", "must be above zero");
    }
    (interval, timeout)
}
