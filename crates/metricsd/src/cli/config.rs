//! `metricsd config`: check, print, keys.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Environment;
use super::failure::{Exit, Failure};
use super::output::{self, Format};
use super::run::ConfigArgs;
use crate::config::{CacheConfig, Config, EventsConfig, Key, Keys, StorageBackend};

const CHECK_HELP: &str = "\
Examples:
  metricsd config check --config /etc/metricsd.yml
  metricsd config check && systemctl restart metricsd

Names every mistake with its file and line, its key, and what was expected; exits 2 when there is any.";

const PRINT_HELP: &str = "\
Examples:
  metricsd config print                         the defaults and what the environment changes
  metricsd config print --config metricsd.yml --output json | jq .storage

Secrets are masked, passwords inside URLs too.";

const KEYS_HELP: &str = "\
Examples:
  metricsd config keys | grep scrape
  metricsd config keys --output json | jq -r '.[].env'

A key goes into the file by its path (`scrape: {default_interval: 5s}`), or into the environment by its
variable (METRICSD_SCRAPE_DEFAULT_INTERVAL=5s). Lists are written a,b and maps name=value,name=value there.";

/// `metricsd config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration is right, and what is wrong with it
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Show the configuration that takes effect
    #[command(after_help = PRINT_HELP)]
    Print(PrintArgs),
    /// List every key with its variable, default and meaning
    #[command(after_help = KEYS_HELP)]
    Keys(KeysArgs),
}

/// `metricsd config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// `metricsd config print`.
#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// YAML for people (table), or json for scripts
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// `metricsd config keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// A table, or json for scripts
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl ConfigCommand {
    /// Does it.
    pub(super) fn run(&self, environment: &Environment) -> Result<Exit, Failure> {
        let mut out = io::stdout().lock();
        match self {
            Self::Check(args) => {
                let (config, _) = args.config.load(environment)?;
                output::print_pairs(&mut out, &summary(&config))?;
            }
            Self::Print(args) => {
                let (_, effective) = args.config.load(environment)?;
                let text = match args.output {
                    Format::Table => effective.yaml().map_err(|error| Failure::failed(error.to_string()))?,
                    Format::Json => effective.json().map_err(|error| Failure::failed(error.to_string()))?,
                };
                writeln!(out, "{}", text.trim_end())?;
                out.flush()?;
            }
            Self::Keys(args) => print_keys(&mut out, args.output)?,
        }
        Ok(Exit::Done)
    }
}

/// What a right configuration comes to, in a few lines.
fn summary(config: &Config) -> [(&'static str, String); 5] {
    let storage = match &config.storage.backend {
        StorageBackend::Sqlite(path) => format!("SQLite, {}", path.display()),
        StorageBackend::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let storage = match config.storage.shards.as_slice() {
        [] => storage,
        shards => {
            let places: Vec<String> = shards.iter().map(StorageBackend::place).collect();
            format!("{storage}; samples over {} shards: {}", shards.len(), places.join(", "))
        }
    };
    let cache = match &config.cache {
        CacheConfig::InProcess => "in process",
        CacheConfig::Redis(_) => "Redis",
    };
    let events = match &config.events {
        EventsConfig::InProcess => "in process".to_owned(),
        EventsConfig::Kafka(kafka) => format!("Kafka, topic {} on {}", kafka.topic, kafka.brokers.join(",")),
    };
    [
        ("listen", config.listen.clone()),
        ("roles", config.roles.names().join(", ")),
        ("storage", storage),
        ("cache", cache.to_owned()),
        ("events", events),
    ]
}

fn print_keys(out: &mut impl Write, format: Format) -> io::Result<()> {
    let keys = Keys::new();
    if format == Format::Json {
        let row = |key: &Key| json!({"key": key.path, "env": key.env, "default": key.default, "meaning": key.meaning});
        return output::print_json(out, &keys.iter().map(row).collect());
    }
    let mut table = output::table(&["key", "variable", "default", "meaning"]);
    for key in keys.iter() {
        let default = if key.default.is_empty() { "-" } else { &key.default };
        table.add_row([key.path.as_str(), key.env.as_str(), default, key.meaning]);
    }
    output::print_table(out, &table)
}
