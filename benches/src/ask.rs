//! Questions to a server over Prometheus' API.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::Process;

/// An answer and how long it took, in seconds, all of it read.
pub(crate) struct Answer {
    pub(crate) seconds: f64,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    /// The list of what it answers.
    pub(crate) fn result(&self) -> Result<Vec<Value>> {
        let mut answer: Value = serde_json::from_slice(&self.body)?;
        match answer["data"]["result"].take() {
            Value::Array(list) => Ok(list),
            _ => anyhow::bail!("no list in the answer"),
        }
    }
}

/// Milliseconds as seconds of the API.
pub(crate) fn seconds(millis: i64) -> String {
    format!("{:.3}", millis as f64 / 1e3)
}

/// Sends a form.
pub(crate) async fn send(server: &Process, path: &str, form: &[(&str, &str)]) -> Result<Answer> {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let started = Instant::now();
    let answer = server.client().get(format!("{}?{query}", server.url(path))).send().await?;
    let status = answer.status();
    let body = answer.bytes().await?;
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    Ok(Answer { seconds, body })
}

/// A range query; times and step in milliseconds.
pub(crate) async fn range(server: &Process, query: &str, start: i64, end: i64, step: i64) -> Result<Answer> {
    let (start, end, step) = (seconds(start), seconds(end), seconds(step));
    send(
        server,
        "/api/v1/query_range",
        &[("query", query), ("start", &start), ("end", &end), ("step", &step)],
    )
    .await
}

/// An instant query; the time in milliseconds.
pub(crate) async fn instant(server: &Process, query: &str, time: i64) -> Result<Answer> {
    send(server, "/api/v1/query", &[("query", query), ("time", &seconds(time))]).await
}

/// The value of an instant query that answers one series; `None` where it answers none.
pub(crate) async fn number(server: &Process, query: &str, time: i64) -> Result<Option<f64>> {
    let list = instant(server, query, time).await?.result()?;
    let Some(first) = list.first() else { return Ok(None) };
    anyhow::ensure!(list.len() == 1, "{query} has {} answers", list.len());
    let value = first["value"][1].as_str().context("an answer without a value")?;
    Ok(Some(value.parse()?))
}
