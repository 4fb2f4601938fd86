//! Waiting until what was stored has been compacted.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::server::{Kind, Subject};

/// So long no more than this is waited for.
const PATIENCE: Duration = Duration::from_secs(240);

/// Settings under which metricsd compacts what is an hour old without waiting for anything.
pub(crate) fn settings() -> Vec<(&'static str, String)> {
    let settings = [
        ("METRICSD_STORAGE_COMPACTION_ENABLED", "true"),
        ("METRICSD_STORAGE_COMPACTION_DELAY", "1s"),
        ("METRICSD_STORAGE_COMPACTION_INTERVAL", "1s"),
    ];
    settings.map(|(name, value)| (name, value.to_owned())).to_vec()
}

/// Waits until everything of the hours that are over has become segments; the seconds that it took, or `None` where
/// this metricsd does not compact. Peers are told to do the same.
pub(crate) async fn wait(subject: &Subject, samples: u64) -> Result<Option<f64>> {
    let started = Instant::now();
    match subject.kind {
        Kind::Prometheus => {
            post(subject, "/api/v1/admin/tsdb/snapshot").await?;
        }
        Kind::Victoria => {
            post(subject, "/internal/force_flush").await?;
            post(subject, "/internal/force_merge").await?;
        }
        Kind::Timescale | Kind::Sqlite => {
            let page = subject.client().get(subject.url("/metrics")).send().await?.text().await?;
            if !page.contains(COMPACTED) {
                return Ok(None);
            }
            while subject.counters().await?.sum(COMPACTED) < samples as f64 {
                anyhow::ensure!(
                    started.elapsed() < PATIENCE,
                    "not everything is compacted after {PATIENCE:?}"
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    Ok(Some(started.elapsed().as_secs_f64()))
}

/// Samples that have become part of segments.
const COMPACTED: &str = "metricsd_compaction_samples_total";

async fn post(subject: &Subject, path: &str) -> Result<()> {
    let answer = subject.client().post(subject.url(path)).send().await?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "{path}: {status}: {}", answer.text().await.unwrap_or_default());
    Ok(())
}
