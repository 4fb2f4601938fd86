//! One series over seven days.

use anyhow::Result;

use crate::requests::{Load, Steps};
use crate::results::{Results, median};
use crate::server::{Failures, Setup, Subject};
use crate::{ask, compact, node, verify, write};

/// Milliseconds from sample to sample.
const STEP: i64 = 15_000;
const HOUR: i64 = 3_600_000;

/// How much is stored.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Targets, of which some series each are stored.
    #[arg(long, default_value_t = 4)]
    pub(crate) targets: usize,
    /// Series of each.
    #[arg(long, default_value_t = 50)]
    pub(crate) series: usize,
    /// Days.
    #[arg(long, default_value_t = 7)]
    pub(crate) days: usize,
}

/// How often each question is asked again.
const AGAIN: usize = 7;

/// One run over all servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    let kinds = options.setup.available();
    let count = options.days * 24 * 240;
    let steps = Steps {
        first: crate::system::now() / HOUR * HOUR - STEP * count as i64,
        step: STEP,
        count,
        together: 48,
    };
    let load = Load::prepare(node::MATCHER, node::some(options.targets, options.series), steps)?;
    println!("week: {} series over {} days, {} samples", load.sent.series, options.days, load.sent.count);
    let mut failures = Failures::default();
    for kind in kinds {
        let work = async |subject: &mut Subject| measure(subject, &load, &options.setup, results).await;
        failures.with(kind, &options.setup, &compact::off(), work).await;
    }
    failures.finish()
}

async fn measure(subject: &mut Subject, load: &Load, setup: &Setup, results: &mut Results) -> Result<()> {
    let kind = subject.kind;
    // One sender: Prometheus takes nothing that is an hour behind the newest.
    write::send(subject, load, 1).await?;
    compact::run(subject, setup).await?;
    let subject = &*subject;
    verify::all(subject, &load.sent).await?;
    let series =
        format!("node_cpu_seconds_total{{instance=\"{}\",mode=\"user\",cpu=\"cpu-1\"}}", node::instance(0));
    let (start, end) = (load.sent.first, load.sent.last);
    let query = async |text: &str, step: i64| {
        let answer = ask::range(subject.process(), text, start + step, end, step).await?;
        anyhow::ensure!(answer.result()?.len() == 1, "{text} does not find its series");
        anyhow::Ok(answer.seconds)
    };
    // Another series first: what a server does once for all questions is not this one's.
    let other = series.replace("cpu-1", "cpu-2");
    query(&other, 60_000).await?;
    results.add("week.first", kind, query(&series, 60_000).await?);
    for (figure, text, step) in [
        ("week.repeated", series.clone(), 60_000),
        ("week.all", format!("max_over_time({series}[10m])"), 600_000),
    ] {
        let mut seconds = Vec::new();
        for _ in 0..AGAIN {
            seconds.push(query(&text, step).await?);
        }
        if let Some(median) = median(seconds) {
            results.add(figure, kind, median);
        }
    }
    Ok(())
}
