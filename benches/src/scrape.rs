//! Scraping prepared pages: whether every scrape happens, how long it takes until it is stored, and what it costs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use serde_json::json;

use crate::pages::{self, Pages};
use crate::requests::Sent;
use crate::results::Results;
use crate::server::{Extra, Failures, Kind, Setup, Subject};
use crate::verify::{by_engine, equal, sql_time};
use crate::{ask, system};

/// What is scraped.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Targets.
    #[arg(long, default_value_t = 1000)]
    pub(crate) targets: usize,
    /// Series of each target.
    #[arg(long, default_value_t = 1000)]
    pub(crate) series: usize,
    /// Milliseconds from scrape to scrape of a target.
    #[arg(long, default_value_t = 1000)]
    pub(crate) interval: u64,
    /// Processes that share the targets; more than one with TimescaleDB only.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// How long to scrape before: a million series are written for the first time then.
    #[arg(long, default_value_t = 30)]
    pub(crate) warm_up: u64,
}

/// Targets whose samples are compared one by one with what was served; of the others only the number of samples is.
const LOOKED_AT: usize = 50;

/// What happened within the time that was measured.
struct Window {
    /// Pages scraped and stored.
    good: f64,
    /// Scrapes that were due.
    due: f64,
    /// Seconds until 99 of 100 scrapes were stored.
    p99: Option<f64>,
    /// By how many seconds 99 of 100 scrapes began late at most; only metricsd tells.
    start_delay: Option<f64>,
}

/// One run over all servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    let mut failures = Failures::default();
    for kind in options.setup.available() {
        let mut pages = Pages::serve(options.targets, options.series).await?;
        println!(
            "scrape: {} targets of {} series, {} bytes a page, every {} ms for {} s",
            options.targets,
            options.series,
            pages.bytes(),
            options.interval,
            options.seconds
        );
        let extra = Extra {
            settings: vec![("METRICSD_SCRAPE_CONCURRENCY", options.targets.max(1000).to_string())],
            scrape: Some(pages.scrape_config(&format!("{}ms", options.interval))),
            more_workers: if kind == Kind::Timescale { options.workers.saturating_sub(1) } else { 0 },
        };
        let work = async |subject: &mut Subject| measure(subject, &mut pages, options, results).await;
        failures.with(kind, &options.setup, &extra, work).await;
        pages.close().await;
    }
    failures.finish()
}

async fn measure(
    subject: &Subject,
    pages: &mut Pages,
    options: &Options,
    results: &mut Results,
) -> Result<()> {
    let begun = system::now();
    if subject.kind.is_ours() {
        register(subject, pages, options).await?;
    }
    let patience = Instant::now();
    while (0..options.targets).any(|target| pages.served(target) < 2) {
        anyhow::ensure!(
            patience.elapsed().as_secs() < 60,
            "{} does not scrape every target",
            subject.kind.name()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;
    let window = window(subject, options, results).await?;
    let (kind, due) = (subject.kind, window.due);
    results.add("scrape.missed", kind, 100.0 * (due - window.good).max(0.0) / due);
    if let Some(p99) = window.p99 {
        results.add("scrape.p99", kind, p99);
    }
    if let Some(delay) = window.start_delay {
        results.add("scrape.start_delay", kind, delay);
    }
    results.add("scrape.rate", kind, window.good * options.series as f64 / options.seconds as f64);
    results.add("scrape.rss", kind, subject.resident_mb());
    if let Some(mib) = subject.database().and_then(crate::database::Database::memory_mb) {
        results.add("scrape.database", kind, mib);
    }
    let series = (options.targets * options.series) as f64;
    if series >= 1e6 {
        results.add("million.scraped", kind, subject.resident_mb() * 1024.0 * 1024.0 / series);
    }
    pages.close().await;
    if kind.is_ours() {
        // What was served last is stored, and said of the targets that they are gone.
        tokio::time::sleep(Duration::from_secs(3)).await;
        check(subject, pages, options, begun).await.context("what is stored is not what was served")?;
    }
    Ok(())
}

/// Has metricsd scrape them.
async fn register(subject: &Subject, pages: &Pages, options: &Options) -> Result<()> {
    let post = async |target: usize| {
        let interval = format!("{}ms", options.interval);
        let request = json!({
            "source_id": format!("pages-{target}"), "collection_method": "PULL_SCRAPING",
            "scrape_config": {"target_url": pages.url(target), "scrape_interval": interval, "scrape_timeout": interval}
        });
        let url = subject.url("/api/v1/metrics/targets");
        let answer = subject.client().post(url).json(&request).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
        Ok(())
    };
    let mut answers = futures::stream::iter(0..options.targets).map(post).buffer_unordered(8);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

/// Lets the time pass and looks at what happened.
async fn window(subject: &Subject, options: &Options, results: &mut Results) -> Result<Window> {
    let counters = async || match subject.kind.is_ours() {
        true => subject.counters().await.map(Some),
        false => Ok(None),
    };
    let before = counters().await?;
    let (cpu, own, started) = (subject.cpu(), system::own_seconds(), Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (cpu, own, seconds) =
        (subject.cpu().since(cpu), system::own_seconds() - own, started.elapsed().as_secs_f64());
    let after = counters().await?;
    results.add("scrape.cores", subject.kind, cpu.total() / seconds);
    results.add("scrape.own_cores", subject.kind, cpu.own / seconds);
    results.add("scrape.pages_cores", subject.kind, own / seconds);
    let due = (options.targets as u64 * options.seconds * 1000 / options.interval) as f64;
    let (Some(before), Some(after)) = (before, after) else {
        return peer_window(subject, options, due).await;
    };
    let grown = |name: &str, label: &str| after.sum_where(name, label) - before.sum_where(name, label);
    let good = grown("metricsd_scrape_scrapes_total", "result=\"ok\"");
    let failed = grown("metricsd_scrape_scrapes_total", "") - good;
    let skipped = grown("metricsd_scrape_skipped_total", "");
    // Scrapes are under way at both ends: what is missing is only believed where metricsd says so, or beyond those.
    let missing = (due - good - due * 0.005).max(failed + skipped).max(0.0);
    let p99 = after.quantile(&before, "metricsd_collection_duration_seconds", 0.99);
    let start_delay = after.quantile(&before, "metricsd_scrape_start_delay_seconds", 0.99);
    Ok(Window { good: due - missing, due, p99, start_delay })
}

/// What a peer says of its scrapes: Prometheus and VictoriaMetrics note their duration and samples as series of their own.
async fn peer_window(subject: &Subject, options: &Options, due: f64) -> Result<Window> {
    let at = system::now();
    // VictoriaMetrics shows what it has taken in a little later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let samples = async |name: &str| {
        let query = format!("{name}{{job=\"pages\"}}[{}s]", options.seconds);
        let list = ask::instant(subject.process(), &query, at).await?.result()?;
        let points = list.iter().filter_map(|series| series["values"].as_array()).flatten();
        anyhow::Ok(points.filter_map(|point| point[1].as_str()?.parse::<f64>().ok()).collect::<Vec<f64>>())
    };
    let scraped = samples("scrape_samples_scraped").await?;
    let good = scraped.iter().filter(|count| **count == options.series as f64).count() as f64;
    let mut durations = samples("scrape_duration_seconds").await?;
    durations.sort_by(f64::total_cmp);
    let p99 = durations.get((durations.len() * 99).div_ceil(100).saturating_sub(1)).copied();
    Ok(Window { good, due, p99, start_delay: None })
}

/// Compares what is stored with what was served, sample by sample for some targets and by number for all. Pages whose
/// scrape failed after all were served in vain; metricsd says how many.
async fn check(subject: &Subject, pages: &Pages, options: &Options, begun: i64) -> Result<()> {
    let counters = subject.counters().await?;
    let good = counters.sum_where("metricsd_scrape_scrapes_total", "result=\"ok\"");
    let served = pages.served_by_all() as f64;
    let in_vain = served - good;
    let failed = counters.sum("metricsd_scrape_scrapes_total") - good;
    anyhow::ensure!(
        (0.0..=failed).contains(&in_vain),
        "{served} pages were served, {good} scrapes were good"
    );
    let looked_at = LOOKED_AT.min(options.targets);
    let targets = 0..looked_at;
    let sent = Sent {
        names: pages::names(),
        matcher: instances(pages, looked_at),
        series: looked_at * options.series,
        count: targets.clone().map(|target| pages.served(target)).sum::<u64>() * options.series as u64,
        sum: targets.map(|target| pages.sum(target)).sum(),
        exact: true,
        first: begun,
        last: system::now(),
    };
    println!("  {:<24} served {served} pages, of which {in_vain} in vain", subject.kind.name());
    compare("the engine", &sent, by_engine(subject, &sent).await?, in_vain)?;
    if let Some(database) = subject.database() {
        let sources: Vec<String> = (0..looked_at).map(|target| format!("'pages-{target}'")).collect();
        let between = format!("BETWEEN {} AND {}", sql_time(sent.first), sql_time(sent.last));
        let row = database
            .query(&format!(
                "SELECT count(*), sum(value) FROM metrics_ts WHERE \"timestamp\" {between} AND source IN ({}) \
                 AND metric_name LIKE 'page%'",
                sources.join(", ")
            ))
            .await?;
        let (count, sum) = row.split_once('|').context("no count and sum")?;
        compare("metrics_ts", &sent, (count.parse()?, sum.parse().unwrap_or(0.0)), in_vain)?;
    }
    Ok(())
}

/// A matcher of some targets.
fn instances(pages: &Pages, targets: usize) -> String {
    let address =
        |target| pages.url(target).trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let list: Vec<String> = (0..targets).map(|target| address(target).replace('.', "[.]")).collect();
    format!("instance=~\"{}\"", list.join("|"))
}

/// Everything is there, or no more is missing than pages that were served in vain.
fn compare(what: &str, sent: &Sent, found: (f64, f64), in_vain: f64) -> Result<()> {
    if in_vain == 0.0 {
        return equal(what, sent, found.0, found.1);
    }
    let least = sent.count as f64 - in_vain * (sent.series / LOOKED_AT).max(1) as f64;
    anyhow::ensure!(
        (least..=sent.count as f64).contains(&found.0),
        "{what} has {} samples; {} were served, {in_vain} pages in vain",
        found.0,
        sent.count
    );
    Ok(())
}

/// Whether a server can be measured here; SQLite is not among those that a whole benchmark scrapes into.
pub(crate) const DEFAULT: [Kind; 3] = [Kind::Timescale, Kind::Prometheus, Kind::Victoria];
