//! `metricsd query`: asks for metrics, in PromQL.

mod answer;
mod chart;
mod csv;
mod pointer;
mod table;
mod terminal;

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use metricsd_model::{Millis, parse_duration};
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, escaped};
use super::{Connection, Environment, time};
use answer::{Answer, Data};
use chart::Window;
use terminal::Screen;

const HELP: &str = "\
Examples:
  metricsd query up
  metricsd query 'sum by (mode) (rate(node_cpu_seconds_total[5m]))' --time 10m
  metricsd query 'rate(metricsd_http_requests_total[1m])' --start 1h
  metricsd query node_load1 --start 1h --step 1m --output csv > load.csv
  metricsd query up --start 2026-01-31T00:00:00Z --end 2026-01-31T12:00:00Z --step 1h --output json

Times are now, 1h (that long ago), RFC 3339, or seconds since the epoch.
A chart has no colours where NO_COLOR is set or the output is no terminal.";

/// `metricsd query`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct QueryArgs {
    /// A PromQL expression, such as `up` or `rate(name{label="value",other=~"regex"}[5m])`
    expr: String,
    /// Evaluate at this time [default: now]
    #[arg(long, conflicts_with_all = ["start", "end", "step"], allow_hyphen_values = true)]
    time: Option<String>,
    /// Evaluate from this time on
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// Up to this time [default: now]
    #[arg(long, requires = "start", allow_hyphen_values = true)]
    end: Option<String>,
    /// Time between two values, such as 30s [default: 250 values in all]
    #[arg(long, requires = "start", value_name = "DURATION")]
    step: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// How to write the answer [default: chart for --start on a terminal, else table]
    #[arg(long, short, value_enum, help_heading = "Connection and output")]
    output: Option<Output>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One row a sample
    Table,
    /// A drawing of a range; what is no range is a table
    Chart,
    /// What the API answered
    Json,
    /// One line a sample: time, value, labels
    Csv,
}

/// Values of a range whose step was not given.
const DEFAULT_STEPS: i64 = 250;

/// Asks, and shows the answer.
pub(super) async fn run(args: &QueryArgs, environment: &Environment) -> Result<Exit, Failure> {
    let question = Question::of(args, chrono::Utc::now().timestamp_millis())?;
    let client = args.connection.client(environment)?;
    let asked = client.send(client.form(question.path(), &question.parameters)).await;
    let answer =
        asked.map_err(|failure| failure.reworded(|message| pointer::with_place(message, &args.expr)))?;
    let screen = Screen::look(environment);
    let mut out = io::stdout().lock();
    show(&mut out, &mut io::stderr().lock(), answer.value, &question, args.output, screen)?;
    Ok(Exit::Done)
}

/// What is asked for.
struct Question {
    parameters: Vec<(&'static str, String)>,
    /// Of a range.
    window: Option<Window>,
}

impl Question {
    fn of(args: &QueryArgs, now: Millis) -> Result<Self, Failure> {
        let read = |flag: &str, text: &str| {
            time::parse(text, now).map_err(|message| Failure::usage(format!("{flag}: {message}")))
        };
        let mut parameters = vec![("query", args.expr.clone())];
        if let Some(at) = &args.time {
            parameters.push(("time", time::seconds(read("--time", at)?)));
        }
        let mut window = None;
        if let Some(start) = &args.start {
            let start = read("--start", start)?;
            let end = args.end.as_deref().map_or(Ok(now), |end| read("--end", end))?;
            let step = args.step.clone().unwrap_or_else(|| {
                let seconds = (end - start).max(0) / DEFAULT_STEPS / 1_000;
                format!("{}s", seconds.max(1))
            });
            window = Some(Window { start, end, step: step_millis(&step) });
            parameters.extend([("start", time::seconds(start)), ("end", time::seconds(end)), ("step", step)]);
        }
        Ok(Self { parameters, window })
    }

    fn path(&self) -> &'static str {
        if self.window.is_some() { "query_range" } else { "query" }
    }
}

/// A duration or seconds, as the server reads them; nothing for what it will refuse.
fn step_millis(text: &str) -> Option<Millis> {
    let seconds = || text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parse_duration(text).ok().or_else(seconds).and_then(|step| Millis::try_from(step.as_millis()).ok())
}

fn show(
    out: &mut impl Write,
    remarks: &mut impl Write,
    value: Value,
    question: &Question,
    output: Option<Output>,
    screen: Screen,
) -> Result<(), Failure> {
    let drawn = question.window.is_some() && screen.terminal;
    let output = output.unwrap_or(if drawn { Output::Chart } else { Output::Table });
    if output == Output::Json {
        // Remarks are part of it.
        return Ok(output::print_json(out, &value)?);
    }
    let answer = Answer::read(value)?;
    for (kind, texts) in [("warning", &answer.warnings), ("info", &answer.infos)] {
        for text in texts {
            let bare =
                text.strip_prefix("PromQL ").and_then(|text| text.strip_prefix(kind)?.strip_prefix(": "));
            writeln!(remarks, "metricsd: {kind}: {}", escaped(bare.unwrap_or(text)))?;
        }
    }
    match (output, &answer.data) {
        (Output::Csv, data) => csv::print(out, data)?,
        (Output::Chart, Data::Matrix(series)) => chart::print(out, series, question.window, screen)?,
        (_, data) => table::print(out, data)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
