//! The metricsd under measurement: a process of its own, with a data folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

/// A running metricsd.
pub(crate) struct Metricsd {
    child: Child,
    address: String,
    data: PathBuf,
    client: reqwest::Client,
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
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let data = std::env::temp_dir().join(format!("metricsd-bench-{}", uuid::Uuid::new_v4().simple()));
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(binary);
        command.args(["run", "--listen", &address, "--data-dir"]).arg(&data);
        command.env("METRICSD_SCRAPE_SELF_SCRAPE", "false").env("METRICSD_LOG_LEVEL", "warn");
        let database = match storage {
            "sqlite" => None,
            url => Some(Database::create(url).await?),
        };
        if let Some(database) = &database {
            command.env("METRICSD_STORAGE_URL", database.url());
        }
        command.stdout(Stdio::null()).kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("{} does not start; build it first", binary.display()))?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let server = Self { child, address, data, client, database };
        for _ in 0..300 {
            let ready = server.client.get(server.url("/readyz")).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("metricsd was not ready within 30 s")
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client for it.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// What its `/metrics` says now.
    pub(crate) async fn counters(&self) -> Result<Counters> {
        let page = self.client.get(self.url("/metrics")).send().await?.text().await?;
        Ok(Counters::read(&page))
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap_or("").split(' ').filter_map(|f| f.parse().ok()).collect();
        // After the program's name and state: utime and stime are the 11th and 12th of the numbers; 100 ticks a second.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
    }

    /// Memory that it holds.
    pub(crate) fn resident_mb(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        let id = self.child.id().unwrap_or_default();
        std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
    }

    /// Stops it and removes what it stored.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        std::fs::remove_dir_all(&self.data).ok();
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
