//! `metricsd query`: asks for metrics.

use std::io::{self, Write};

use clap::Args;
use metricsd_model::Millis;
use reqwest::Method;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment, time};

const HELP: &str = "\
Examples:
  metricsd query up
  metricsd query 'node_cpu_seconds_total{mode=\"idle\",cpu=~\"0|1\"}' --time 10m
  metricsd query node_load1 --start 1h --step 1m
  metricsd query up --start 2026-01-31T00:00:00Z --end 2026-01-31T12:00:00Z --step 1h --output json

Times are now, 1h (that long ago), RFC 3339, or seconds since the epoch.";

/// `metricsd query`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct QueryArgs {
    /// A series selector, such as up or name{label="value",other=~"regex"}
    expr: String,
    /// One value a series at this time [default: now]
    #[arg(long, conflicts_with_all = ["start", "end", "step"], allow_hyphen_values = true)]
    time: Option<String>,
    /// Values from this time on
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// Up to this time [default: now]
    #[arg(long, requires = "start", allow_hyphen_values = true)]
    end: Option<String>,
    /// Time between two values, such as 30s [default: 250 values in all]
    #[arg(long, requires = "start", value_name = "DURATION")]
    step: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Values of a range whose step was not given.
const DEFAULT_STEPS: i64 = 250;

/// Asks, and shows the answer.
pub(super) async fn run(args: &QueryArgs, environment: &Environment) -> Result<Exit, Failure> {
    let parameters = parameters(args, chrono::Utc::now().timestamp_millis())?;
    let client = args.client.client(environment)?;
    let answer = client.send(client.request(Method::GET, &["query"]).query(&parameters)).await?;
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Json => output::print_json(&mut out, &answer.value)?,
        Format::Table => print(&mut out, &answer.value)?,
    }
    Ok(Exit::Done)
}

fn parameters(args: &QueryArgs, now: Millis) -> Result<Vec<(&'static str, String)>, Failure> {
    let read = |flag: &str, text: &str| {
        time::parse(text, now).map_err(|message| Failure::usage(format!("{flag}: {message}")))
    };
    let mut parameters = vec![("query", args.expr.clone())];
    if let Some(at) = &args.time {
        parameters.push(("time", time::seconds(read("--time", at)?)));
    }
    if let Some(start) = &args.start {
        let start = read("--start", start)?;
        let end = args.end.as_deref().map_or(Ok(now), |end| read("--end", end))?;
        let step = args.step.clone().unwrap_or_else(|| {
            let seconds = (end - start).max(0) / DEFAULT_STEPS / 1_000;
            format!("{}s", seconds.max(1))
        });
        parameters.extend([("start", time::seconds(start)), ("end", time::seconds(end)), ("step", step)]);
    }
    Ok(parameters)
}

/// One row a sample: series, time, value.
fn print(out: &mut impl Write, answer: &Value) -> io::Result<()> {
    let mut table = output::table(&["series", "time", "value"]);
    for series in answer["result"].as_array().into_iter().flatten() {
        let name = output::series(&series["metric"]);
        let several = series["values"].as_array().into_iter().flatten();
        let one = series.get("value").into_iter();
        for sample in one.chain(several) {
            table.add_row([name.clone(), output::timestamp(&sample[0]), cell(&sample[1])]);
        }
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        writeln!(io::stderr(), "metricsd: warning: {}", cell(warning))?;
    }
    output::print_table(out, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    fn asked(arguments: &[&str]) -> Vec<String> {
        let all = ["metricsd", "query"].iter().chain(arguments);
        let crate::cli::Command::Query(args) = crate::cli::Cli::try_parse_from(all).unwrap().command else {
            panic!("no query");
        };
        let parameters = parameters(&args, 1_750_500_000_000).unwrap();
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn questions_become_parameters() {
        let check = |arguments: &[&str], expected: &[&str]| assert_eq!(asked(arguments), expected);
        check(&["up"], &["query=up"]);
        check(&["up", "--time", "-1m"], &["query=up", "time=1750499940.000"]);
        check(
            &["up", "--start", "250s"],
            &["query=up", "start=1750499750.000", "end=1750500000.000", "step=1s"],
        );
        let range = ["up", "--start", "1750000000", "--end", "1750000060", "--step", "30s"];
        check(&range, &["query=up", "start=1750000000.000", "end=1750000060.000", "step=30s"]);
    }

    #[test]
    fn answers_are_one_row_a_sample() {
        let answer = json!({"result": [
            {"metric": {"__name__": "up", "job": "a"}, "value": [1_750_500_000, "1"]},
            {"metric": {"__name__": "up"}, "values": [[1_750_500_000, "0"], [1_750_500_015.5, "NaN"]]},
        ]});
        let mut out = Vec::new();
        print(&mut out, &answer).unwrap();
        let expected = "\
SERIES       TIME                      VALUE
up{job=\"a\"}  2025-06-21T10:00:00.000Z  1
up           2025-06-21T10:00:00.000Z  0
up           2025-06-21T10:00:15.500Z  NaN
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
