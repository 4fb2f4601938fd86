//! A server under measurement: its process, its data folder, a client for it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use crate::system;

/// How long a server may take to end in good order before it is killed.
const GRACE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    address: String,
    data: PathBuf,
    /// The folder is another process' now.
    handed_on: bool,
    client: reqwest::Client,
}

impl Process {
    /// A new data folder.
    pub(crate) fn folder() -> Result<PathBuf> {
        let data = std::env::temp_dir().join(format!("metricsd-bench-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&data)?;
        Ok(data)
    }

    /// Starts a program on a free port and with a data folder, both of which `arguments` passes on, and waits until
    /// it answers on `ready`. Without that the folder is removed.
    pub(crate) async fn start(
        binary: &Path,
        data: PathBuf,
        ready: &str,
        arguments: impl FnOnce(&mut Command, &str, &Path),
    ) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(binary);
        arguments(&mut command, &address, &data);
        let log = std::fs::File::create(data.join("bench.log"))?;
        command.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("{} does not start; build or install it first", binary.display()))?;
        let pid = child.id().context("the server has ended already")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(300))
            .build()?;
        let mut server = Self { child, pid, address, data, handed_on: false, client };
        for _ in 0..300 {
            let answer = server.client.get(server.url(ready)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = server.log();
        server.stop().await?;
        anyhow::bail!("{} was not ready within 30 s:\n{log}", binary.display())
    }

    /// An address on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("bench.log")).unwrap_or_default()
    }

    /// A client for it.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Processor time that it has used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        system::times(self.pid).own
    }

    /// Memory in MiB, see [`system::memory_mb`].
    pub(crate) fn memory_mb(&self, figure: &str) -> f64 {
        system::memory_mb(self.pid, figure)
    }

    /// Begins anew to note the most that it holds.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
            .context("the peak of memory cannot be set back")
    }

    /// Lets it end in good order; its data stays until [`Process::stop`].
    pub(crate) async fn end(&mut self) -> Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        anyhow::ensure!(told.success(), "the server does not take a signal");
        tokio::time::timeout(GRACE, self.child.wait()).await.context("the server does not end")??;
        Ok(())
    }

    /// Its data folder, for a process that comes after it.
    pub(crate) fn hand_on(&mut self) -> PathBuf {
        self.handed_on = true;
        self.data.clone()
    }

    /// Kills it, where it still runs, and removes what it stored.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// However it comes to its end, an interrupted benchmark included, nothing stays.
impl Drop for Process {
    fn drop(&mut self) {
        self.child.start_kill().ok();
        if !self.handed_on {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}
