//! An hour of a node_exporter's series: what it takes on disk, before and after compaction, and how fast SQL reads it.

use anyhow::Result;

use crate::requests::{Load, Steps};
use crate::results::Results;
use crate::server::{Failures, Setup, Subject};
use crate::{compact, node, sizes, unnest, verify, write};

/// Milliseconds from scrape to scrape.
const STEP: i64 = 15_000;
const HOUR: i64 = 3_600_000;

/// How much is stored.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Targets of 500 series each.
    #[arg(long, default_value_t = 30)]
    pub(crate) targets: usize,
    /// Scrapes of each, 15 s apart; 240 are an hour.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(2..=240))]
    pub(crate) scrapes: u32,
}

/// One run over all servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    let kinds = options.setup.available();
    // The last hour but one: it is over, and nothing of it is on its way.
    let first = (crate::system::now() / HOUR - 2) * HOUR;
    let steps = Steps { first, step: STEP, count: options.scrapes as usize, together: 1 };
    let load = Load::prepare(node::MATCHER, node::shards(options.targets, STEP), steps)?;
    println!(
        "disk: {} targets, {} series, {} samples, a request a scrape",
        options.targets, load.sent.series, load.sent.count
    );
    let mut failures = Failures::default();
    for kind in kinds {
        let work = async |subject: &mut Subject| measure(subject, &load, options, results).await;
        failures.with(kind, &options.setup, &compact::off(), work).await;
    }
    failures.finish()
}

async fn measure(subject: &mut Subject, load: &Load, options: &Options, results: &mut Results) -> Result<()> {
    let (kind, samples) = (subject.kind, load.sent.count as f64);
    let empty = sizes::empty(subject).await?;
    write::send(subject, load, options.targets).await?;
    if let Some(database) = subject.database() {
        match unnest::ask(database, &load.sent, 1).await {
            Ok((rate, _)) => results.add("unnest.fresh", kind, rate),
            Err(error) => println!("  {:<24} before compaction: {error:#}", kind.name()),
        }
        let (bytes, parts) = sizes::measure(subject).await?;
        println!("  {:<24} before compaction: {parts}", kind.name());
        results.add("disk.fresh", kind, (bytes - empty) / samples);
    }
    let took = compact::run(subject, &options.setup).await?;
    if let Some(seconds) = took {
        results.add("disk.compaction", kind, seconds);
    }
    verify::all(subject, &load.sent).await?;
    if let Some(database) = subject.database()
        && took.is_some()
    {
        let (rate, plan) = unnest::ask(database, &load.sent, 5).await?;
        results.add("unnest.rate", kind, rate);
        results.note("plan", plan);
    }
    if took.is_none() && subject.database().is_some() {
        return Ok(());
    }
    let (bytes, parts) = sizes::measure(subject).await?;
    println!("  {:<24} {parts}", kind.name());
    results.note(&format!("disk, {}", kind.name()), parts);
    let figure = if took.is_some() { "disk.bytes" } else { "disk.fresh" };
    results.add(figure, kind, (bytes - empty) / samples);
    if took.is_some() && empty > 0.0 {
        results.add("disk.empty", kind, empty / f64::from(1 << 20));
    }
    Ok(())
}
