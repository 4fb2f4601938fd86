//! `metadata`: what is said of metric families; and how families and their types are named.

use axum::extract::State;
use axum::response::Response;
use metricsd_model::{FamilyMetadata, MetricType};

use super::answer::{Pieces, Remarks, success};
use super::error::ApiError;
use super::form::Form;
use super::{AppState, json, values};

/// Most families of an answer, whatever is asked for.
const MAX_FAMILIES: usize = 100_000;

/// `/api/v1/metadata`
pub(super) async fn metadata(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let limit = values::number(form.first("limit"))
        .map_err(|_| ApiError::bad_data("limit must be a number"))?
        .and_then(|limit| usize::try_from(limit).ok());
    let per_metric = values::number(form.first("limit_per_metric"))
        .map_err(|_| ApiError::bad_data("limit_per_metric must be a number"))?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let metric = Some(form.first("metric")).filter(|metric| !metric.is_empty());
    let limit = limit.unwrap_or(MAX_FAMILIES).min(MAX_FAMILIES);
    let mut families = match limit {
        0 => Vec::new(),
        limit => shared.api.source.families(metric, limit).await?,
    };
    families.sort_by(|a, b| a.family.cmp(&b.family));
    Ok(success(
        Families { rest: families.into_iter().peekable(), per_metric, begun: false },
        &Remarks::default(),
    ))
}

/// An object with a list for every family.
struct Families {
    rest: std::iter::Peekable<std::vec::IntoIter<FamilyMetadata>>,
    per_metric: usize,
    begun: bool,
}

impl Pieces for Families {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(first) = self.rest.next() else {
            out.extend_from_slice(if self.begun { b"}" } else { b"{}" });
            return false;
        };
        out.push(if self.begun { b',' } else { b'{' });
        self.begun = true;
        json::string(out, &first.family);
        out.extend_from_slice(b":[{");
        statement(out, first.metric_type, &first.help, &first.unit);
        let mut written = 1;
        while let Some(next) = self.rest.next_if(|next| next.family == first.family) {
            if written < self.per_metric {
                out.extend_from_slice(b",{");
                statement(out, next.metric_type, &next.help, &next.unit);
                written += 1;
            }
        }
        out.push(b']');
        true
    }
}

/// `"type":…,"help":…,"unit":…}`
pub(super) fn statement(out: &mut Vec<u8>, metric_type: MetricType, help: &str, unit: &str) {
    for (index, (name, text)) in
        [("type", type_name(metric_type)), ("help", help), ("unit", unit)].into_iter().enumerate()
    {
        if index > 0 {
            out.push(b',');
        }
        json::string(out, name);
        out.push(b':');
        json::string(out, text);
    }
    out.push(b'}');
}

/// A type as Prometheus names it.
fn type_name(metric_type: MetricType) -> &'static str {
    match metric_type {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        MetricType::Custom => "unknown",
    }
}
