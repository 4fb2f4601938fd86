//! `metricsd import`: checks a `prometheus.yml`, shows what it comes to, and has metricsd scrape by it.

mod found;
mod report;
mod setting;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use metricsd_discovery::prometheus_config::{self, PrometheusConfig};

use super::failure::{Exit, Failure};
use super::output::{self, Format};
use super::{ClientArgs, Environment};
use crate::config::FILE_VARIABLE;
use setting::Setting;

/// The key that names the file.
const KEY: &str = "discovery.prometheus_config";
/// Its variable.
const KEY_VARIABLE: &str = "METRICSD_DISCOVERY_PROMETHEUS_CONFIG";

const HELP: &str = "\
Examples:
  metricsd import prometheus.yml --dry-run                   what would be scraped, and what is not supported
  metricsd import /etc/prometheus/prometheus.yml --config /etc/metricsd.yml
  metricsd import prometheus.yml --dry-run --output json | jq .unsupported

The file stays where it is: metricsd reads it there, follows its changes, and takes relative paths as relative to it.
With --config (or METRICSD_CONFIG) its path is written into that file, under discovery.prometheus_config; without, the
command says what to set. A metricsd that runs is told to read it now (POST /-/reload).

What Prometheus knows and metricsd does not do is listed with its line and stops the import; --force goes on without it.
A file with mistakes changes nothing and exits 2.";

/// `metricsd import`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ImportArgs {
    /// Configuration of Prometheus
    file: PathBuf,
    /// Only check and show; nothing is changed and nobody is asked
    #[arg(long)]
    dry_run: bool,
    /// Go on although some of it is not supported
    #[arg(long)]
    force: bool,
    /// metricsd's own configuration file, into which the key is written [env: METRICSD_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Checks, shows, and sets.
pub(super) async fn run(args: &ImportArgs, environment: &Environment) -> Result<Exit, Failure> {
    // metricsd may be started in another folder.
    let file = std::path::absolute(&args.file)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    let config = prometheus_config::load(&file)
        .map_err(|error| Failure::usage(format!("this file cannot be used\n{error}")))?;
    let jobs = found::look(&config.jobs).await;
    let mut out = io::stdout().lock();
    match args.client.output {
        Format::Json => output::print_json(&mut out, &report::json(&file, &config, &jobs))?,
        Format::Table => report::print(&mut out, &config, &jobs)?,
    }
    refuse_unsupported(args, &config)?;
    if args.dry_run {
        return Ok(Exit::Done);
    }
    // Scripts read the report from standard output.
    let mut told: Box<dyn Write> = match args.client.output {
        Format::Json => Box::new(io::stderr().lock()),
        Format::Table => Box::new(out),
    };
    let variable = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = args.config.clone().or(variable);
    put(&mut told, own.as_deref(), &file, environment)?;
    reload(&mut told, args, environment, &file).await?;
    Ok(Exit::Done)
}

fn refuse_unsupported(args: &ImportArgs, config: &PrometheusConfig) -> Result<(), Failure> {
    let count = config.unsupported.len();
    if count == 0 || args.force {
        return Ok(());
    }
    let (it, them) = if count == 1 { ("setting is", "it") } else { ("settings are", "them") };
    Err(Failure::failed(format!("{count} {it} not supported, as listed; --force goes on without {them}")))
}

/// Writes the key where that can be done, and says where it belongs otherwise.
fn put(
    out: &mut impl Write,
    own: Option<&Path>,
    file: &Path,
    environment: &Environment,
) -> Result<(), Failure> {
    let value = file.to_string_lossy();
    let Some(own) = own else {
        writeln!(
            out,
            "\nTo scrape by this file, set {KEY}: {value}\nin metricsd's configuration, or {KEY_VARIABLE}={value}"
        )?;
        return Ok(());
    };
    match setting::put(own, &value, environment)? {
        Setting::Unchanged => writeln!(out, "\n{} names this file already", own.display())?,
        Setting::Written => writeln!(out, "\n{} names this file now, under {KEY}", own.display())?,
    }
    Ok(())
}

/// Has a server that runs read the file again. None that runs is no failure: it reads the file when it starts.
async fn reload(
    out: &mut impl Write,
    args: &ImportArgs,
    environment: &Environment,
    file: &Path,
) -> Result<(), Failure> {
    let client = args.client.client(environment)?;
    match client.reload().await {
        Ok(Some(read)) if Path::new(&read) == file => writeln!(out, "the running metricsd scrapes by it")?,
        Ok(Some(read)) => {
            writeln!(
                out,
                "the running metricsd scrapes by another file, {read}: restart it to take up this one"
            )?;
        }
        Ok(None) => writeln!(out, "the running metricsd does not know of the file yet: restart it")?,
        Err(failure) if failure.is_refusal() => {
            return Err(failure.reworded(|words| format!("the running metricsd goes on as before: {words}")));
        }
        Err(_) => writeln!(out, "no metricsd answers; it reads the file when it starts")?,
    }
    out.flush()?;
    Ok(())
}
