//! `metricsd discovery` and `metricsd targets`: where targets come from, and what became of each that was found.

use std::io;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

const DISCOVERY_HELP: &str = "\
Examples:
  metricsd discovery
  metricsd discovery --job node --output json | jq '.jobs[].providers'

One line a provider: what it finds, how old its last good answer is, and what is wrong. Below them the targets whose ids
others have already. Exits with 1 where there is no job of the name.";

/// `metricsd discovery`.
#[derive(Debug, Args)]
#[command(after_help = DISCOVERY_HELP)]
pub(crate) struct DiscoveryArgs {
    /// Of this job alone
    #[arg(long)]
    job: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

const TARGETS_HELP: &str = "\
Examples:
  metricsd targets
  metricsd targets --dropped --pool node
  metricsd targets --output json | jq '.activeTargets[] | select(.health==\"down\")'

Targets of every origin as Prometheus' API shows them; `metricsd target list` shows the catalogue.";

/// `metricsd targets`.
#[derive(Debug, Args)]
#[command(after_help = TARGETS_HELP)]
pub(crate) struct TargetsArgs {
    /// Of this job, or of this source
    #[arg(long, value_name = "JOB")]
    pool: Option<String>,
    /// Those that are not scraped, with their labels before relabelling
    #[arg(long)]
    dropped: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks how discovery goes, and shows the answer.
pub(super) async fn discovery(args: &DiscoveryArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let mut request = client.request(Method::GET, &["discovery"]);
    if let Some(job) = &args.job {
        request = request.query(&[("job", job)]);
    }
    let answer = client.send(request).await?.value;
    if let Some(job) = &args.job
        && answer["jobs"].as_array().is_none_or(Vec::is_empty)
    {
        return Err(Failure::failed(format!(
            "no job is called {job:?}; `metricsd discovery` lists those that run"
        )));
    }
    let mut out = io::stdout().lock();
    if args.client.output == Format::Json {
        output::print_json(&mut out, &answer)?;
        return Ok(Exit::Done);
    }
    show_discovery(&mut out, &answer)?;
    Ok(Exit::Done)
}

/// Jobs and their providers, and what stands in the way of some targets.
fn show_discovery(out: &mut impl io::Write, answer: &Value) -> io::Result<()> {
    if let Value::Object(config) = &answer["config"] {
        let pairs: Vec<(&str, String)> =
            config.iter().map(|(name, value)| (name.as_str(), cell(value))).collect();
        output::print_pairs(out, &pairs)?;
    }
    let mut table =
        output::table(&["job", "active", "dropped", "provider", "settings", "finds", "age s", "error"]);
    for job in answer["jobs"].as_array().into_iter().flatten() {
        let of = |name: &str| cell(&job[name]);
        let (name, active, dropped) = (of("job"), of("active"), of("dropped"));
        for provider in job["providers"].as_array().into_iter().flatten() {
            let of = |name: &str| cell(&provider[name]);
            let age =
                provider["age_seconds"].as_f64().map_or_else(|| of("age_seconds"), |age| format!("{age:.0}"));
            let (kind, settings, finds) = (of("provider"), of("settings"), of("targets"));
            table.add_row([
                name.clone(),
                active.clone(),
                dropped.clone(),
                kind,
                settings,
                finds,
                age,
                of("error"),
            ]);
        }
        if !job["error"].is_null() {
            let none = || cell(&Value::Null);
            table.add_row([name, active, dropped, none(), none(), none(), none(), of("error")]);
        }
    }
    output::print_table(out, &table)?;
    let mut conflicts = output::table(&["job", "target that is not scraped", "its id is held by"]);
    let mut any = false;
    for job in answer["jobs"].as_array().into_iter().flatten() {
        for conflict in job["conflicts"].as_array().into_iter().flatten() {
            any = true;
            conflicts.add_row([cell(&job["job"]), cell(&conflict["target_id"]), cell(&conflict["held_by"])]);
        }
    }
    if any {
        output::print_table(out, &conflicts)?;
    }
    Ok(())
}

/// Asks for targets, and shows them.
pub(super) async fn targets(args: &TargetsArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let mut parameters = vec![("state", if args.dropped { "dropped" } else { "active" }.to_owned())];
    parameters.extend(args.pool.iter().map(|pool| ("scrapePool", pool.clone())));
    let mut answer = client.send(client.read("targets", &parameters)).await?.value;
    let data = answer["data"].take();
    let mut out = io::stdout().lock();
    if args.client.output == Format::Json {
        output::print_json(&mut out, &data)?;
        return Ok(Exit::Done);
    }
    let list = |name: &str| data[name].as_array().into_iter().flatten();
    let mut table = match args.dropped {
        true => output::table(&["pool", "discovered labels"]),
        false => output::table(&["pool", "health", "labels", "last scrape", "url", "error"]),
    };
    for target in list("droppedTargets").filter(|_| args.dropped) {
        table.add_row([cell(&target["scrapePool"]), cell(&target["discoveredLabels"])]);
    }
    for target in list("activeTargets").filter(|_| !args.dropped) {
        let names = ["scrapePool", "health", "labels", "lastScrape", "scrapeUrl", "lastError"];
        table.add_row(names.map(|name| cell(&target[name])));
    }
    output::print_table(&mut out, &table)?;
    Ok(Exit::Done)
}
