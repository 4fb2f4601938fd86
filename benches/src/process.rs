//! A server under measurement: its process, its data folder, a client for it, and what the system says of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

/// A running server.
pub(crate) struct Process {
    child: Child,
    address: String,
    data: PathBuf,
    client: reqwest::Client,
}

impl Process {
    /// Starts a program on a free port and with a new data folder, both of which `arguments` passes on, and waits until
    /// it answers on `ready`.
    pub(crate) async fn start(
        binary: &Path,
        ready: &str,
        arguments: impl FnOnce(&mut Command, &str, &Path),
    ) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let data = std::env::temp_dir().join(format!("metricsd-bench-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new(binary);
        arguments(&mut command, &address, &data);
        let log = std::fs::File::create(data.join("bench.log"))?;
        command.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("{} does not start; build or install it first", binary.display()))?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(120))
            .build()?;
        let server = Self { child, address, data, client };
        for _ in 0..300 {
            let answer = server.client.get(server.url(ready)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(server.data.join("bench.log")).unwrap_or_default();
        server.stop().await?;
        anyhow::bail!("{} was not ready within 30 s:\n{log}", binary.display())
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client for it.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap_or("").split(' ').filter_map(|f| f.parse().ok()).collect();
        // After the program's name and state: utime and stime are the 11th and 12th of the numbers; 100 ticks a second.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
    }

    /// One of the system's figures of its memory: `VmRSS:` is what it holds now, `VmHWM:` the most that it has held.
    pub(crate) fn memory_mb(&self, figure: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap_or("0");
        line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }

    /// Begins anew to note the most that it holds.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        let id = self.child.id().context("the server has ended")?;
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").context("the peak of memory cannot be set back")
    }

    fn proc(&self, file: &str) -> String {
        let id = self.child.id().unwrap_or_default();
        std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
    }

    /// Stops it and removes what it stored.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        std::fs::remove_dir_all(&self.data).ok();
        Ok(())
    }
}
