//! `MetricTarget`: what answers say of a target.

use std::collections::BTreeMap;

use metricsd_model::event::rfc3339;
use metricsd_model::{
    CollectionMethod, FailureReason, Health, HealthStatus, MetricFilter, MetricSource, Origin, OriginKind,
    RetentionPolicy, ScrapeConfig, Target,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::options::options_json;
use super::parts::masked;

/// The source document's fields, and ours after them.
#[derive(Serialize)]
pub(super) struct MetricTarget<'t> {
    target_id: &'t str,
    target_url: &'t str,
    labels: &'t BTreeMap<String, String>,
    health_status: HealthStatus,
    last_scrape: Option<String>,
    scrape_duration_ms: f64,
    samples_scraped: u64,
    source_id: &'t str,
    source_type: MetricSource,
    collection_method: CollectionMethod,
    scrape_config: Value,
    filters: &'t [MetricFilter],
    retention_policy: &'t Option<RetentionPolicy>,
    enabled: bool,
    deleting: bool,
    created_at: String,
    origin: OriginKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered_labels: Option<BTreeMap<String, String>>,
    last_error: Option<LastError<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'t str>,
}

/// What is to be said of a scrape that did not fail: samples that were refused, an interval that is stretched.
pub(super) fn note(health: &Health) -> Option<&str> {
    health.error.as_deref().filter(|_| health.reason.is_none())
}

/// Why the last scrape failed.
#[derive(Serialize)]
pub(super) struct LastError<'t> {
    reason: FailureReason,
    message: &'t str,
}

impl<'t> LastError<'t> {
    pub(super) fn of(health: &'t Health) -> Option<Self> {
        let message = health.error.as_deref().unwrap_or("");
        health.reason.map(|reason| Self { reason, message })
    }
}

impl<'t> From<&'t Target> for MetricTarget<'t> {
    fn from(target: &'t Target) -> Self {
        let (spec, health) = (&target.spec, &target.health);
        Self {
            target_id: &spec.target_id,
            target_url: &spec.scrape_config.target_url,
            labels: &spec.labels,
            health_status: if spec.enabled { health.status } else { HealthStatus::Disabled },
            last_scrape: health.last_scrape.map(rfc3339),
            scrape_duration_ms: health.scrape_duration_ms,
            samples_scraped: health.samples_scraped,
            source_id: &spec.source_id,
            source_type: spec.source_type,
            collection_method: spec.collection_method,
            scrape_config: scrape_config_json(&spec.scrape_config),
            filters: &spec.filters,
            retention_policy: &spec.retention_policy,
            enabled: spec.enabled,
            deleting: target.deleting,
            created_at: rfc3339(target.created_at),
            origin: target.origin.kind(),
            expires_at: match target.origin {
                Origin::Registered { expires_at } => Some(rfc3339(expires_at)),
                Origin::Api | Origin::Discovered { .. } => None,
            },
            job: target.origin.job(),
            provider: match &target.origin {
                Origin::Discovered { provider, .. } => Some(provider),
                Origin::Api | Origin::Registered { .. } => None,
            },
            discovered_labels: None,
            last_error: LastError::of(health),
            note: note(health),
        }
    }
}

impl MetricTarget<'_> {
    /// The same with the labels before relabelling.
    pub(super) fn with_discovered(self, discovered_labels: Option<BTreeMap<String, String>>) -> Self {
        Self { discovered_labels, ..self }
    }
}

/// With secrets masked, whatever form they are stored in.
pub(super) fn scrape_config_json(config: &ScrapeConfig) -> Value {
    let mut shown = json!({
        "target_url": config.target_url,
        "scrape_interval": config.scrape_interval,
        "scrape_timeout": config.scrape_timeout,
        "metrics_path": config.metrics_path,
        "scheme": config.scheme,
        "authentication": config.authentication.as_ref().map(masked),
        "honor_labels": config.honor_labels,
        "honor_timestamps": config.honor_timestamps,
    });
    if let Value::Object(shown) = &mut shown {
        shown.extend(options_json(config));
    }
    shown
}
