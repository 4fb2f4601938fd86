//! metricsd alone: prepared targets and prepared pushes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::server::Metricsd;
use crate::targets;

/// How much load.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/metricsd")]
    binary: std::path::PathBuf,
    /// `sqlite`, or the address of a PostgreSQL server with TimescaleDB in which a database of our own is made.
    #[arg(long, default_value = "sqlite")]
    storage: String,
    /// Targets to scrape every second.
    #[arg(long, default_value_t = 200)]
    targets: usize,
    /// Series of each target.
    #[arg(long, default_value_t = 500)]
    series: usize,
    /// How long to scrape.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Pushes to `/custom`.
    #[arg(long, default_value_t = 200)]
    pushes: usize,
    /// Items of each push.
    #[arg(long, default_value_t = 2_000)]
    items: usize,
    /// Pushes under way at once.
    #[arg(long, default_value_t = 4)]
    clients: usize,
}

/// Pushes, then scrapes, and prints what came of it.
pub(crate) async fn run(options: Options) -> Result<()> {
    println!("storage: {}", options.storage.split('@').next_back().unwrap_or_default());
    let server = Metricsd::start(&options.binary, &options.storage).await?;
    let pushed = push(&server, &options).await;
    let scraped = match &pushed {
        Ok(()) => scrape(&server, &options).await,
        Err(_) => Ok(()),
    };
    server.stop().await?;
    pushed.and(scraped)
}

/// Pushes prepared bodies from several clients and checks that everything was accepted.
async fn push(server: &Metricsd, options: &Options) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as i64;
    let body = |push: usize| {
        let item = |item: usize| {
            json!({"name": "bench_pushed", "metric_type": "GAUGE", "value": item as f64 + 0.5, "source": "APPLICATION",
                   "labels": {"item": item.to_string(), "zone": format!("z{}", item % 7)}, "timestamp": now + push as i64})
        };
        Value::Array((0..options.items).map(item).collect()).to_string()
    };
    let bodies: Vec<bytes::Bytes> = (0..options.pushes).map(|push| body(push).into()).collect();
    let bytes: usize = bodies.iter().map(bytes::Bytes::len).sum();
    let before = server.cpu_seconds();
    let started = Instant::now();
    let mut clients = Vec::new();
    for client in 0..options.clients.max(1) {
        let mine: Vec<_> = bodies.iter().skip(client).step_by(options.clients.max(1)).cloned().collect();
        clients.push(tokio::spawn(push_all(server.client(), server.url("/api/v1/metrics/custom"), mine)));
    }
    let mut accepted = 0;
    for client in clients {
        accepted += client.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(accepted as usize == options.pushes * options.items, "{accepted} items were accepted");
    let (rate, cpu) = (accepted as f64 / seconds, (server.cpu_seconds() - before) / accepted as f64 * 1e6);
    println!(
        "custom:   {accepted} items in {seconds:.2} s = {rate:.0} samples/s, {:.1} MB/s of JSON, {cpu:.2} us CPU a sample (metricsd)",
        bytes as f64 / seconds / 1e6
    );
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

/// Lets metricsd scrape prepared pages every second, and compares what it stored with what was served.
async fn scrape(server: &Metricsd, options: &Options) -> Result<()> {
    let pages = targets::serve(options.targets, options.series).await?;
    for target in 0..options.targets {
        let request = json!({
            "source_id": format!("bench-{target}"), "collection_method": "PULL_SCRAPING",
            "scrape_config": {"target_url": pages.url(target), "scrape_interval": "1s", "scrape_timeout": "1s"}
        });
        server
            .client()
            .post(server.url("/api/v1/metrics/targets"))
            .json(&request)
            .send()
            .await?
            .error_for_status()?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, cpu) = (server.counters().await?, server.cpu_seconds());
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (after, seconds) = (server.counters().await?, started.elapsed().as_secs_f64());
    let cpu = server.cpu_seconds() - cpu;
    let samples = after.sum("metricsd_ingest_samples_total") - before.sum("metricsd_ingest_samples_total");
    let skipped = after.sum("metricsd_scrape_skipped_total") - before.sum("metricsd_scrape_skipped_total");
    let scrapes = after.sum("metricsd_scrape_scrapes_total") - before.sum("metricsd_scrape_scrapes_total");
    let p99 = after.quantile(&before, "metricsd_collection_duration_seconds", 0.99);
    println!(
        "scraping: {} targets x {} series every second for {seconds:.0} s: {:.0} samples/s, {scrapes:.0} scrapes, \
         {skipped:.0} skipped, P99 start to commit <= {p99} s, {:.2} cores, {:.2} us CPU a sample, {:.0} MB (metricsd)",
        options.targets,
        options.series,
        samples / seconds,
        cpu / seconds,
        cpu / samples * 1e6,
        server.resident_mb()
    );
    Ok(())
}
