//! In what a request and a stored target differ.

use metricsd_model::TargetSpec;
use serde_json::{Map, Value, json};

use super::answer::scrape_config_json;
use crate::problem::Difference;

/// Every setting that differs, secrets included but masked.
pub(super) fn differences(existing: &TargetSpec, requested: &TargetSpec) -> Vec<Difference> {
    let (before, after) = (flat(existing), flat(requested));
    let mut found: Vec<Difference> = after
        .into_iter()
        .filter_map(|(field, requested)| {
            let existing = before.get(&field).cloned().unwrap_or(Value::Null);
            (existing != requested).then_some(Difference { field, existing, requested })
        })
        .collect();
    let (before, after) = (&existing.scrape_config, &requested.scrape_config);
    let secret = [
        ("authentication", before.authentication != after.authentication),
        ("http", before.options.http != after.options.http),
    ];
    for (name, differ) in secret {
        let field = format!("scrape_config.{name}");
        // Secrets that differ look the same once they are masked.
        if differ && !found.iter().any(|difference| difference.field == field) {
            let masked = scrape_config_json(before)[name].clone();
            found.push(Difference { field, existing: masked.clone(), requested: masked });
        }
    }
    found
}

fn flat(spec: &TargetSpec) -> Map<String, Value> {
    let mut flat = Map::new();
    if let Value::Object(config) = scrape_config_json(&spec.scrape_config) {
        flat.extend(config.into_iter().map(|(name, value)| (format!("scrape_config.{name}"), value)));
    }
    for (name, value) in [
        ("source_id", json!(spec.source_id)),
        ("source_type", json!(spec.source_type)),
        ("collection_method", json!(spec.collection_method)),
        ("labels", json!(spec.labels)),
        ("filters", json!(spec.filters)),
        ("retention_policy", json!(spec.retention_policy)),
        ("enabled", json!(spec.enabled)),
    ] {
        flat.insert(name.to_owned(), value);
    }
    flat
}
