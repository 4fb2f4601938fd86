//! Pushes of prepared JSON to metricsd's own route.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};

/// How much is pushed.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Pushes to `/custom`.
    #[arg(long, default_value_t = 200)]
    pub(crate) pushes: usize,
    /// Items of each push.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) items: usize,
    /// Pushes under way at once.
    #[arg(long, default_value_t = 4)]
    pub(crate) clients: usize,
}

/// One run over both of our servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    println!("custom: {} pushes of {} items of JSON", options.pushes, options.items);
    let mut failures = Failures::default();
    for kind in options.setup.available().into_iter().filter(|kind| kind.is_ours()) {
        let work = async |subject: &mut Subject| push(subject, options, results).await;
        failures.with(kind, &options.setup, &Extra::default(), work).await;
    }
    failures.finish()
}

/// Pushes from several clients and checks that everything was accepted.
async fn push(subject: &Subject, options: &Options, results: &mut Results) -> Result<()> {
    let now = crate::system::now();
    let body = |push: usize| {
        let item = |item: usize| {
            json!({"name": "bench_pushed", "metric_type": "GAUGE", "value": item as f64 + 0.5, "source": "APPLICATION",
                   "labels": {"item": item.to_string(), "zone": format!("z{}", item % 7)}, "timestamp": now + push as i64})
        };
        Value::Array((0..options.items).map(item).collect()).to_string()
    };
    let bodies: Vec<bytes::Bytes> = (0..options.pushes).map(|push| body(push).into()).collect();
    let (cpu, started) = (subject.cpu(), Instant::now());
    let mut clients = Vec::new();
    for client in 0..options.clients.max(1) {
        let mine: Vec<_> = bodies.iter().skip(client).step_by(options.clients.max(1)).cloned().collect();
        clients.push(tokio::spawn(push_all(subject.client(), subject.url("/api/v1/metrics/custom"), mine)));
    }
    let mut accepted = 0;
    for client in clients {
        accepted += client.await??;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), subject.cpu().since(cpu).total());
    anyhow::ensure!(accepted as usize == options.pushes * options.items, "{accepted} items were accepted");
    results.add("custom.rate", subject.kind, accepted as f64 / seconds);
    results.add("custom.cpu", subject.kind, cpu / accepted as f64 * 1e6);
    Ok(())
}

async fn push_all(client: reqwest::Client, url: String, bodies: Vec<bytes::Bytes>) -> Result<u64> {
    let mut accepted = 0;
    for body in bodies {
        let request = client.post(&url).header("content-type", "application/json").body(body);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        accepted += answer["accepted"].as_u64().context("no count of accepted items")?;
    }
    Ok(accepted)
}
