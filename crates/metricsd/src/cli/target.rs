//! `metricsd target`: what is scraped.

mod add;

use std::io;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{self, Format, cell};
use super::{ClientArgs, Environment};

/// Targets that one page of a list brings.
const PAGE: &str = "1000";

const LIST_HELP: &str = "\
Examples:
  metricsd target list --health unhealthy
  metricsd target list --label env=prod --output json | jq -r '.[].target_id'";

/// `metricsd target`.
#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// Scrape a page from now on
    Add(Box<add::AddArgs>),
    /// List targets and their health
    #[command(after_help = LIST_HELP, visible_alias = "ls")]
    List(ListArgs),
    /// Show all that is known of a target
    Show(OneArgs),
    /// Stop scraping a target and forget it; its series end, their samples stay
    #[command(visible_alias = "delete")]
    Rm(ManyArgs),
    /// Scrape targets again
    Enable(ManyArgs),
    /// Stop scraping targets without forgetting them
    Disable(ManyArgs),
    /// Scrape a target now and show what came of it
    Scrape(OneArgs),
    /// Ask a target now and tell everything that happened, as JSON; nothing is stored
    Debug(OneArgs),
}

/// `metricsd target list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this source
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    /// In this health: unknown, healthy, unhealthy or disabled
    #[arg(long)]
    health: Option<String>,
    /// With this label; may repeat
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Enabled or not
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A command about one target.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Id of the target
    target_id: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// A command about some targets.
#[derive(Debug, Args)]
pub(crate) struct ManyArgs {
    /// Ids of the targets
    #[arg(required = true)]
    target_ids: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl TargetCommand {
    /// Does it.
    pub(super) async fn run(&self, environment: &Environment) -> Result<Exit, Failure> {
        match self {
            Self::Add(args) => add::add(args, environment).await,
            Self::List(args) => list(args, environment).await,
            Self::Show(args) => one(args, Method::GET, &[], environment).await,
            Self::Scrape(args) => one(args, Method::POST, &["scrape"], environment).await,
            Self::Debug(args) => debug(args, environment).await,
            Self::Rm(args) => each(args, Method::DELETE, None, "removed", environment).await,
            Self::Enable(args) => {
                each(args, Method::PATCH, Some(json!({"enabled": true})), "enabled", environment).await
            }
            Self::Disable(args) => {
                each(args, Method::PATCH, Some(json!({"enabled": false})), "disabled", environment).await
            }
        }
    }
}

async fn list(args: &ListArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let mut filter = vec![("limit", PAGE.to_owned())];
    filter.extend(args.source_id.iter().map(|source| ("source_id", source.clone())));
    filter.extend(args.health.iter().map(|health| ("health", health.clone())));
    filter.extend(args.labels.iter().map(|(name, value)| ("label", format!("{name}:{value}"))));
    filter.extend(args.enabled.iter().map(|enabled| ("enabled", enabled.to_string())));
    let targets = all_pages(&client, &filter).await?;
    let mut out = io::stdout().lock();
    if args.client.output == Format::Json {
        output::print_json(&mut out, &Value::Array(targets))?;
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["target", "source", "health", "last scrape", "ms", "samples", "url"]);
    for target in &targets {
        let of = |name: &str| cell(&target[name]);
        let health = match target["last_error"]["reason"].as_str() {
            Some(reason) => format!("{} ({reason})", of("health_status")),
            None => of("health_status"),
        };
        let (last, took, samples) = (of("last_scrape"), of("scrape_duration_ms"), of("samples_scraped"));
        table.add_row([of("target_id"), of("source_id"), health, last, took, samples, of("target_url")]);
    }
    output::print_table(&mut out, &table)?;
    Ok(Exit::Done)
}

async fn all_pages(client: &Client, filter: &[(&str, String)]) -> Result<Vec<Value>, Failure> {
    let mut targets = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = client.request(Method::GET, &["targets"]).query(filter);
        let request = match &cursor {
            Some(cursor) => request.query(&[("cursor", cursor)]),
            None => request,
        };
        let answer = client.send(request).await?;
        let Value::Array(page) = answer.value else {
            return Err(Failure::failed("the server's answer is not a list of targets"));
        };
        targets.extend(page);
        // A cursor that stands still would be asked for without end.
        if answer.next.is_none() || answer.next == cursor {
            return Ok(targets);
        }
        cursor = answer.next;
    }
}

async fn one(
    args: &OneArgs,
    method: Method,
    action: &[&str],
    environment: &Environment,
) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let path = [&["targets", args.target_id.as_str()], action].concat();
    let answer = client.send(client.request(method, &path)).await?;
    let mut out = io::stdout().lock();
    match (args.client.output, &answer.value) {
        (Format::Table, Value::Object(fields)) => {
            let pairs: Vec<(&str, String)> =
                fields.iter().map(|(name, value)| (name.as_str(), cell(value))).collect();
            output::print_pairs(&mut out, &pairs)?;
        }
        _ => output::print_json(&mut out, &answer.value)?,
    }
    Ok(Exit::Done)
}

async fn debug(args: &OneArgs, environment: &Environment) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let request = client.request(Method::GET, &["targets", args.target_id.as_str(), "debug"]);
    output::print_json(&mut io::stdout().lock(), &client.send(request).await?.value)?;
    Ok(Exit::Done)
}

/// Does the same to every target; one that is refused does not keep the others from it.
async fn each(
    args: &ManyArgs,
    method: Method,
    body: Option<Value>,
    done: &str,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let client = args.client.client(environment)?;
    let mut answers = Vec::new();
    let mut refused = 0;
    for target_id in &args.target_ids {
        let mut request = client.request(method.clone(), &["targets", target_id]);
        if let Some(body) = &body {
            request = request.json(body);
        }
        match client.send(request).await {
            Ok(answer) => answers.push((target_id, answer.value)),
            Err(failure) if failure.is_refusal() && args.target_ids.len() > 1 => {
                refused += 1;
                failure.report();
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Json => {
            let values = answers.iter().map(|(_, value)| value.clone()).collect();
            output::print_json(&mut out, &values)?;
        }
        Format::Table => {
            let lines = answers.iter().map(|(id, value)| match value["status"].as_str() {
                // A deletion whose worker has not stopped in time goes on after the answer.
                Some("pending") => ("pending", (*id).clone()),
                _ => (done, (*id).clone()),
            });
            output::print_pairs(&mut out, &lines.collect::<Vec<_>>())?;
        }
    }
    Ok(match (refused, answers.len()) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partial,
    })
}
