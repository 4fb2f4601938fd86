//! Figures of a release build, everything on this machine: `make bench`.
//!
//! Each command measures one thing, on metricsd with either store and on Prometheus and VictoriaMetrics where they are
//! there, one server at a time; `all` does everything and writes the table. Loopback only, bounded in time; bodies and
//! pages are prepared beforehand, so that making load costs next to nothing, and what it costs is shown. After each run
//! metricsd is asked for the count and the sum of what it holds; where they are not what was sent, the run has failed.

mod all;
mod ask;
mod compact;
mod counters;
mod course;
mod custom;
mod database;
mod disk;
mod embedded;
mod figures;
mod files;
mod fleet;
mod growth;
mod lines;
mod node;
mod otlp;
mod pages;
mod parse;
mod peers;
mod plot;
mod process;
mod protocols;
mod range;
mod report;
mod requests;
mod results;
mod scrape;
mod server;
mod sizes;
mod system;
mod unnest;
mod verify;
mod week;
mod wire;
mod write;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser};
use tokio::signal::unix::{SignalKind, signal};

use all::Output;
use results::Results;

/// Measures metricsd beside its peers with load that costs next to nothing to make.
#[derive(Parser)]
enum Command {
    /// Everything but `peers`; writes the table.
    All(all::Options),
    /// Remote write, and a range query over what was written.
    Write(Single<write::Options>),
    /// Scraping prepared pages.
    Scrape(Single<scrape::Options>),
    /// An hour of a node_exporter's series on disk, and one metric of it by SQL.
    Disk(Single<disk::Options>),
    /// One series over seven days.
    Week(Single<week::Options>),
    /// Pushes of JSON.
    Custom(Single<custom::Options>),
    /// Uploads and exports of files.
    Files(Single<files::Options>),
    /// Influx, Graphite and StatsD.
    Lines(Single<lines::Options>),
    /// Pushes of OTLP over HTTP.
    Otlp(Single<otlp::Options>),
    /// Remote write over numbers of series and of senders.
    Growth(Single<growth::Options>),
    /// Reading pages, formats side by side: processor time of one thread.
    Parse(parse::Options),
    /// The same series and many questions on every server.
    Peers(peers::Options),
}

/// One measurement, and where its results go.
#[derive(Args)]
struct Single<T: Args> {
    #[command(flatten)]
    options: T,
    #[command(flatten)]
    output: Output,
    /// How often.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
}

impl<T: Args> Single<T> {
    async fn repeat(self, measure: impl AsyncFn(&T, &mut Results) -> Result<()>) -> Result<()> {
        let mut results = self.output.results()?;
        let load_before = system::load_average();
        for _ in 0..self.runs {
            results.next_run();
            measure(&self.options, &mut results).await?;
        }
        results.note("occasion", report::occasion(&load_before));
        self.output.finish(&results)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // What is under way is dropped then: servers are killed, data folders and databases removed.
    let outcome = tokio::select! {
        outcome = measure() => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() {
    let Ok(mut told) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = told.recv() => {}
    }
}

async fn measure() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Command::parse() {
        Command::All(options) => all::run(options).await,
        Command::Write(single) => single.repeat(write::run).await,
        Command::Scrape(single) => single.repeat(scrape::run).await,
        Command::Disk(single) => single.repeat(disk::run).await,
        Command::Week(single) => single.repeat(week::run).await,
        Command::Custom(single) => single.repeat(custom::run).await,
        Command::Files(single) => single.repeat(files::run).await,
        Command::Lines(single) => single.repeat(lines::run).await,
        Command::Otlp(single) => single.repeat(otlp::run).await,
        Command::Growth(single) => single.repeat(growth::run).await,
        Command::Parse(options) => parse::run(options).await,
        Command::Peers(options) => peers::run(options).await,
    }
}
