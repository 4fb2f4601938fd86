//! The servers under measurement: metricsd on either store, and its peers, each a process of its own with a data folder
//! of its own. One runs at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::counters::Counters;
use crate::database::Database;
use crate::process::Process;

/// Which server, on which store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// metricsd on TimescaleDB.
    Timescale,
    /// metricsd on SQLite.
    Sqlite,
    /// Prometheus.
    Prometheus,
    /// VictoriaMetrics, single node.
    Victoria,
}

impl Kind {
    /// All, in the order in which tables show them.
    pub(crate) const ALL: [Self; 4] = [Self::Timescale, Self::Sqlite, Self::Prometheus, Self::Victoria];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timescale => "metricsd, TimescaleDB",
            Self::Sqlite => "metricsd, SQLite",
            Self::Prometheus => "Prometheus",
            Self::Victoria => "VictoriaMetrics",
        }
    }

    /// Is it one of ours?
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Timescale | Self::Sqlite)
    }
}

/// Where servers come from.
#[derive(clap::Args, Clone)]
pub(crate) struct Setup {
    /// The metricsd to measure.
    #[arg(long, default_value = "target/release/metricsd")]
    pub(crate) binary: PathBuf,
    /// The address of a PostgreSQL server with TimescaleDB in which databases of our own are made; without it only
    /// SQLite is measured.
    #[arg(long)]
    pub(crate) storage: Option<String>,
    /// Where `prometheus` and `victoria-metrics` are; `scripts/services.sh peers` installs them. Those that are not there
    /// are left out.
    #[arg(long)]
    pub(crate) peers: Option<PathBuf>,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    pub(crate) servers: Vec<Kind>,
    /// Settings of metricsd in this measurement, `METRICSD_NAME=value`; may be given several times.
    #[arg(long = "setting")]
    pub(crate) settings: Vec<String>,
}

impl Setup {
    /// The servers that are there; says which are not.
    pub(crate) fn available(&self) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.servers.is_empty() || self.servers.contains(kind);
        let there = |kind: &Kind| match self.missing(*kind) {
            None => true,
            Some(reason) => {
                println!("{}: skipped, {reason}", kind.name());
                false
            }
        };
        Kind::ALL.into_iter().filter(wanted).filter(there).collect()
    }

    fn missing(&self, kind: Kind) -> Option<String> {
        let program = match kind {
            Kind::Timescale => return self.storage.is_none().then(|| "no --storage was given".to_owned()),
            Kind::Sqlite => return None,
            Kind::Prometheus | Kind::Victoria => self.program(kind),
        };
        match program {
            None => Some("no --peers was given".to_owned()),
            Some(path) if path.exists() => None,
            Some(path) => Some(format!("{} is not there", path.display())),
        }
    }

    fn program(&self, kind: Kind) -> Option<PathBuf> {
        match kind {
            Kind::Timescale | Kind::Sqlite => Some(self.binary.clone()),
            Kind::Prometheus => Some(self.peers.as_ref()?.join("prometheus")),
            Kind::Victoria => Some(self.peers.as_ref()?.join("victoria-metrics")),
        }
    }
}

/// What differs from measurement to measurement.
#[derive(Default, Clone)]
pub(crate) struct Extra {
    /// Variables of metricsd. Those that this metricsd does not know are left out.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// The peers' configuration of what to scrape.
    pub(crate) scrape: Option<String>,
    /// More processes of metricsd on the same database that only scrape.
    pub(crate) more_workers: usize,
}

/// Processor time in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// The server's own.
    pub(crate) own: f64,
    /// Its database's.
    pub(crate) database: f64,
}

impl Cpu {
    /// Both.
    pub(crate) fn total(self) -> f64 {
        self.own + self.database
    }

    /// What came since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { own: self.own - before.own, database: self.database - before.database }
    }
}

/// A running server.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    process: Process,
    /// More of it, which only scrape.
    workers: Vec<Process>,
    database: Option<Database>,
}

/// What went wrong with some servers; the others are measured all the same.
#[derive(Default)]
pub(crate) struct Failures(Vec<String>);

impl Failures {
    /// Starts a server, has something done with it and stops it, whatever came of it. Says so where it went wrong.
    pub(crate) async fn with(
        &mut self,
        kind: Kind,
        setup: &Setup,
        extra: &Extra,
        work: impl AsyncFnOnce(&mut Subject) -> Result<()>,
    ) {
        let outcome = async {
            let mut subject = Subject::start(kind, setup, extra).await?;
            let done = work(&mut subject).await;
            done.and(subject.stop().await)
        };
        if let Err(error) = outcome.await {
            println!("  {:<24} FAILED: {error:#}", kind.name());
            self.0.push(format!("{}: {error:#}", kind.name()));
        }
    }

    /// An error where anything went wrong.
    pub(crate) fn finish(self) -> Result<()> {
        anyhow::ensure!(self.0.is_empty(), "{}", self.0.join("; "));
        Ok(())
    }
}

/// Bounds on questions are lifted: checking a measurement asks for everything that was sent. No samples of its own.
const SETTINGS: [(&str, &str); 10] = [
    ("METRICSD_SCRAPE_SELF_SCRAPE", "false"),
    ("METRICSD_SCRAPE_NODE_EXPORTER", ""),
    ("METRICSD_LOG_LEVEL", "warn"),
    ("METRICSD_LIMITS_MAX_QUERY_SERIES", "4000000"),
    ("METRICSD_LIMITS_MAX_QUERY_SAMPLES", "400000000"),
    ("METRICSD_LIMITS_MAX_SAMPLE_AGE", "0s"),
    ("METRICSD_LIMITS_MAX_ACTIVE_SERIES_PER_SOURCE", "10000000"),
    ("METRICSD_LIMITS_MAX_NEW_SERIES_PER_MINUTE_PER_SOURCE", "10000000"),
    ("METRICSD_PROMQL_MAX_MEMORY", "12GiB"),
    ("METRICSD_PROMQL_TIMEOUT", "5m"),
];

impl Subject {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(kind: Kind, setup: &Setup, extra: &Extra) -> Result<Self> {
        let database = match (kind, &setup.storage) {
            (Kind::Timescale, Some(url)) => Some(Database::create(url).await?),
            (Kind::Timescale, None) => anyhow::bail!("no --storage was given"),
            _ => None,
        };
        let started = start_all(kind, setup, extra, database.as_ref()).await;
        match (started, database) {
            (Ok((process, workers)), database) => Ok(Self { kind, process, workers, database }),
            (Err(error), Some(database)) => {
                database.remove().await.ok();
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Ends the process in good order and starts another one on what it has stored.
    pub(crate) async fn restart(&mut self, setup: &Setup, extra: &Extra) -> Result<()> {
        self.process.end().await?;
        let data = self.process.hand_on();
        self.process = run(self.kind, setup, extra, self.database.as_ref(), data).await?;
        Ok(())
    }

    /// The process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Its database, where it has one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        self.process.url(path)
    }

    /// A client for it.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.process.client()
    }

    /// What its `/metrics` says now, all processes together.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        let mut pages = String::new();
        for process in self.processes() {
            pages += &process.client().get(process.url("/metrics")).send().await?.text().await?;
        }
        Ok(Counters::read(&pages))
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.process).chain(&self.workers)
    }

    /// Processor time used so far. That of a database which cannot be seen from here counts as none, which is said once
    /// at the end of a measurement by [`Subject::database`]'s figures.
    pub(crate) fn cpu(&self) -> Cpu {
        let database = self.database.as_ref().and_then(Database::cpu_seconds).unwrap_or(0.0);
        Cpu { own: self.processes().map(Process::cpu_seconds).sum(), database }
    }

    /// Memory that it holds, in MiB.
    pub(crate) fn resident_mb(&self) -> f64 {
        self.processes().map(|process| process.memory_mb("VmRSS:")).sum()
    }

    /// The most memory that it has held, in MiB.
    pub(crate) fn peak_mb(&self) -> f64 {
        self.process.memory_mb("VmHWM:")
    }

    /// Lets the process end in good order; what it stored stays until [`Subject::stop`].
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.process.end().await
    }

    /// Stops it and removes what it stored.
    pub(crate) async fn stop(self) -> Result<()> {
        for process in self.workers {
            process.stop().await?;
        }
        self.process.stop().await?;
        match self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }
}

/// Starts a server's process, and more workers beside it.
async fn start_all(
    kind: Kind,
    setup: &Setup,
    extra: &Extra,
    database: Option<&Database>,
) -> Result<(Process, Vec<Process>)> {
    let process = run(kind, setup, extra, database, Process::folder()?).await?;
    let mut workers = Vec::new();
    let mut only = extra.clone();
    only.settings.push(("METRICSD_ROLES", "worker".to_owned()));
    for _ in 0..extra.more_workers {
        workers.push(run(kind, setup, &only, database, Process::folder()?).await?);
    }
    Ok((process, workers))
}

/// Starts a server's process.
async fn run(
    kind: Kind,
    setup: &Setup,
    extra: &Extra,
    database: Option<&Database>,
    data: PathBuf,
) -> Result<Process> {
    let program = setup.program(kind).context("no --peers was given")?;
    let settings = if kind.is_ours() { settings(setup, extra).await? } else { Vec::new() };
    let scrape = extra.scrape.as_deref().unwrap_or("");
    let ready = match kind {
        Kind::Timescale | Kind::Sqlite => "/readyz",
        Kind::Prometheus => "/-/ready",
        Kind::Victoria => "/health",
    };
    let arguments = |command: &mut Command, address: &str, data: &Path| match kind {
        Kind::Timescale | Kind::Sqlite => {
            command.args(["run", "--listen", address, "--data-dir"]).arg(data).envs(settings);
            if let Some(database) = database {
                command.env("METRICSD_STORAGE_URL", database.url());
            }
        }
        Kind::Prometheus => prometheus_arguments(command, address, data, scrape),
        Kind::Victoria => victoria_arguments(command, address, data, scrape),
    };
    Process::start(&program, data, ready, arguments).await
}

/// Settings that this metricsd knows: a measurement may name keys that come with a later one.
async fn settings(setup: &Setup, extra: &Extra) -> Result<Vec<(String, String)>> {
    let keys = keys(setup).await?;
    let known =
        |name: &str| keys.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name);
    let fixed = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let wanted = fixed.chain(extra.settings.iter().cloned()).filter(|(name, _)| known(name));
    let mut all: Vec<(String, String)> = wanted.map(|(name, value)| (name.to_owned(), value)).collect();
    for setting in &setup.settings {
        let (name, value) = setting.split_once('=').context("a setting is NAME=value")?;
        all.push((name.to_owned(), value.to_owned()));
    }
    Ok(all)
}

/// Every key that this metricsd has, with its variable.
async fn keys(setup: &Setup) -> Result<String> {
    let output = Command::new(&setup.binary).args(["config", "keys"]).output().await;
    let output =
        output.with_context(|| format!("{} does not start; build it first", setup.binary.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this metricsd turns frames into segments.
pub(crate) async fn compacts(setup: &Setup) -> Result<bool> {
    Ok(keys(setup).await?.contains("METRICSD_STORAGE_COMPACTION_ENABLED"))
}

fn prometheus_arguments(command: &mut Command, address: &str, data: &Path, scrape: &str) {
    let config = data.join("prometheus.yml");
    // An empty file is a whole configuration: nothing is scraped.
    std::fs::write(&config, scrape).ok();
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"])
        .arg("--query.max-samples=400000000");
}

fn victoria_arguments(command: &mut Command, address: &str, data: &Path, scrape: &str) {
    command
        .arg(format!("-httpListenAddr={address}"))
        .arg(format!("-storageDataPath={}", data.display()))
        // Questions are asked several times over; the others have no cache of answers. What was sent is asked for at once.
        .args(["-search.disableCache", "-search.maxUniqueTimeseries=4000000", "-search.latencyOffset=0s"])
        .args(["-search.maxQueryDuration=5m", "-retentionPeriod=30d"]);
    if !scrape.is_empty() {
        let config = data.join("scrape.yml");
        std::fs::write(&config, scrape).ok();
        command.arg(format!("-promscrape.config={}", config.display()));
    }
}
