//! `metricsd stats`: how collecting goes.

use std::io;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const HELP: &str = "\
Examples:
  metricsd stats
  metricsd stats --output json | jq .error_rate

Counts targets as the catalogue has them now, and rates over the last minutes, over all processes.";

/// `metricsd stats`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks, and shows the answer.
pub(super) async fn run(args: &StatsArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let answer = client.send(client.request(Method::GET, &["stats"])).await?.value;
    let mut out = io::stdout().lock();
    match (args.client.output, &answer) {
        (Format::Table, Value::Object(fields)) => {
            let pairs: Vec<(&str, String)> =
                fields.iter().map(|(name, value)| (name.as_str(), cell(value))).collect();
            output::print_pairs(&mut out, &pairs)?;
        }
        _ => output::print_json(&mut out, &answer)?,
    }
    Ok(Exit::Done)
}
