//! What a process does every now and then: say that it is alive, remove old jobs.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::{Catalog, Process};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A process that has not said so for this long is taken for dead.
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How often old jobs are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Says that this process is alive until told to stop, then says goodbye.
pub(super) async fn heartbeat(catalog: Arc<dyn Catalog>, process: Process, stop: CancellationToken) {
    let mut failing = false;
    while !stop.is_cancelled() {
        match catalog.heartbeat(&process, ALIVE_FOR).await {
            Ok(()) => failing = false,
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!(error = error.chain(), "this process cannot say that it is alive");
            }
            Err(_) => {}
        }
        rest(HEARTBEAT, &stop).await;
    }
    // Where this fails the others notice soon enough.
    let _ = catalog.goodbye(process.id).await;
}

/// Removes jobs that are older than `retention` until told to stop.
pub(super) async fn purge_jobs(catalog: Arc<dyn Catalog>, retention: Duration, stop: CancellationToken) {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    while !stop.is_cancelled() {
        let before = chrono::Utc::now().timestamp_millis().saturating_sub(retention);
        match catalog.purge_jobs(before).await {
            // There may be more: a call removes a bounded number.
            Ok(removed) if removed > 0 => {
                info!(removed, "old collection jobs removed");
                rest(Duration::from_millis(100), &stop).await;
            }
            Ok(_) => rest(PURGE_EVERY, &stop).await,
            Err(error) => {
                warn!(error = error.chain(), "old collection jobs were not removed");
                rest(PURGE_EVERY, &stop).await;
            }
        }
    }
}

async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}
