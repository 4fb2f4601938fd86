//! `query_exemplars`: the exemplars of every series that a query names.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metricsd_model::{Exemplar, Matcher};
use metricsd_ports::{SelectLimits, Selection, SeriesExemplars};
use metricsd_promql::ast::{Expr, ExprKind};

use super::answer::{List, Remarks, success};
use super::error::ApiError;
use super::form::Form;
use super::{AppState, json, values};
/// `/api/v1/query_exemplars`
pub(super) async fn query(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let start = values::time_or(&form, "start", values::FIRST)?;
    let end = values::time_or(&form, "end", values::LAST)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let api = &shared.api;
    let expr = metricsd_promql::parse(form.first("query"), api.engine.parse_options())
        .map_err(|error| ApiError::bad_data(error.to_string()))?;
    let limits =
        SelectLimits { max_series: api.limits.max_query_series, max_samples: api.limits.max_query_samples };
    let selectors = selectors(&expr)?;
    if selectors.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut found: Vec<SeriesExemplars> = Vec::new();
    for matchers in selectors {
        found.extend(api.source.exemplars(&Selection { matchers, start, end, limits }).await?);
    }
    found.sort_by(|a, b| a.labels.iter().cmp(b.labels.iter()));
    found.dedup_by(|a, b| a.labels == b.labels);
    Ok(success(List::new(found, write), &Remarks::default()))
}

/// What every selector of an expression asks for, each different one once.
fn selectors(expr: &Expr) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let mut found: Vec<Vec<Matcher>> = Vec::new();
    let mut rest = vec![expr];
    while let Some(expr) = rest.pop() {
        let selector = match &expr.kind {
            ExprKind::Number { .. } | ExprKind::String(_) => continue,
            ExprKind::Selector(selector) => selector,
            ExprKind::Matrix(matrix) => &matrix.selector,
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => {
                rest.push(expr);
                continue;
            }
            ExprKind::Subquery(subquery) => {
                rest.push(&subquery.expr);
                continue;
            }
            ExprKind::Binary(binary) => {
                rest.extend([&binary.right, &binary.left]);
                continue;
            }
            ExprKind::Aggregation(aggregation) => {
                rest.push(&aggregation.expr);
                rest.extend(&aggregation.param);
                continue;
            }
            ExprKind::Call(call) => {
                rest.extend(call.args.iter().rev());
                continue;
            }
        };
        if found.contains(&selector.matchers) {
            continue;
        }
        if found.len() == values::MAX_SELECTORS {
            let message = format!("more than {} selectors", values::MAX_SELECTORS);
            return Err(ApiError::invalid("query", message));
        }
        found.push(selector.matchers.clone());
    }
    Ok(found)
}

fn write(out: &mut Vec<u8>, series: SeriesExemplars) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    json::labels(out, &series.labels);
    out.extend_from_slice(b",\"exemplars\":[");
    for (index, exemplar) in series.exemplars.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_one(out, exemplar);
    }
    out.extend_from_slice(b"]}");
}

fn write_one(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(b"{\"labels\":");
    json::labels(out, &exemplar.labels);
    out.extend_from_slice(b",\"value\":");
    json::value(out, exemplar.value);
    out.extend_from_slice(b",\"timestamp\":");
    json::timestamp(out, exemplar.timestamp);
    out.push(b'}');
}
