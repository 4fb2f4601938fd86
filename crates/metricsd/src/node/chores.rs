//! What a process does every now and then: say that it is alive, remove old jobs and samples.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::Millis;
use metricsd_ports::{
    Catalog, Integrity, PortError, Process, Retention, SampleSource, TargetFilter, Unused, Upkeep, WorkKind,
    WorkQueue, WorkState, partial,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::RetentionConfig;

/// A process that has not said so for this long is taken for dead.
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How often series that others have written are looked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Targets that are looked at in one go.
const TARGETS_A_PAGE: usize = 500;

/// How often series without samples are looked for, which takes a look at every series.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// Series that are new have their first sample in the same transaction, but lists of series come and go.
const UNUSED_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// How often old jobs and old samples are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How often work is counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

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

/// Removes sums of the ledger that are older than `retention` until told to stop.
pub(super) async fn purge_ledger(
    integrity: Arc<dyn Integrity>,
    retention: Duration,
    stop: CancellationToken,
) {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    while !stop.is_cancelled() {
        let before = chrono::Utc::now().timestamp_millis().saturating_sub(retention);
        if let Err(error) = integrity.purge_ledger(before).await {
            warn!(error = error.chain(), "old sums of the ledger were not removed");
        }
        rest(PURGE_EVERY, &stop).await;
    }
}

/// How much work there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    kind: &'static str,
    state: &'static str,
}

/// Removes uploads that nobody goes on with, and work that is over for long, and counts what there is, until told to stop.
pub(super) async fn keep_work(queue: Arc<dyn WorkQueue>, gauge: Family<Of, Gauge>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match queue.expire_work().await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "old jobs were removed"),
            Err(error) => warn!(error = error.chain(), "old jobs were not removed"),
        }
        if let Ok(counts) = queue.count_work().await {
            for (kind, state) in
                WorkKind::ALL.iter().flat_map(|kind| WorkState::ALL.iter().map(move |state| (kind, state)))
            {
                let count = counts.get(&(*kind, state.as_str())).copied().unwrap_or(0);
                let of = Of { kind: kind.as_str(), state: state.as_str() };
                gauge.get_or_create(&of).set(count.cast_signed());
            }
        }
        rest(COUNT_EVERY, &stop).await;
    }
}

/// Registers how much work there is.
pub(super) fn work_gauge(registry: &mut Registry) -> Family<Of, Gauge> {
    let gauge = Family::default();
    registry.register("work", "Work in the table of jobs, by kind and state", gauge.clone());
    gauge
}

/// Has the store read its index before the first question wants it, and follow what is written since, so that a question
/// finds no more than a second's series to read.
pub(super) async fn follow_series(source: Arc<dyn SampleSource>, stop: CancellationToken) {
    let started = Instant::now();
    let (mut ready, mut failing) = (false, false);
    while !stop.is_cancelled() {
        let read = tokio::select! {
            // A database that is away keeps nobody waiting for the others.
            (read, _) = partial::allow(source.index_statistics(0)) => read,
            () = stop.cancelled() => return,
        };
        let pause = if read.is_ok() { FOLLOW_EVERY } else { HEARTBEAT };
        match read {
            Ok(index) => {
                failing = false;
                if !std::mem::replace(&mut ready, true) {
                    info!(series = index.series, took = ?started.elapsed(), "the index of series is ready");
                }
            }
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!(error = error.chain(), "the index of series cannot be read now");
            }
            Err(_) => {}
        }
        rest(pause, &stop).await;
    }
}

/// What is kept how long.
pub(super) struct Kept {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) retention: Arc<dyn Retention>,
    pub(super) config: RetentionConfig,
    /// Where days are rolled up: their samples stay until that is done.
    pub(super) rolled: Option<Arc<dyn Upkeep>>,
}

/// Removes samples as the policies of their targets say, or else the configuration, until told to stop.
pub(super) async fn remove_old_samples(kept: Kept, stop: CancellationToken) {
    let mut swept = Instant::now();
    while !stop.is_cancelled() {
        if let Err(error) = kept.round(&stop).await {
            warn!(error = error.chain(), "old samples were not removed");
        }
        if swept.elapsed() > SWEEP_EVERY {
            swept = Instant::now();
            if let Err(error) = kept.remove_unused(&stop).await {
                warn!(error = error.chain(), "series without samples were not removed");
            }
        }
        rest(PURGE_EVERY, &stop).await;
    }
}

impl Kept {
    async fn round(&self, stop: &CancellationToken) -> Result<(), PortError> {
        let spared = self.follow_policies(stop).await?;
        if let Some(default) = self.config.default {
            let before = self.spare(before(default)).await?;
            remove_all(stop, "samples past retention.default removed", || {
                self.retention.remove_others_before(&spared, before)
            })
            .await?;
        }
        let newest = self.config.max_exemplars;
        remove_all(stop, "exemplars beyond retention.max_exemplars removed", || {
            self.retention.bound_exemplars(newest)
        })
        .await
    }

    /// The time before which samples may be removed, where they are to be removed before another: what is not rolled up yet stays.
    async fn spare(&self, before: Millis) -> Result<Millis, PortError> {
        let Some(store) = &self.rolled else { return Ok(before) };
        let until = store.rolled_until(before).await?;
        if until < before {
            debug!(until, before, "samples wait to be rolled up before they are removed");
        }
        Ok(until)
    }

    /// Removes series of which nothing is left, and lists of them.
    async fn remove_unused(&self, stop: &CancellationToken) -> Result<(), PortError> {
        let mut all = Unused::default();
        while !stop.is_cancelled() {
            let removed = self.retention.remove_unused(before(UNUSED_AFTER)).await?;
            all += removed;
            if !removed.more {
                break;
            }
            // Appends come first.
            rest(Duration::from_millis(50), stop).await;
        }
        if all.series + all.lists > 0 {
            info!(series = all.series, lists = all.lists, "series without samples removed");
        }
        Ok(())
    }

    /// Removes what the targets' own policies say; answers the targets that have one.
    async fn follow_policies(&self, stop: &CancellationToken) -> Result<Vec<String>, PortError> {
        let mut filter = TargetFilter::default();
        let mut spared = Vec::new();
        loop {
            let page = self.catalog.targets(&filter, TARGETS_A_PAGE).await?;
            for target in &page {
                let Some(policy) = &target.spec.retention_policy else { continue };
                let id = &target.spec.target_id;
                let before = self.spare(before(policy.duration.0)).await?;
                let remove = || self.retention.remove_before(id, before);
                remove_all(stop, "samples past their target's retention removed", remove).await?;
                spared.push(id.clone());
            }
            match page.last() {
                Some(last) if page.len() == TARGETS_A_PAGE => {
                    filter.after = Some(last.spec.target_id.clone());
                }
                _ => return Ok(spared),
            }
        }
    }
}

/// The beginning of what is kept so long.
fn before(kept: Duration) -> Millis {
    let kept = Millis::try_from(kept.as_millis()).unwrap_or(Millis::MAX);
    chrono::Utc::now().timestamp_millis().saturating_sub(kept)
}

/// A call removes a bounded number: calls until nothing is left.
async fn remove_all<F>(stop: &CancellationToken, what: &str, remove: impl Fn() -> F) -> Result<(), PortError>
where
    F: Future<Output = Result<u64, PortError>>,
{
    let mut all = 0;
    while !stop.is_cancelled() {
        match remove().await? {
            0 => break,
            removed => all += removed,
        }
    }
    if all > 0 {
        info!(removed = all, "{what}");
    }
    Ok(())
}

pub(super) async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}
