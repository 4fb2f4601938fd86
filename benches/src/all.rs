//! Everything, one after the other, with a word on how far it is.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::results::Results;
use crate::server::{Kind, Setup};
use crate::{custom, disk, files, growth, lines, otlp, report, scrape, system, week, write};

/// How the benchmark is run.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    setup: Setup,
    #[command(flatten)]
    output: Output,
    /// Runs of the figures that take little time; the others have a third as many, at least one.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
    /// A tenth of the load and one run: whether everything works, not how well.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
}

/// What one command measures.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Write,
    Spread,
    Scrape,
    Disk,
    Week,
    Custom,
    Otlp,
    Lines,
    Files,
    Growth,
}

/// Where results go.
#[derive(clap::Args, Clone)]
pub(crate) struct Output {
    /// A file of results that these are added to.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// A Markdown file in which the part between the two marks of the figures is replaced; pictures go beside it.
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
}

impl Output {
    /// What was measured earlier.
    pub(crate) fn results(&self) -> Result<Results> {
        self.json.as_deref().map_or_else(|| Ok(Results::default()), Results::load)
    }

    /// Writes everything down and shows it.
    pub(crate) fn finish(&self, results: &Results) -> Result<()> {
        if let Some(path) = &self.json {
            results.save(path)?;
        }
        let text = report::figures(results, self.report.as_deref())?;
        println!("\n{text}");
        match &self.report {
            Some(path) => report::replace(path, "figures", &text),
            None => Ok(()),
        }
    }
}

/// Measures it all. What fails is said, and does not keep the rest from being measured; the whole has failed then.
pub(crate) async fn run(options: Options) -> Result<()> {
    let (load_before, started) = (system::load_average(), Instant::now());
    let mut results = options.output.results()?;
    let long = if options.quick { 1 } else { options.runs };
    let few = long.div_ceil(3).min(2);
    let plan = [
        (Part::Write, long),
        (Part::Spread, few),
        (Part::Scrape, 1),
        (Part::Disk, 1),
        (Part::Week, 1),
        (Part::Custom, few),
        (Part::Otlp, few),
        (Part::Lines, few),
        (Part::Files, 1),
        (Part::Growth, 1),
    ];
    let mut failed = Vec::new();
    for (part, runs) in plan {
        if !options.parts.is_empty() && !options.parts.contains(&part) {
            continue;
        }
        for run in 1..=runs {
            results.next_run();
            println!("\n[{:>4} s] run {run} of {runs}", started.elapsed().as_secs());
            if let Err(error) = measure(part, &options, &mut results).await {
                println!("FAILED: {error:#}");
                failed.push(format!("{error:#}"));
            }
            results.note("occasion", report::occasion(&load_before));
            if let Some(path) = &options.output.json {
                results.save(path)?;
            }
        }
    }
    options.output.finish(&results)?;
    println!("[{:>4} s] done", started.elapsed().as_secs());
    anyhow::ensure!(failed.is_empty(), "{} of the measurements failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

async fn measure(part: Part, options: &Options, results: &mut Results) -> Result<()> {
    let part_of = |whole: usize| if options.quick { (whole / 10).max(1) } else { whole };
    let setup = options.setup.clone();
    let only = |kinds: &[Kind]| {
        let wanted = |kind: &Kind| setup.servers.is_empty() || setup.servers.contains(kind);
        Setup { servers: kinds.iter().copied().filter(wanted).collect(), ..setup.clone() }
    };
    match part {
        Part::Write | Part::Spread => {
            let options = write::Options {
                setup,
                series: 100_000,
                samples: part_of(4_000_000).max(1_000_000),
                request: 10_000,
                senders: 4,
                spread: part == Part::Spread,
            };
            write::run(&options, results).await
        }
        Part::Scrape => {
            let setup = only(&scrape::DEFAULT);
            if setup.servers.is_empty() {
                return Ok(());
            }
            let options = scrape::Options {
                setup,
                targets: part_of(1000),
                series: 1000,
                interval: 1000,
                workers: 1,
                seconds: if options.quick { 10 } else { 60 },
                warm_up: if options.quick { 2 } else { 30 },
            };
            scrape::run(&options, results).await
        }
        Part::Disk => {
            let options = disk::Options { setup, targets: part_of(30), scrapes: 240 };
            disk::run(&options, results).await
        }
        Part::Week => {
            let options = week::Options { setup, targets: 4, series: part_of(50), days: 7 };
            week::run(&options, results).await
        }
        Part::Custom | Part::Otlp | Part::Lines | Part::Files => {
            let setup = only(&[Kind::Timescale, Kind::Sqlite]);
            if setup.servers.is_empty() {
                return Ok(());
            }
            push(part, setup, part_of, results).await
        }
        Part::Growth => {
            let options = growth::Options {
                setup,
                series: [10_000, 100_000, 1_000_000].map(part_of).to_vec(),
                senders: vec![1, 2, 4],
                samples: part_of(2_000_000),
                unchecked: 500_000,
            };
            growth::run(&options, results).await
        }
    }
}

/// The ways to push.
async fn push(
    part: Part,
    setup: Setup,
    part_of: impl Fn(usize) -> usize,
    results: &mut Results,
) -> Result<()> {
    match part {
        Part::Otlp => {
            let options = otlp::Options { setup, requests: part_of(200), points: 10_000, clients: 4 };
            otlp::run(&options, results).await
        }
        Part::Lines => {
            let options = lines::Options { setup, series: 10_000, rounds: part_of(100) };
            lines::run(&options, results).await
        }
        Part::Files => {
            let options = files::Options { setup, rows: part_of(1_000_000), series: 1_000 };
            files::run(&options, results).await
        }
        _ => {
            let options = custom::Options { setup, pushes: part_of(400), items: 10_000, clients: 4 };
            custom::run(&options, results).await
        }
    }
}
