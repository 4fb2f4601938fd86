//! Taking in remote writes, and the question about what was taken in.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::fleet;
use crate::range;
use crate::requests::{Load, Steps};
use crate::results::Results;
use crate::server::{Cpu, Extra, Failures, Kind, Setup, Subject};
use crate::{system, verify, wire};

/// How much is written.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Series.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) series: usize,
    /// Samples in all.
    #[arg(long, default_value_t = 4_000_000)]
    pub(crate) samples: usize,
    /// Samples of a request.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) request: usize,
    /// Requests under way at once.
    #[arg(long, default_value_t = 4)]
    pub(crate) senders: usize,
    /// Give each host times of its own within a request, in place of one time a request.
    #[arg(long)]
    pub(crate) spread: bool,
}

impl Options {
    /// The requests. Samples are 15 s apart, or less where there are so many that the first would be too old for a peer.
    pub(crate) fn load(&self) -> Result<Load> {
        let count = (self.samples / self.series.max(1)).max(1);
        let step = 15_000.min(3_000_000 / count as i64);
        let shards = fleet::shards(self.series, self.request, step, self.spread);
        Load::prepare(fleet::MATCHER, shards, Steps::until_now(step, count))
    }
}

/// What taking in has cost.
pub(crate) struct Cost {
    pub(crate) rate: f64,
    pub(crate) cpu: Cpu,
    /// Processor time of sending, in seconds.
    pub(crate) load_cpu: f64,
    pub(crate) samples: f64,
}

impl Cost {
    /// Microseconds a sample.
    pub(crate) fn micros(&self, seconds: f64) -> f64 {
        seconds / self.samples * 1e6
    }
}

/// Sends everything; it is over when the last request is acknowledged.
pub(crate) async fn send(subject: &Subject, load: &Load, senders: usize) -> Result<Cost> {
    let lists = load.lists(senders);
    let (cpu, own, started) = (subject.cpu(), system::own_seconds(), Instant::now());
    let sent = wire::send_all(subject.process().address(), lists).await;
    let (seconds, load_cpu) = (started.elapsed().as_secs_f64(), system::own_seconds() - own);
    sent.with_context(|| {
        format!("{} takes in; it logged: {}", subject.kind.name(), subject.process().log())
    })?;
    let samples = load.sent.count as f64;
    Ok(Cost { rate: samples / seconds, cpu: subject.cpu().since(cpu), load_cpu, samples })
}

/// One run over all servers.
pub(crate) async fn run(options: &Options, results: &mut Results) -> Result<()> {
    let kinds = options.setup.available();
    let load = options.load()?;
    let sent = &load.sent;
    println!(
        "write: {} series, {} samples, {:.0} MB of requests, {} senders",
        sent.series,
        sent.count,
        load.bytes as f64 / 1e6,
        options.senders
    );
    let mut failures = Failures::default();
    for kind in kinds {
        let work = async |subject: &mut Subject| measure(subject, &load, options, results).await;
        failures.with(kind, &options.setup, &Extra::default(), work).await;
    }
    failures.finish()
}

async fn measure(subject: &Subject, load: &Load, options: &Options, results: &mut Results) -> Result<()> {
    let kind: Kind = subject.kind;
    let cost = send(subject, load, options.senders).await?;
    let name = if options.spread { "spread" } else { "write" };
    results.add(format!("{name}.rate"), kind, cost.rate);
    results.add(format!("{name}.cpu"), kind, cost.micros(cost.cpu.total()));
    if !options.spread {
        results.add("write.own_cpu", kind, cost.micros(cost.cpu.own));
        results.add("write.peak", kind, subject.peak_mb());
        results.add("write.load_cpu", kind, cost.micros(cost.load_cpu));
        range::ask(subject, load, results).await?;
    }
    verify::all(subject, &load.sent).await
}
