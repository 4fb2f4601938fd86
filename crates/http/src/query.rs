//! `GET /api/v1/metrics/query`: one moment, or a range.

use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::response::Response;
use metricsd_model::Millis;
use metricsd_promql::{QueryOptions, QueryValue};
use serde::Serialize;

use crate::Problem;
use crate::api::{AppState, now};
use crate::params::Params;
use crate::partial;
use crate::prometheus::answer::{Framed, Pieces, respond};
use crate::prometheus::{data, json};

/// What is asked for.
enum When {
    Instant(Millis),
    Range { start: Millis, end: Millis, step: Duration },
}

/// What a request says.
struct Asked {
    text: String,
    when: When,
    /// Whether shards that do not answer may be left out.
    partial: bool,
}

/// What it took, in the source document's terms.
#[derive(Serialize)]
struct Stats {
    series: usize,
    samples: usize,
    duration_ms: f64,
}

/// The handler.
pub(crate) async fn query(State(shared): AppState, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let started = Instant::now();
    let Asked { text, when, partial } = read(query.as_deref())?;
    let engine = &shared.api.engine;
    let question = async {
        match when {
            When::Instant(at) => engine.instant(&text, at, QueryOptions::default()).await,
            When::Range { start, end, step } => {
                engine.range(&text, start, end, step, QueryOptions::default()).await
            }
        }
    };
    let (value, missing) = partial::ask(partial, question).await;
    let mut value = value?;
    value.warnings.splice(..0, missing);
    Ok(respond(to_result(&text, value, started)))
}

fn read(query: Option<&str>) -> Result<Asked, Problem> {
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
    let mut allow = |name| params.parsed(name, partial::parse).unwrap_or_default();
    let partial = partial::NAMES.map(&mut allow).contains(&true);
    params.finish()?;
    Ok(Asked { text: text.unwrap_or_default(), when, partial })
}

/// The answer: the source document's `MetricQueryResult`, written as its series come.
fn to_result(query: &str, value: QueryValue, started: Instant) -> impl Pieces {
    let mut head = b"{\"query\":".to_vec();
    json::string(&mut head, query);
    head.extend_from_slice(b",\"result_type\":");
    json::string(&mut head, value.data.kind());
    head.extend_from_slice(b",\"result\":");
    let remarks: Vec<String> = value.warnings.into_iter().chain(value.infos).collect();
    let mut tail = b",\"warnings\":".to_vec();
    json::strings(&mut tail, &remarks);
    let stats = Stats {
        series: value.stats.series,
        samples: value.stats.samples,
        duration_ms: started.elapsed().as_secs_f64() * 1e3,
    };
    tail.extend_from_slice(b",\"stats\":");
    tail.extend_from_slice(&serde_json::to_vec(&stats).unwrap_or_else(|_| b"{}".to_vec()));
    tail.push(b'}');
    Framed { head, inner: data::entries(value.data), tail }
}
