//! What a process does every now and then: say that it is alive, remove old jobs and samples.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::{Catalog, PortError, Process, Retention, TargetFilter};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A process that has not said so for this long is taken for dead.
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Targets that are looked at in one go.
const TARGETS_A_PAGE: usize = 500;

/// How often old jobs and old samples are looked for.
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

/// Removes samples of targets whose retention policy says so, until told to stop.
pub(super) async fn remove_old_samples(
    catalog: Arc<dyn Catalog>,
    retention: Arc<dyn Retention>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Err(error) = remove_round(&*catalog, &*retention, &stop).await {
            warn!(error = error.chain(), "old samples were not removed");
        }
        rest(PURGE_EVERY, &stop).await;
    }
}

async fn remove_round(
    catalog: &dyn Catalog,
    retention: &dyn Retention,
    stop: &CancellationToken,
) -> Result<(), PortError> {
    let mut filter = TargetFilter::default();
    loop {
        let page = catalog.targets(&filter, TARGETS_A_PAGE).await?;
        for target in &page {
            let Some(policy) = &target.spec.retention_policy else { continue };
            let id = &target.spec.target_id;
            let before = chrono::Utc::now().timestamp_millis().saturating_sub(policy.duration.millis());
            while !stop.is_cancelled() {
                let removed = retention.remove_before(id, before).await?;
                if removed == 0 {
                    break;
                }
                info!(target_id = id, frames = removed, "samples past their retention removed");
            }
        }
        match page.last() {
            Some(last) if page.len() == TARGETS_A_PAGE => filter.after = Some(last.spec.target_id.clone()),
            _ => return Ok(()),
        }
    }
}

async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}
