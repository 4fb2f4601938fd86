//! `metricsd run` and `metricsd migrate`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Environment;
use super::failure::{Exit, Failure};
use crate::config::{Config, Effective, Sources};
use crate::{logging, node};

/// How long threads are waited for whose work nobody needs any more.
const LINGER: Duration = Duration::from_secs(2);

const RUN_HELP: &str = "\
Examples:
  metricsd run                                   everything in one process, data in ./data
  metricsd run --data-dir /var/lib/metricsd --listen 0.0.0.0:9099
  metricsd run --config /etc/metricsd.yml        `metricsd config keys` lists what it may hold
  metricsd run --roles worker --config cluster.yml
  METRICSD_STORAGE_URL=postgres://me@db/metricsd metricsd run

Flags go before the environment, the environment before the file, the file before the defaults.
SIGTERM and SIGINT drain: what was accepted is stored before the process ends.";

const MIGRATE_HELP: &str = "\
Example:
  metricsd migrate --config /etc/metricsd.yml

`metricsd run` does the same at its start, under a lock. Run it by hand where the service's own user
may not change the schema. A standalone metricsd is to be stopped before.";

/// Where the configuration comes from, and what is set on the way.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArgs {
    /// Configuration file, YAML [env: METRICSD_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address and port to listen on (key listen)
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<String>,
    /// Folder for what is kept on disk (key data_dir)
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<String>,
    /// What this process does: api, worker, ingest, writer (key roles)
    #[arg(long, value_name = "A,B")]
    pub(super) roles: Option<String>,
    /// How logs are written (key log.format)
    #[arg(long, value_enum)]
    pub(super) log_format: Option<LogFormatArg>,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormatArg {
    /// For people
    Text,
    /// For machines
    Json,
}

impl ConfigArgs {
    /// Reads and checks the configuration.
    pub(super) fn load(&self, environment: &Environment) -> Result<(Config, Effective), Failure> {
        let log_format = self.log_format.map(|format| match format {
            LogFormatArg::Text => "text".to_owned(),
            LogFormatArg::Json => "json".to_owned(),
        });
        let flags = [
            ("--listen", "listen", self.listen.clone()),
            ("--data-dir", "data_dir", self.data_dir.clone()),
            ("--roles", "roles", self.roles.clone()),
            ("--log-format", "log.format", log_format),
        ];
        let flags = flags.into_iter().filter_map(|(flag, path, text)| Some((flag, path, text?))).collect();
        let sources = Sources { file: self.config.clone(), environment: environment.clone(), flags };
        sources.load().map_err(|error| Failure::usage(format!("the configuration is wrong\n{error}")))
    }
}

/// `metricsd run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// `metricsd migrate`.
#[derive(Debug, Args)]
#[command(after_help = MIGRATE_HELP)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs until a signal.
pub(super) fn run(args: &RunArgs, environment: &Environment) -> Result<Exit, Failure> {
    let (config, effective) = prepared(&args.config, environment)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(node::run(config, &effective));
    // Everything is stored by now; a thread that waits for a file system that does not answer holds nobody up.
    runtime.shutdown_timeout(LINGER);
    ended.map_err(|error| Failure::failed(format!("{error:#}")))?;
    Ok(Exit::Done)
}

/// Brings the database to this version's schema.
pub(super) fn migrate(args: &MigrateArgs, environment: &Environment) -> Result<Exit, Failure> {
    let (config, _) = prepared(&args.config, environment)?;
    let done = runtime()?.block_on(node::migrate(&config));
    let mut out = io::stdout().lock();
    for line in done.map_err(|error| Failure::failed(format!("{error:#}")))? {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn prepared(args: &ConfigArgs, environment: &Environment) -> Result<(Config, Effective), Failure> {
    let (config, effective) = args.load(environment)?;
    let set = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    logging::init(&config.log, set(logging::DIRECTIVES_VARIABLE), set("NO_COLOR").is_some()).map_err(
        |error| {
            Failure::usage(format!(
                "{}: expected directives like info,metricsd_scrape=debug: {error}",
                logging::DIRECTIVES_VARIABLE
            ))
        },
    )?;
    Ok((config, effective))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}
