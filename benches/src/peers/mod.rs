//! metricsd side by side with Prometheus and VictoriaMetrics: the same requests of remote write, the same questions.
//! One server runs at a time, each with a data folder of its own.

mod queries;
mod report;
mod series;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::process::Process;
use crate::requests::{Load, Steps};
use crate::server::{Extra, Kind, Setup, Subject};
use crate::{system, verify, write};
use queries::{Asked, QUESTIONS, Span};

/// Milliseconds between two samples of a series.
const STEP: i64 = 15_000;

/// What is compared.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    setup: Setup,
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
    /// Microseconds of processor time a sample, the database's included.
    cpu: f64,
    /// The most memory held while taking in, and while answering, in MB.
    peaks: [f64; 2],
    /// By question; the text of the error where one failed.
    asked: Vec<Result<Asked, String>>,
}

/// The first server is what the others are compared with.
const ORDER: [Kind; 4] = [Kind::Prometheus, Kind::Sqlite, Kind::Timescale, Kind::Victoria];

/// Measures every server that is there, prints the tables, and writes them down where asked.
pub(crate) async fn run(options: Options) -> Result<()> {
    let available = options.setup.available();
    let load_before = system::load_average();
    let steps = options.steps as usize;
    // Off the moments at which sub-queries are evaluated, which are whole multiples of their step.
    let first = system::now() / STEP * STEP - STEP * steps as i64 + 4_000;
    let load = Load::prepare(
        series::MATCHER,
        series::shards(),
        Steps { first, step: STEP, count: steps, together: 1 },
    )?;
    println!(
        "peers: {} series, {} samples, {:.0} MB of requests prepared",
        load.sent.series,
        load.sent.count,
        load.bytes as f64 / 1e6
    );
    // Between two samples: whether a range holds its left end makes no difference then.
    let span =
        Span { start: first + 5 * 60_000 + STEP / 2, end: first + STEP * (steps as i64 - 1) + STEP / 2 };
    let mut measured = Vec::new();
    for kind in ORDER.into_iter().filter(|kind| available.contains(kind)) {
        let subject = Subject::start(kind, &options.setup, &Extra::default()).await?;
        let one = measure(&subject, &load, span, options.senders).await;
        subject.stop().await?;
        measured.push(one?);
    }
    let text = report::text(&measured, &load.sent, options.steps, &load_before);
    println!("{text}");
    match &options.report {
        Some(path) => crate::report::replace(path, "side by side", &text),
        None => Ok(()),
    }
}

async fn measure(subject: &Subject, load: &Load, span: Span, senders: usize) -> Result<Measured> {
    let name = subject.kind.name();
    let cost = write::send(subject, load, senders).await?;
    let taking_in = subject.peak_mb();
    println!("peers: {name}: {:.0} samples/s", cost.rate);
    // Until what was taken in is searchable everywhere, and what follows a write in the background is done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let server: &Process = subject.process();
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
    let answering = subject.peak_mb();
    verify::all(subject, &load.sent).await?;
    Ok(Measured {
        name: name.to_owned(),
        rate: cost.rate,
        cpu: cost.micros(cost.cpu.total()),
        peaks: [taking_in, answering],
        asked,
    })
}
