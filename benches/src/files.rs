//! Uploads of a prepared CSV file, exports of what it held in every format, and uploads of these again.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};

/// How much is uploaded.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Rows of the file.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) rows: usize,
    /// Series among which they are divided.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) series: usize,
}

/// Formats by their names, media types and figures.
const FORMATS: [(&str, &str, &str, &str); 4] = [
    ("csv", "text/csv", "files.upload.csv", "files.export.csv"),
    ("ndjson", "application/x-ndjson", "files.upload.ndjson", "files.export.ndjson"),
    ("openmetrics", "application/openmetrics-text", "files.upload.openmetrics", "files.export.openmetrics"),
    ("parquet", "application/vnd.apache.parquet", "files.upload.parquet", "files.export.parquet"),
];

/// One run over both of our servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    println!("files: {} rows of {} series", options.rows, options.series);
    let mut failures = Failures::default();
    for kind in options.setup.available().into_iter().filter(|kind| kind.is_ours()) {
        let work = async |subject: &mut Subject| all(subject, options, results).await;
        failures.with(kind, &options.setup, &Extra::default(), work).await;
    }
    failures.finish()
}

async fn all(subject: &Subject, options: &Options, results: &mut Results) -> Result<()> {
    let first = csv(options);
    upload(subject, options, "text/csv", first.into(), "first").await?;
    for (format, media_type, uploaded, exported) in FORMATS {
        let (started, url) = (Instant::now(), subject.url("/api/v1/metrics/export"));
        let request = subject.client().get(url).query(&[("match[]", "bench_file"), ("format", format)]);
        let bytes = request.send().await?.error_for_status()?.bytes().await?;
        results.add(exported, subject.kind, options.rows as f64 / started.elapsed().as_secs_f64());
        let seconds = upload(subject, options, media_type, bytes, format).await?;
        results.add(uploaded, subject.kind, options.rows as f64 / seconds);
    }
    Ok(())
}

fn csv(options: &Options) -> String {
    use std::fmt::Write;
    let mut text = String::from("timestamp,metric_name,metric_type,value,instance,zone\n");
    let begin = crate::system::now() - 86_400_000;
    for row in 0..options.rows {
        let (series, step) = (row % options.series, row / options.series);
        let time = begin + step as i64 * 1_000;
        let _ = writeln!(text, "{time},bench_file,GAUGE,{}.5,i{series},z{}", row % 977, series % 7);
    }
    text
}

/// Seconds from the first byte until all is stored.
async fn upload(
    subject: &Subject,
    options: &Options,
    media_type: &str,
    body: bytes::Bytes,
    source: &str,
) -> Result<f64> {
    let started = Instant::now();
    let url = subject.url(&format!("/api/v1/metrics/upload?source_id={source}"));
    let request = subject.client().post(url).header("content-type", media_type).body(body);
    let job: Value = request.send().await?.error_for_status()?.json().await?;
    let id = job["job_id"].as_str().context("the upload has no job")?.to_owned();
    loop {
        let url = subject.url(&format!("/api/v1/metrics/jobs/{id}"));
        let job: Value = subject.client().get(url).send().await?.error_for_status()?.json().await?;
        match job["state"].as_str() {
            Some("done") => {
                anyhow::ensure!(job["progress"]["stored"] == options.rows, "not all was stored: {job}");
                return Ok(started.elapsed().as_secs_f64());
            }
            Some("dead" | "cancelled") => anyhow::bail!("the upload failed: {job}"),
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}
