//! The command line: one file a command, each its arguments and what it does.

mod cluster;
mod config;
mod discovery;
mod events;
mod explain_relabel;
mod export;
mod import;
mod push;
mod query;
mod run;
mod stats;
mod target;
mod token;
mod verify;

mod client;
mod failure;
mod output;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clap::{Args, Parser, Subcommand};

pub(crate) use failure::{Exit, Failure};

use client::Client;
use output::Format;

/// The environment, passed in.
pub(crate) type Environment = BTreeMap<String, String>;

/// Where the server is looked for when nobody says.
const DEFAULT_URL: &str = "http://127.0.0.1:9099";
/// The variable that says.
const URL_VARIABLE: &str = "METRICSD_URL";
/// The variable that holds the token to present.
const TOKEN_VARIABLE: &str = "METRICSD_TOKEN";

const AFTER_HELP: &str = "\
First metrics in a minute:
  metricsd run                                         start on 127.0.0.1:9099, data in ./data
  metricsd target add http://127.0.0.1:9100/metrics    scrape a node_exporter
  metricsd target list                                 see whether it answers
  metricsd query 'node_load1'                          ask

Exit codes:
  0  done
  1  refused or failed; the message says why
  2  the command line or the configuration is wrong
  3  the server cannot be reached
  4  partly done: some items were rejected";

/// Collects metrics, keeps them, answers questions about them, and tells others when a collection happened.
#[derive(Debug, Parser)]
#[command(name = "metricsd", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start collecting, storing and answering
    Run(run::RunArgs),
    /// Check, show and explain the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Bring the database to this version's schema
    Migrate(run::MigrateArgs),
    /// Manage what is scraped
    #[command(subcommand)]
    Target(target::TargetCommand),
    /// Manage tokens: who may push, read and manage, and how much
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show targets of every origin, discovered ones and those that relabelling dropped included
    Targets(discovery::TargetsArgs),
    /// Show where targets come from: jobs, providers, what each finds, errors and ages
    Discovery(discovery::DiscoveryArgs),
    /// Ask for metrics in PromQL: a table, a chart, JSON or CSV
    Query(query::QueryArgs),
    /// Send metrics from a file: a list of JSON, or a file of any size in CSV, NDJSON, OpenMetrics or Parquet
    Push(push::PushArgs),
    /// Write samples into a file: CSV, NDJSON, OpenMetrics or Parquet
    Export(export::ExportArgs),
    /// Scrape by a prometheus.yml: check it, show what it comes to, and use it
    Import(import::ImportArgs),
    /// Follow the events of finished collections
    Events(events::EventsArgs),
    /// Show what relabelling rules do to labels, step by step
    ExplainRelabel(explain_relabel::ExplainRelabelArgs),
    /// Show the processes, their leases and what each owns
    Cluster(cluster::ClusterArgs),
    /// Show how collecting goes, over all processes
    Stats(stats::StatsArgs),
    /// Count what is stored and compare it with what was accepted
    Verify(verify::VerifyArgs),
}

impl Command {
    /// Does it.
    pub(crate) fn dispatch(self, environment: &Environment) -> Result<Exit, Failure> {
        match self {
            Self::Run(args) => run::run(&args, environment),
            Self::Config(command) => command.run(environment),
            Self::Migrate(args) => run::migrate(&args, environment),
            Self::Target(command) => wait_for(command.run(environment)),
            Self::Token(command) => wait_for(command.run(environment)),
            Self::Targets(args) => wait_for(discovery::targets(&args, environment)),
            Self::Discovery(args) => wait_for(discovery::discovery(&args, environment)),
            Self::Query(args) => wait_for(query::run(&args, environment)),
            Self::Push(args) => wait_for(push::run(&args, environment)),
            Self::Export(args) => wait_for(export::run(&args, environment)),
            Self::Import(args) => wait_for(import::run(&args, environment)),
            Self::Events(args) => wait_for(events::run(&args, environment)),
            Self::ExplainRelabel(args) => explain_relabel::run(&args),
            Self::Cluster(args) => wait_for(cluster::run(&args, environment)),
            Self::Stats(args) => wait_for(stats::run(&args, environment)),
            Self::Verify(args) => wait_for(verify::run(&args, environment)),
        }
    }
}

/// Runs a client: one request after the other needs no second thread.
fn wait_for(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?.block_on(work)
}

/// How a client command finds the server.
#[derive(Debug, Args)]
struct Connection {
    /// Address of the server [env: METRICSD_URL] [default: http://127.0.0.1:9099]
    #[arg(long, value_name = "URL", help_heading = "Connection and output")]
    url: Option<String>,
    /// File that holds the token to present [env: METRICSD_TOKEN holds the token itself]
    #[arg(long, value_name = "FILE", help_heading = "Connection and output")]
    token_file: Option<std::path::PathBuf>,
}

/// How a client command finds the server and answers.
#[derive(Debug, Args)]
struct ClientArgs {
    #[command(flatten)]
    connection: Connection,
    /// Tables for people, or json for scripts
    #[arg(long, short, value_enum, default_value_t = Format::Table, help_heading = "Connection and output")]
    output: Format,
}

impl Connection {
    fn client(&self, environment: &Environment) -> Result<Client, Failure> {
        let variable = environment.get(URL_VARIABLE).filter(|url| !url.is_empty());
        let url = self.url.as_ref().or(variable).map_or(DEFAULT_URL, String::as_str);
        Client::new(url, self.token(environment)?.as_deref())
    }

    /// Never an argument itself, since others on the machine can read those.
    fn token(&self, environment: &Environment) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(environment.get(TOKEN_VARIABLE).filter(|token| !token.is_empty()).cloned());
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("--token-file: {} cannot be read: {error}", path.display()))
        })?;
        Ok(Some(text.trim().to_owned()))
    }
}

impl ClientArgs {
    fn client(&self, environment: &Environment) -> Result<Client, Failure> {
        self.connection.client(environment)
    }
}
