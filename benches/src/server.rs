//! The metricsd under measurement: a process of its own, with a data folder of its own.

use std::path::Path;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::process::Process;

/// A running metricsd.
pub(crate) struct Metricsd {
    process: Process,
    database: Option<Database>,
}

/// A database made for this run.
struct Database {
    admin: String,
    name: String,
}

impl Metricsd {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(binary: &Path, storage: &str) -> Result<Self> {
        let database = match storage {
            "sqlite" => None,
            url => Some(Database::create(url).await?),
        };
        let process = Process::start(binary, "/readyz", |command, address, data| {
            command.args(["run", "--listen", address, "--data-dir"]).arg(data);
            command.env("METRICSD_SCRAPE_SELF_SCRAPE", "false").env("METRICSD_LOG_LEVEL", "warn");
            if let Some(database) = &database {
                command.env("METRICSD_STORAGE_URL", database.url());
            }
        });
        match process.await {
            Ok(process) => Ok(Self { process, database }),
            Err(error) => {
                if let Some(database) = database {
                    database.remove().await.ok();
                }
                Err(error)
            }
        }
    }

    /// The process itself.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        self.process.url(path)
    }

    /// A client for it.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.process.client()
    }

    /// What its `/metrics` says now.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        let page = self.client().get(self.url("/metrics")).send().await?.text().await?;
        Ok(Counters::read(&page))
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.process.cpu_seconds()
    }

    /// Memory that it holds.
    pub(crate) fn resident_mb(&self) -> f64 {
        self.process.memory_mb("VmRSS:")
    }

    /// Stops it and removes what it stored.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await?;
        match &self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }
}

impl Database {
    async fn create(admin: &str) -> Result<Self> {
        let name = format!("metricsd_bench_{}", uuid::Uuid::new_v4().simple());
        psql(admin, &format!("CREATE DATABASE {name}")).await?;
        Ok(Self { admin: admin.to_owned(), name })
    }

    fn url(&self) -> String {
        let base = self.admin.rsplit_once('/').map_or(self.admin.as_str(), |(base, _)| base);
        format!("{base}/{}", self.name)
    }

    async fn remove(&self) -> Result<()> {
        psql(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await
    }
}

async fn psql(url: &str, statement: &str) -> Result<()> {
    let output = Command::new("psql")
        .args([url, "-q", "-c", statement])
        .output()
        .await
        .context("psql does not start")?;
    anyhow::ensure!(
        output.status.success(),
        "{statement}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A page of metrics, read.
pub(crate) struct Counters(Vec<(String, f64)>);

impl Counters {
    fn read(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The sum of all series of one name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }

    /// The upper bound of the bucket that holds a quantile of what came since `before`.
    pub(crate) fn quantile(&self, before: &Self, name: &str, quantile: f64) -> String {
        let prefix = format!("{name}_bucket{{le=\"");
        let bucket = |series: &str| {
            series.strip_prefix(&prefix).and_then(|rest| rest.split('"').next()).map(str::to_owned)
        };
        let earlier = |series: &str| {
            before.0.iter().find(|(other, _)| other == series).map_or(0.0, |(_, value)| *value)
        };
        let buckets: Vec<(String, f64)> = self
            .0
            .iter()
            .filter_map(|(series, value)| Some((bucket(series)?, value - earlier(series))))
            .collect();
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        let found = buckets.iter().find(|(_, count)| *count >= total * quantile);
        found.map_or_else(|| "?".to_owned(), |(bound, _)| bound.clone())
    }
}
