//! What is asked: expressions that dashboards and alerts are made of, and look-ups.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ask::{Answer, seconds};
use crate::process::Process;

/// Runs of each question at most, after one that does not count.
const RUNS: usize = 7;

/// No question is asked again past this.
const PATIENCE: Duration = Duration::from_secs(12);

/// How a question is asked.
pub(crate) enum Way {
    /// A range query over all but the first five minutes, a point every 15 s.
    Range,
    /// An instant query at the end.
    Instant,
    /// `match[]` of a look-up on this path.
    LookUp(&'static str),
}

/// A question.
pub(crate) struct Question {
    /// What it stands for.
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    /// The expression, or the selector of a look-up; may be empty there.
    pub(crate) text: &'static str,
}

const fn range(name: &'static str, text: &'static str) -> Question {
    Question { name, way: Way::Range, text }
}

/// All of them.
pub(crate) const QUESTIONS: [Question; 15] = [
    range("rate by label, 20 000 series", "sum by (handler) (rate(http_requests_total[5m]))"),
    range(
        "quantiles from 24 000 buckets",
        "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    range("topk of 5 000 sums", "topk(10, sum by (instance, handler) (rate(http_requests_total[5m])))"),
    range("regex over 30 000 values", "sum(container_memory_bytes{pod=~\"shop-.*-a.*\"})"),
    range(
        "one series",
        "http_requests_total{instance=\"host-042:8080\",handler=\"/api/v1/handler-07\",code=\"200\"}",
    ),
    range("one host, 200 series", "increase(http_requests_total{instance=\"host-042:8080\"}[5m])"),
    range(
        "join one to one, 2 000",
        "node_filesystem_avail_bytes / on (instance, device) node_filesystem_size_bytes",
    ),
    range(
        "join many to one, 11 200",
        "sum by (zone) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m]) * on (instance) group_left (zone) target_info)",
    ),
    range("sub-query over 5 000", "max_over_time(sum(rate(http_requests_total{code=\"500\"}[1m]))[4m:15s])"),
    range("avg by label, 30 000 series", "avg by (instance) (container_memory_bytes)"),
    Question {
        name: "count by name, 100 000 series",
        way: Way::Instant,
        text: "count by (__name__) ({__name__=~\".+\"})",
    },
    Question {
        name: "instant rate, 20 000 series",
        way: Way::Instant,
        text: "sum(rate(http_requests_total[5m]))",
    },
    Question { name: "values of a label, 30 000", way: Way::LookUp("/api/v1/label/pod/values"), text: "" },
    Question {
        name: "values of a label in 200 series",
        way: Way::LookUp("/api/v1/label/handler/values"),
        text: "http_requests_total{instance=\"host-042:8080\"}",
    },
    Question {
        name: "series look-up, 2 000",
        way: Way::LookUp("/api/v1/series"),
        text: "http_requests_total{instance=~\"host-04.*\"}",
    },
];

/// Which time is asked for, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// What came of a question on one server.
pub(crate) struct Asked {
    /// Median over the runs.
    pub(crate) seconds: f64,
    /// What the server says that it spent on reading, median over the runs; only metricsd tells.
    pub(crate) reading: Option<f64>,
    /// Entries of the answer.
    pub(crate) entries: usize,
    /// All values, added up: whether two servers say the same.
    pub(crate) total: f64,
}

/// Asks several times.
pub(crate) async fn ask(server: &Process, question: &Question, span: Span) -> Result<Asked> {
    let (mut taken, mut reading) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    let mut answer = send(server, question, span).await?;
    while taken.len() < RUNS && (taken.len() < 3 || begin.elapsed() < PATIENCE) {
        answer = send(server, question, span).await?;
        taken.push(answer.seconds);
        reading.extend(preparation(&answer.body));
    }
    taken.sort_by(f64::total_cmp);
    reading.sort_by(f64::total_cmp);
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let data = &answer["data"];
    let list = data["result"].as_array().or(data.as_array()).context("no list in the answer")?;
    Ok(Asked {
        seconds: taken[taken.len() / 2],
        reading: reading.get(reading.len() / 2).copied(),
        entries: list.len(),
        total: list.iter().map(total).sum(),
    })
}

/// Seconds from the statistics at the end of an answer, which are found without reading all of it.
fn preparation(answer: &[u8]) -> Option<f64> {
    const FIELD: &str = "\"queryPreparationTime\":";
    let tail = String::from_utf8_lossy(answer.get(answer.len().saturating_sub(1000)..)?);
    let value = &tail[tail.rfind(FIELD)? + FIELD.len()..];
    value.split([',', '}']).next()?.parse().ok()
}

async fn send(server: &Process, question: &Question, span: Span) -> Result<Answer> {
    let (start, end) = (seconds(span.start), seconds(span.end));
    let (path, mut form) = match question.way {
        Way::Range => (
            "/api/v1/query_range",
            vec![
                ("query", question.text),
                ("start", &start),
                ("end", &end),
                ("step", "15"),
                ("stats", "all"),
            ],
        ),
        Way::Instant => ("/api/v1/query", vec![("query", question.text), ("time", &end), ("stats", "all")]),
        Way::LookUp(path) => (path, vec![("start", start.as_str()), ("end", &end)]),
    };
    if matches!(question.way, Way::LookUp(_)) && !question.text.is_empty() {
        form.push(("match[]", question.text));
    }
    crate::ask::send(server, path, &form).await
}

/// The sum of an entry's values; a look-up's entry has none.
fn total(entry: &Value) -> f64 {
    let number = |point: &Value| point[1].as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    match entry["values"].as_array() {
        Some(points) => points.iter().map(number).sum(),
        None => number(&entry["value"]),
    }
}
