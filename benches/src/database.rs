//! A database of our own on a TimescaleDB server, asked through `psql`, and the processor time of that server.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::system;

/// A database made for one run.
pub(crate) struct Database {
    admin: String,
    name: String,
    /// The server's first process, where it runs on this machine.
    postmaster: Option<u32>,
    removed: bool,
}

impl Database {
    /// Makes one.
    pub(crate) async fn create(admin: &str) -> Result<Self> {
        let name = format!("metricsd_bench_{}", uuid::Uuid::new_v4().simple());
        psql(admin, &format!("CREATE DATABASE {name}")).await?;
        let mut database = Self { admin: admin.to_owned(), name, postmaster: None, removed: false };
        // What earlier runs have left to write shall not be measured. Only some roles may; without it figures are noisier.
        psql(admin, "CHECKPOINT").await.ok();
        database.postmaster = database.find_postmaster().await?;
        Ok(database)
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let base = self.admin.rsplit_once('/').map_or(self.admin.as_str(), |(base, _)| base);
        format!("{base}/{}", self.name)
    }

    /// What statements answer, columns parted by `|`, nothing else.
    pub(crate) async fn query(&self, statements: &str) -> Result<String> {
        psql(&self.url(), statements).await
    }

    /// Processor time that the server's processes have used, those that have ended included, in seconds. `None` where
    /// the server is on another machine or not to be seen from here.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        let postmaster = self.postmaster?;
        let first = system::times(postmaster);
        let children = system::processes().into_iter().filter(|pid| system::parent(*pid) == Some(postmaster));
        Some(first.own + first.ended_children + children.map(|pid| system::times(pid).own).sum::<f64>())
    }

    /// Memory of the server's processes that is theirs alone or, for what they share, theirs in part; in MiB.
    pub(crate) fn memory_mb(&self) -> Option<f64> {
        let postmaster = self.postmaster?;
        let children = system::processes().into_iter().filter(|pid| system::parent(*pid) == Some(postmaster));
        Some(children.chain([postmaster]).map(proportional_mb).sum())
    }

    /// The parent of a session of this database: its name is in the session's title.
    async fn find_postmaster(&self) -> Result<Option<u32>> {
        let mut session = Command::new("psql")
            .args([&self.url(), "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("psql does not start")?;
        let mut input = session.stdin.take().context("psql takes no input")?;
        input.write_all(b"SELECT 1;\n").await?;
        let mut found = None;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            found = system::processes().into_iter().find(|pid| {
                let title = system::command_line(*pid);
                title.starts_with("postgres: ") && title.contains(&self.name)
            });
            if found.is_some() {
                break;
            }
        }
        drop(input);
        let postmaster = found.and_then(system::parent);
        session.wait().await?;
        Ok(postmaster)
    }

    /// Removes it.
    pub(crate) async fn remove(mut self) -> Result<()> {
        self.removed = true;
        psql(&self.admin, &self.drop_statement()).await?;
        Ok(())
    }

    fn drop_statement(&self) -> String {
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
    }
}

/// A benchmark that is interrupted leaves no database.
impl Drop for Database {
    fn drop(&mut self) {
        if !self.removed {
            let arguments = [self.admin.as_str(), "-qAtX", "-c", &self.drop_statement()];
            std::process::Command::new("psql").args(arguments).output().ok();
        }
    }
}

fn proportional_mb(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

async fn psql(url: &str, statements: &str) -> Result<String> {
    let output = Command::new("psql")
        .args([url, "-qAtX", "-v", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("psql does not start");
    let mut session = output?;
    let mut input = session.stdin.take().context("psql takes no input")?;
    input.write_all(statements.as_bytes()).await?;
    input.write_all(b"\n;\n").await?;
    drop(input);
    let output = session.wait_with_output().await?;
    anyhow::ensure!(
        output.status.success(),
        "{statements}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
