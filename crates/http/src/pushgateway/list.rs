//! Which groups there are, in our words and in a Pushgateway's.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use metricsd_codec::pushgateway::{Families, PUSH_FAILURE_TIME, PUSH_TIME, PushedFamily};
use metricsd_model::{METRIC_NAME, Millis};
use metricsd_ports::PushedGroup;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::access;
use crate::Problem;
use crate::api::AppState;
use crate::params::Params;

/// Groups of one answer where a request does not say, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Series that one answer of a Pushgateway's shape shows.
const MAX_SHOWN: u64 = 100_000;

#[derive(Serialize)]
struct Group {
    id: Uuid,
    labels: BTreeMap<String, String>,
    source_id: String,
    pushed_at: Option<String>,
    failed_at: Option<String>,
    expires_at: Option<String>,
    last_push_successful: bool,
    series: u64,
    bytes: usize,
    families: Vec<Family>,
}

#[derive(Serialize)]
struct Family {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    help: String,
    series: u64,
}

/// `GET /api/v1/metrics/groups`
pub(super) async fn groups(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let gateway = &access(&shared)?.gateway;
    let mut params = Params::new(query.as_deref());
    let after = params
        .parsed("after", |text| text.parse::<Uuid>().map_err(|_| "expected the id of a group".to_owned()));
    let limit = params.limit(DEFAULT_LIMIT, MAX_LIMIT);
    params.finish()?;
    let found = gateway.groups(after, limit).await?;
    let shown: Vec<Group> = found
        .into_iter()
        .map(|(group, families)| Group {
            id: group.id,
            pushed_at: group.pushed_at.map(time),
            failed_at: group.failed_at.map(time),
            expires_at: gateway.expires_at(&group).map(time),
            last_push_successful: successful(&group),
            series: group.series,
            bytes: group.families.len(),
            families: families.list.into_iter().map(family).collect(),
            labels: group.labels,
            source_id: group.source_id,
        })
        .collect();
    Ok(Json(shown).into_response())
}

fn family(family: PushedFamily) -> Family {
    Family { kind: family.kind_name(), series: family.count, name: family.name, help: family.help }
}

fn time(millis: Millis) -> String {
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn successful(group: &PushedGroup) -> bool {
    group.pushed_at > group.failed_at
}

/// `GET /api/v1/pushgateway/metrics`: what a Pushgateway answers at `/api/v1/metrics`.
pub(super) async fn metrics(State(shared): AppState) -> Result<Response, Problem> {
    let gateway = &access(&shared)?.gateway;
    let (mut data, mut shown, mut after) = (Vec::new(), 0, None);
    loop {
        let page = gateway.groups(after, DEFAULT_LIMIT).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.id);
        for (group, families) in &page {
            shown += group.series;
            if shown > MAX_SHOWN {
                return Err(Problem::too_large(format!(
                    "the groups have more than {MAX_SHOWN} series; ask GET /api/v1/metrics/groups, or a query"
                )));
            }
            data.push(whole(group, families)?);
        }
    }
    Ok(Json(json!({"status": "success", "data": data})).into_response())
}

fn whole(group: &PushedGroup, families: &Families) -> Result<Value, Problem> {
    let at = time(group.pushed_at.or(group.failed_at).unwrap_or_default());
    let mut out = Map::new();
    out.insert("labels".to_owned(), json!(group.labels));
    out.insert("last_push_successful".to_owned(), json!(successful(group)));
    for family in &families.list {
        let mut metrics = Vec::new();
        let read = family.each(|labels, value| metrics.push(metric(labels, value, &family.name)));
        read.map_err(|_| Problem::internal())?;
        let help = &family.help;
        let kind = family.kind_name().to_uppercase();
        out.insert(
            family.name.clone(),
            json!({"time_stamp": at, "type": kind, "help": help, "metrics": metrics}),
        );
    }
    for (name, millis) in [(PUSH_TIME, group.pushed_at), (PUSH_FAILURE_TIME, group.failed_at)] {
        let value = millis.map_or(0.0, |millis| millis as f64 / 1_000.0).to_string();
        let metrics = json!([{"labels": group.labels, "value": value}]);
        out.insert(
            name.to_owned(),
            json!({"time_stamp": at, "type": "GAUGE", "help": "", "metrics": metrics}),
        );
    }
    Ok(Value::Object(out))
}

/// A series; its name is among the labels where it is not the family's, as of `_sum`.
fn metric(labels: &[(&str, &str)], value: Option<f64>, family: &str) -> Value {
    let own = |(name, value): &&(&str, &str)| *name != METRIC_NAME || *value != family;
    let labels: BTreeMap<&str, &str> = labels.iter().filter(own).copied().collect();
    match value {
        Some(value) => json!({"labels": labels, "value": value.to_string()}),
        None => json!({"labels": labels, "histogram": "native"}),
    }
}
