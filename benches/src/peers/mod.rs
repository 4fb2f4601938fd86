//! metricsd side by side with Prometheus and VictoriaMetrics: the same requests of remote write, the same questions.
//! One server runs at a time, each with a data folder of its own.

mod queries;
mod report;
mod series;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::server::Metricsd;
use queries::{Asked, QUESTIONS, Span};
use series::Load;

/// Milliseconds between two samples of a series.
const STEP: i64 = 15_000;

/// What is compared.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The metricsd to measure.
    #[arg(long, default_value = "target/release/metricsd")]
    binary: PathBuf,
    /// The address of a PostgreSQL server with TimescaleDB in which a database of our own is made; without it only
    /// SQLite is measured.
    #[arg(long)]
    storage: Option<String>,
    /// Where `prometheus` and perhaps `victoria-metrics` are; `scripts/services.sh peers` installs them.
    #[arg(long)]
    peers: PathBuf,
    /// Samples of each series.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(36..=240))]
    steps: u32,
    /// Requests of remote write under way at once.
    #[arg(long, default_value_t = 4)]
    senders: usize,
    /// A Markdown file in which the part between the two marks is replaced by the tables.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What one server has shown.
pub(crate) struct Measured {
    name: String,
    /// Samples a second taken in.
    rate: f64,
    /// Microseconds of processor time a sample.
    cpu: f64,
    /// The most memory held while taking in, and while answering, in MB.
    peaks: [f64; 2],
    /// By question; the text of the error where one failed.
    asked: Vec<Result<Asked, String>>,
}

/// Measures every server that is there, prints the tables, and writes them down where asked.
pub(crate) async fn run(options: Options) -> Result<()> {
    let prometheus = options.peers.join("prometheus");
    if !prometheus.exists() {
        println!("peers: {} is not there; skipped", prometheus.display());
        return Ok(());
    }
    let load_before = report::load_average();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as i64;
    let steps = options.steps as usize;
    // Off the moments at which sub-queries are evaluated, which are whole multiples of their step.
    let first = now / STEP * STEP - STEP * steps as i64 + 4_000;
    let load = Load::prepare(first, STEP, steps)?;
    println!(
        "peers: {} series, {} samples, {:.0} MB of requests prepared",
        load.series,
        load.samples,
        load.bytes as f64 / 1e6
    );
    // Between two samples: whether a range holds its left end makes no difference then.
    let span =
        Span { start: first + 5 * 60_000 + STEP / 2, end: first + STEP * (steps as i64 - 1) + STEP / 2 };
    let mut measured =
        vec![peer("Prometheus", &prometheus, &load, span, &options, prometheus_arguments).await?];
    measured.push(metricsd("metricsd, SQLite", "sqlite", &load, span, &options).await?);
    if let Some(url) = &options.storage {
        measured.push(metricsd("metricsd, TimescaleDB", url, &load, span, &options).await?);
    }
    let victoria = options.peers.join("victoria-metrics");
    if victoria.exists() {
        measured.push(peer("VictoriaMetrics", &victoria, &load, span, &options, victoria_arguments).await?);
    }
    let text = report::text(&measured, &load, options.steps, &load_before);
    println!("{text}");
    match &options.report {
        Some(path) => report::write(path, &text),
        None => Ok(()),
    }
}

fn prometheus_arguments(command: &mut tokio::process::Command, address: &str, data: &Path) {
    let config = data.join("prometheus.yml");
    // An empty file is a whole configuration: nothing is scraped.
    std::fs::write(&config, "").ok();
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--web.enable-remote-write-receiver");
}

fn victoria_arguments(command: &mut tokio::process::Command, address: &str, data: &Path) {
    command
        .arg(format!("-httpListenAddr={address}"))
        .arg(format!("-storageDataPath={}", data.display()))
        // Questions are asked several times over; the others have no cache of answers.
        .args(["-search.disableCache", "-search.maxUniqueTimeseries=1000000"]);
}

async fn peer(
    name: &str,
    binary: &Path,
    load: &Load,
    span: Span,
    options: &Options,
    arguments: fn(&mut tokio::process::Command, &str, &Path),
) -> Result<Measured> {
    let ready = if name == "Prometheus" { "/-/ready" } else { "/health" };
    let process = Process::start(binary, ready, arguments).await?;
    let measured = measure(name, &process, load, span, options.senders).await;
    process.stop().await?;
    measured
}

async fn metricsd(name: &str, storage: &str, load: &Load, span: Span, options: &Options) -> Result<Measured> {
    let server = Metricsd::start(&options.binary, storage).await?;
    let measured = measure(name, server.process(), load, span, options.senders).await;
    server.stop().await?;
    measured
}

async fn measure(name: &str, server: &Process, load: &Load, span: Span, senders: usize) -> Result<Measured> {
    let (started, cpu) = (Instant::now(), server.cpu_seconds());
    send_all(server, load, senders).await.with_context(|| format!("{name} takes in"))?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), server.cpu_seconds() - cpu);
    let taking_in = server.memory_mb("VmHWM:");
    println!("peers: {name}: {:.0} samples/s", load.samples as f64 / seconds);
    // Until what was taken in is searchable everywhere, and what follows a write in the background is done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.forget_peak()?;
    let mut asked = Vec::new();
    for question in &QUESTIONS {
        let answer = queries::ask(server, question, span).await.map_err(|error| format!("{error:#}"));
        match &answer {
            Ok(answer) => println!("peers: {name}: {}: {:.1} ms", question.name, answer.seconds * 1e3),
            Err(error) => println!("peers: {name}: {}: {error}", question.name),
        }
        asked.push(answer);
    }
    Ok(Measured {
        name: name.to_owned(),
        rate: load.samples as f64 / seconds,
        cpu: cpu / load.samples as f64 * 1e6,
        peaks: [taking_in, server.memory_mb("VmHWM:")],
        asked,
    })
}

/// Sends every request; samples of a series go in order of time, by one sender.
async fn send_all(server: &Process, load: &Load, senders: usize) -> Result<()> {
    let senders = senders.clamp(1, load.senders.len());
    let mut tasks = Vec::new();
    for sender in 0..senders {
        let mine: Vec<_> = load.senders.iter().skip(sender).step_by(senders).collect();
        let steps = mine.first().map_or(0, |bodies| bodies.len());
        let bodies: Vec<bytes::Bytes> = (0..steps)
            .flat_map(|step| mine.iter().filter_map(move |bodies| bodies.get(step)).cloned())
            .collect();
        let (client, url) = (server.client(), server.url("/api/v1/write"));
        tasks.push(tokio::spawn(async move {
            for body in bodies {
                let request = client.post(&url).body(body);
                let request = request
                    .header("content-type", "application/x-protobuf")
                    .header("content-encoding", "snappy")
                    .header("x-prometheus-remote-write-version", "0.1.0");
                let answer = request.send().await?;
                let status = answer.status();
                anyhow::ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
