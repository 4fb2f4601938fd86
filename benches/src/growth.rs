//! How cost grows: the same samples in more and more series, and from one, two and four senders.

use anyhow::Result;

use crate::results::Results;
use crate::server::{Extra, Failures, Setup, Subject};
use crate::{verify, write};

/// What grows.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Numbers of series.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub(crate) series: Vec<usize>,
    /// Numbers of senders.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    pub(crate) senders: Vec<usize>,
    /// Samples in all, each time; at least three of each series.
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) samples: usize,
    /// Also compare what is stored with what was sent where there are this many series or more. The engine's answer
    /// about a million series takes a while.
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) unchecked: usize,
}

/// The name of a figure at a number of series and of senders.
pub(crate) fn name(figure: &str, series: usize, senders: usize) -> String {
    format!("growth.{figure}/{series}/{senders}")
}

/// One run over all servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    let kinds = options.setup.available();
    let mut failures = Failures::default();
    for &series in &options.series {
        let most = options.senders.iter().copied().max().unwrap_or(1).max(1);
        let write = write::Options {
            setup: options.setup.clone(),
            series,
            samples: options.samples.max(3 * series),
            request: 10_000.min(series / most).max(1),
            senders: 1,
            spread: false,
        };
        let load = write.load()?;
        println!("growth: {series} series, {} samples, {} a request", load.sent.count, write.request);
        for &senders in &options.senders {
            for &kind in &kinds {
                let work = async |subject: &mut Subject| {
                    measure(subject, &load, series, senders, options, results).await
                };
                failures.with(kind, &options.setup, &Extra::default(), work).await;
            }
        }
    }
    failures.finish()
}

async fn measure(
    subject: &Subject,
    load: &crate::requests::Load,
    series: usize,
    senders: usize,
    options: &Options,
    results: &mut Results,
) -> Result<()> {
    let kind = subject.kind;
    let cost = write::send(subject, load, senders).await?;
    let (memory, peak) = (subject.resident_mb(), subject.peak_mb());
    results.add(name("rate", series, senders), kind, cost.rate);
    results.add(name("cpu", series, senders), kind, cost.micros(cost.cpu.total()));
    results.add(name("memory", series, senders), kind, memory);
    results.add(name("peak", series, senders), kind, peak);
    if series >= 1_000_000 && Some(&senders) == options.senders.last() {
        let each = |mib: f64| mib * 1024.0 * 1024.0 / series as f64;
        results.add("million.pushed", kind, each(memory));
        results.add("million.peak", kind, each(peak));
    }
    if kind.is_ours() && series < options.unchecked {
        verify::all(subject, &load.sent).await?;
    }
    Ok(())
}
