//! `metricsd cluster`: which processes there are and what each owns.

use std::io;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const HELP: &str = "\
Examples:
  metricsd cluster
  metricsd cluster --output json | jq '.processes[].worker.utilisation'

A worker's lease is what it scrapes by: where it runs out, others take its targets over. STATE is joining, active,
draining (it hands over before it ends) or expired.";

/// `metricsd cluster`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks, and shows the answer.
pub(super) async fn run(args: &ClusterArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let answer = client.send(client.request(Method::GET, &["cluster"])).await?.value;
    let mut out = io::stdout().lock();
    if args.client.output != Format::Table {
        output::print_json(&mut out, &answer)?;
        return Ok(Exit::Done);
    }
    let none = Vec::new();
    let processes = answer["processes"].as_array().unwrap_or(&none);
    let head = ["listen", "roles", "version", "state", "lease", "buckets", "targets", "samples/s", "load"];
    let mut table = output::table(&head);
    for process in processes {
        table.add_row(row(process));
    }
    output::print_table(&mut out, &table)?;
    Ok(Exit::Done)
}

fn row(process: &Value) -> Vec<String> {
    let roles = process["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    let roles: Vec<&str> = roles.iter().filter_map(Value::as_str).collect();
    let worker = &process["worker"];
    let number = |name: &str, unit: &str, factor: f64| match worker[name].as_f64() {
        Some(number) => format!("{:.0}{unit}", number * factor),
        None => "-".to_owned(),
    };
    let state = worker["state"].as_str().unwrap_or("-").to_owned();
    vec![
        cell(&process["listen"]),
        roles.join(","),
        cell(&process["version"]),
        state,
        number("lease_seconds_left", "s", 1.0),
        number("owned_buckets", "", 1.0),
        number("targets", "", 1.0),
        number("samples_per_second", "", 1.0),
        number("utilisation", "%", 100.0),
    ]
}
