//! Waiting until what was stored has been compacted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::embedded;
use crate::server::{self, Extra, Kind, Setup, Subject};

/// No more than this is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Settings under which metricsd leaves frames alone: it would begin while they come in, and then wait for late ones.
pub(crate) fn off() -> Extra {
    settings(&[("METRICSD_STORAGE_COMPACTION_ENABLED", "false")])
}

/// Settings under which metricsd compacts every hour that is over.
fn on() -> Extra {
    settings(&[("METRICSD_STORAGE_COMPACTION_ENABLED", "true"), ("METRICSD_STORAGE_COMPACTION_DELAY", "1s")])
}

fn settings(settings: &[(&'static str, &str)]) -> Extra {
    let owned = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Extra { settings: owned.collect(), ..Extra::default() }
}

/// Has everything compacted that is stored and waits until it is: metricsd is started anew for that, which also empties
/// its caches. The seconds that it took, or `None` where this metricsd does not compact. Peers are told to do what comes
/// nearest.
pub(crate) async fn run(subject: &mut Subject, setup: &Setup) -> Result<Option<f64>> {
    if subject.kind.is_ours() {
        if !server::compacts(setup).await? {
            println!("  {:<24} does not compact", subject.kind.name());
            return Ok(None);
        }
        subject.restart(setup, &on()).await?;
    }
    let started = Instant::now();
    match subject.kind {
        Kind::Prometheus => post(subject, "/api/v1/admin/tsdb/snapshot").await?,
        Kind::Victoria => {
            post(subject, "/internal/force_flush").await?;
            post(subject, "/internal/force_merge").await?;
        }
        Kind::Timescale | Kind::Sqlite => gone(subject, "SELECT count(*) FROM frames").await?,
    }
    let seconds = started.elapsed().as_secs_f64();
    if subject.kind == Kind::Timescale {
        // Chunks go when no snapshot needs them, as late as half a minute after.
        let chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'frames'";
        gone(subject, chunks).await?;
    }
    Ok(Some(seconds))
}

/// Waits until a count is nought.
async fn gone(subject: &Subject, statement: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let count = match subject.database() {
            Some(database) => database.query(statement).await?,
            None => embedded::query(&subject.process().data().join("metricsd.db"), statement)
                .await
                .context("neither sqlite3 nor python3 can look into the file")?,
        };
        if count == "0" {
            return Ok(());
        }
        let log = || subject.process().log();
        anyhow::ensure!(started.elapsed() < PATIENCE, "{statement} is {count} after {PATIENCE:?}: {}", log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn post(subject: &Subject, path: &str) -> Result<()> {
    let answer = subject.client().post(subject.url(path)).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "{path}: {status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}
