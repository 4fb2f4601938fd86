//! `query`, `query_range`, `format_query`, `parse_query`.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use metricsd_promql::ast::Expr;
use metricsd_promql::{QueryData, QueryOptions, QueryStats, QueryValue, syntax};
use serde::Serialize;

use super::answer::{Framed, Remarks, success, success_value};
use super::error::ApiError;
use super::form::Form;
use super::{AppState, data, json, values};
use crate::api::{Shared, now};
use crate::partial;

/// `/api/v1/query`
pub(super) async fn instant(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let limit = values::limit(&form)?;
    let at = values::time_or(&form, "time", now())?;
    let options = options(&form)?;
    let question = shared.api.engine.instant(form.first("query"), at, options);
    let (value, missing) = partial::ask(values::partial(&form)?, question).await;
    Ok(answer(value?, missing, limit, &form))
}

/// `/api/v1/query_range`
pub(super) async fn range(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    let limit = values::limit(&form)?;
    let (start, end) = (values::time(&form, "start")?, values::time(&form, "end")?);
    if end < start {
        return Err(ApiError::invalid("end", "end timestamp must not be before start time"));
    }
    let step = values::parse_nanos(form.first("step")).map_err(|error| ApiError::invalid("step", error))?;
    // The engine counts in milliseconds, so a shorter step is none.
    if step < NANOS_A_MILLI {
        let message =
            "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::invalid("step", message));
    }
    let points = i128::from(end - start) * i128::from(NANOS_A_MILLI) / i128::from(step);
    let most = shared.api.settings.prometheus.max_points;
    if points > most as i128 {
        return Err(ApiError::bad_data(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            with_commas(most)
        )));
    }
    let options = options(&form)?;
    let step = Duration::from_millis((step / NANOS_A_MILLI).unsigned_abs());
    let question = shared.api.engine.range(form.first("query"), start, end, step, options);
    let (value, missing) = partial::ask(values::partial(&form)?, question).await;
    Ok(answer(value?, missing, limit, &form))
}

/// `/api/v1/format_query`
pub(super) async fn format(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    Ok(success_value(&syntax::pretty(&read(&shared, &form)?)))
}

/// `/api/v1/parse_query`
pub(super) async fn parse(State(shared): AppState, form: Form) -> Result<Response, ApiError> {
    Ok(success_value(&syntax::to_json(&read(&shared, &form)?)))
}

fn read(shared: &Shared, form: &Form) -> Result<Expr, ApiError> {
    metricsd_promql::parse(form.first("query"), shared.api.engine.parse_options())
        .map_err(|error| ApiError::invalid("query", error))
}

const NANOS_A_MILLI: i64 = 1_000_000;

fn options(form: &Form) -> Result<QueryOptions, ApiError> {
    let timeout = values::duration(form, "timeout").map_err(|error| ApiError::invalid("timeout", error))?;
    let look_back = values::duration(form, "lookback_delta")
        .map_err(|error| ApiError::bad_data(format!("error parsing lookback delta duration: {error}")))?;
    // A look-back of nothing stands for the default.
    Ok(QueryOptions {
        timeout,
        look_back: look_back.filter(|look_back| *look_back >= Duration::from_millis(1)),
    })
}

/// 11000 -> `11,000`
fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn answer(mut value: QueryValue, missing: Vec<String>, limit: Option<usize>, form: &Form) -> Response {
    let warnings = missing.into_iter().chain(value.warnings).collect();
    let mut remarks = Remarks { warnings, infos: value.infos };
    if let Some(limit) = limit
        && truncate(&mut value.data, limit)
    {
        remarks.truncated();
    }
    let mut head = b"{\"resultType\":".to_vec();
    json::string(&mut head, value.data.kind());
    head.extend_from_slice(b",\"result\":");
    let mut tail = Vec::new();
    if !form.first("stats").is_empty()
        && let Ok(stats) = serde_json::to_vec(&Stats::from(value.stats))
    {
        tail.extend_from_slice(b",\"stats\":");
        tail.extend_from_slice(&stats);
    }
    tail.push(b'}');
    success(Framed { head, inner: data::result(value.data), tail }, &remarks)
}

/// Cuts an answer; answers whether anything was cut.
fn truncate(data: &mut QueryData, limit: usize) -> bool {
    let series = data.series();
    match data {
        QueryData::Vector(series) => series.truncate(limit),
        QueryData::Matrix(series) => series.truncate(limit),
        QueryData::Scalar(..) | QueryData::String(..) => {}
    }
    series > limit
}

/// Statistics as Prometheus names them, in seconds. Nothing is sorted and prepared apart from the evaluation here.
#[derive(Serialize)]
struct Stats {
    timings: Timings,
    samples: Samples,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    eval_total_time: f64,
    result_sort_time: f64,
    query_preparation_time: f64,
    inner_eval_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Samples {
    total_queryable_samples: usize,
    peak_samples: usize,
}

impl From<QueryStats> for Stats {
    fn from(stats: QueryStats) -> Self {
        let (reading, evaluating) = (stats.reading.as_secs_f64(), stats.evaluating.as_secs_f64());
        let queued = stats.queued.as_secs_f64();
        Self {
            timings: Timings {
                eval_total_time: evaluating,
                result_sort_time: 0.0,
                query_preparation_time: reading,
                inner_eval_time: (evaluating - reading).max(0.0),
                exec_queue_time: queued,
                exec_total_time: queued + evaluating,
            },
            samples: Samples { total_queryable_samples: stats.samples, peak_samples: stats.peak_samples },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas() {
        let check = |number, expected| assert_eq!(with_commas(number), expected);
        check(7, "7");
        check(999, "999");
        check(1_000, "1,000");
        check(11_000, "11,000");
        check(1_234_567, "1,234,567");
    }
}
