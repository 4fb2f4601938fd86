//! `GET /api/v1/metrics/query`: one moment, or a range.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use metricsd_model::{LabelSet, Millis};
use metricsd_promql::{QueryData, QueryOptions, QueryValue};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::Problem;
use crate::api::{AppState, now};
use crate::params::Params;

/// What is asked for.
enum When {
    Instant(Millis),
    Range { start: Millis, end: Millis, step: Duration },
}

/// The answer: the source document's `MetricQueryResult`.
#[derive(Serialize)]
struct MetricQueryResult {
    query: String,
    result_type: &'static str,
    result: Vec<Entry>,
    warnings: Vec<String>,
    stats: Stats,
}

#[derive(Serialize)]
struct Stats {
    series: usize,
    samples: usize,
    duration_ms: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Instant { metric: LabelSet, value: Point },
    Range { metric: LabelSet, values: Vec<Point> },
}

/// `[seconds, "value"]`, as Prometheus writes it.
struct Point(Millis, f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_seq(Some(2))?;
        if self.0 % 1_000 == 0 {
            pair.serialize_element(&(self.0 / 1_000))?;
        } else {
            pair.serialize_element(&(self.0 as f64 / 1e3))?;
        }
        pair.serialize_element(&format_value(self.1))?;
        pair.end()
    }
}

/// A value as Prometheus writes it: the shortest text that reads back, with an exponent for the very small and large.
fn format_value(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    format!("{value}")
}

/// The handler.
pub(crate) async fn query(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let started = Instant::now();
    let (text, when) = read(query.as_deref())?;
    let engine = &shared.api.engine;
    let value = match when {
        When::Instant(at) => engine.instant(&text, at, QueryOptions::default()).await?,
        When::Range { start, end, step } => {
            engine.range(&text, start, end, step, QueryOptions::default()).await?
        }
    };
    Ok(Json(to_result(text, value, started)).into_response())
}

fn read(query: Option<&str>) -> Result<(String, When), Problem> {
    let mut params = Params::new(query);
    let text = params.one("query");
    if text.is_none() && !params.is_wrong("query") {
        params.error("query", "is required, such as query=up{job=\"node\"}");
    }
    let (start, end) = (params.time("start"), params.time("end"));
    let step = params.step("step");
    let time = params.time("time");
    let range = [("start", start.is_some()), ("end", end.is_some()), ("step", step.is_some())];
    let missing: Vec<&str> = range.iter().filter(|(_, given)| !given).map(|(name, _)| *name).collect();
    let when = match (start, end, step) {
        (Some(start), Some(end), Some(step)) => {
            if time.is_some() {
                params.error("time", "is for one moment; a range has start, end and step");
            }
            When::Range { start, end, step }
        }
        (None, None, None) => When::Instant(time.unwrap_or_else(now)),
        _ => {
            let all = "a range needs start, end and step; one moment needs none of them, or time";
            for name in missing.iter().filter(|name| !params.is_wrong(name)).copied().collect::<Vec<_>>() {
                params.error(name, format!("is missing: {all}"));
            }
            When::Instant(0)
        }
    };
    params.finish()?;
    Ok((text.unwrap_or_default(), when))
}

fn to_result(query: String, value: QueryValue, started: Instant) -> MetricQueryResult {
    let (result_type, result) = match value.data {
        QueryData::Vector(series) => {
            let entry = |series: metricsd_promql::InstantSeries| Entry::Instant {
                metric: series.labels,
                value: Point(series.timestamp, series.value.as_float().unwrap_or(f64::NAN)),
            };
            ("vector", series.into_iter().map(entry).collect())
        }
        QueryData::Matrix(series) => {
            let entry = |series: metricsd_promql::RangeSeries| Entry::Range {
                metric: series.labels,
                values: series.floats.into_iter().map(|(at, value)| Point(at, value)).collect(),
            };
            ("matrix", series.into_iter().map(entry).collect())
        }
        QueryData::Scalar(..) | QueryData::String(..) => ("vector", Vec::new()),
    };
    MetricQueryResult {
        query,
        result_type,
        result,
        warnings: value.warnings,
        stats: Stats {
            series: value.stats.series,
            samples: value.stats.samples,
            duration_ms: started.elapsed().as_secs_f64() * 1e3,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_as_prometheus_does() {
        let check = |at, value, expected: &str| {
            assert_eq!(serde_json::to_string(&Point(at, value)).unwrap(), expected);
        };
        check(1_750_500_000_000, 1.0, r#"[1750500000,"1"]"#);
        check(1_750_500_000_250, 0.1, r#"[1750500000.25,"0.1"]"#);
        check(0, f64::NAN, r#"[0,"NaN"]"#);
        check(0, f64::INFINITY, r#"[0,"+Inf"]"#);
        check(0, f64::NEG_INFINITY, r#"[0,"-Inf"]"#);
        check(0, 1e21, r#"[0,"1e+21"]"#);
        check(0, 1.5e-7, r#"[0,"1.5e-7"]"#);
        check(0, 123456789.0, r#"[0,"123456789"]"#);
    }
}
