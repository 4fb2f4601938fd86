//! Jobs, statistics over them, and processes.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Batch, CollectionMethod, Health, HealthStatus, JobStatus, Layout, Millis};
use uuid::Uuid;

use crate::conformance::fixtures::*;
use crate::{CollectionStats, JobFilter, Process, Receipt, TargetChange};

fn job(target_id: &str, at: Millis, status: JobStatus) -> Arc<Batch> {
    let mut batch = Batch::clone(&batch(target_id, &at.to_string(), Vec::new()));
    batch.collection.started = at;
    batch.collection.status = status;
    Arc::new(batch)
}

async fn times(store: &impl Store, filter: &JobFilter, limit: usize) -> Vec<Millis> {
    store.jobs(filter, limit).await.expect("jobs").iter().map(|job| job.created_at - NOON).collect()
}

/// Jobs, newest first, by target, outcome and time.
pub async fn check_job_list(store: &impl Store) {
    use JobStatus::{Completed, Failed, Partial};
    let jobs = [(3, Completed), (1, Failed), (2, Partial), (4, Failed)];
    let mut batches: Vec<_> = jobs.iter().map(|(at, status)| job("job-list", NOON + at, *status)).collect();
    batches.push(job("job-list-other", NOON + 5, Failed));
    store.append(&batches).await.expect("an append");
    let of = |target_id: &str| JobFilter { target_id: Some(target_id.to_owned()), ..JobFilter::default() };
    let ours = of("job-list");
    assert_eq!(times(store, &ours, 100).await, [4, 3, 2, 1]);
    assert_eq!(times(store, &ours, 2).await, [4, 3], "the newest of them");
    assert_eq!(times(store, &JobFilter { before: Some(NOON + 3), ..ours.clone() }, 100).await, [2, 1]);
    assert_eq!(times(store, &JobFilter { status: Some(Failed), ..ours.clone() }, 100).await, [4, 1]);
    let failed_before = JobFilter { status: Some(Failed), before: Some(NOON + 4), ..ours };
    assert_eq!(times(store, &failed_before, 100).await, [1]);
    assert_eq!(times(store, &of("job-list-other"), 100).await, [5]);
    assert_eq!(times(store, &of("nobody"), 100).await, [0_i64; 0]);
    let failed = JobFilter { status: Some(Failed), ..JobFilter::default() };
    let failed = store.jobs(&failed, 1_000).await.expect("jobs");
    assert!(failed.len() >= 3 && failed.iter().all(|job| job.status == Failed), "of all targets");
}

/// The job of a batch, for as long as it is there.
pub async fn check_job_of(store: &impl Store) {
    let first = job("job-of", NOON, JobStatus::Partial);
    let second = job("job-of", NOON + 1, JobStatus::Failed);
    assert_eq!(store.job_of(first.id).await.expect("an answer"), None, "nothing was appended");
    store.append(&[first.clone(), second.clone()]).await.expect("an append");
    for batch in [&first, &second] {
        let found = store.job_of(batch.id).await.expect("an answer").expect("the job");
        assert_eq!(found.job_id, batch.id.collection_batch_id(batch.collection.started));
        let filter = JobFilter { status: Some(found.status), ..JobFilter::default() };
        assert_eq!(store.jobs(&filter, 10).await.expect("jobs"), [found], "the same as in the list");
    }
    assert_eq!(store.purge_jobs(NOON + 1).await.expect("a purge"), 1);
    assert_eq!(store.job_of(first.id).await.expect("an answer"), None, "it was removed");
    assert!(store.job_of(second.id).await.expect("an answer").is_some());
}

/// Old jobs go, samples and totals stay.
pub async fn check_purge(store: &impl Store) {
    let old = NOON - 1_000 * HOUR;
    let layout = Layout::shared(many_series("purged", 3));
    let batches: Vec<_> =
        (0..4).map(|n| batch("purged", &n.to_string(), vec![frame(&layout, old + n, &[1.0; 3])])).collect();
    store.append(&batches).await.expect("an append");
    let total = async || {
        let stats = store.stats(old + 10, Duration::from_secs(60)).await.expect("statistics");
        stats.total_metrics_collected
    };
    let before = total().await;
    assert_eq!(store.purge_jobs(old).await.expect("a purge"), 0, "nothing is older");
    assert_eq!(store.purge_jobs(old + 2).await.expect("a purge"), 2, "those created before");
    assert_eq!(store.purge_jobs(old + 2).await.expect("a purge"), 0);
    let ours = JobFilter { target_id: Some("purged".to_owned()), ..JobFilter::default() };
    assert_eq!(store.jobs(&ours, 10).await.expect("jobs").len(), 2);
    assert_eq!(total().await, before, "the total survives");
    let samples: Vec<_> = (0..4).map(|n| (old + n, 1.0)).collect();
    let expected: Vec<Row> = layout.series.iter().map(|series| row(series, &samples)).collect();
    let read = async || {
        let selected = store.select(&selection("purged", old, old + HOUR)).await;
        rows(&selected.expect("a selection"))
    };
    assert_eq!(read().await, expected, "samples stay");
    store.append(&batches[..1]).await.expect("an append");
    assert_eq!(read().await, expected, "a repeat after the purge adds no samples");
}

/// Five targets, of which four count and one is healthy.
async fn create_counted(store: &impl Store) {
    let healths = [
        ("s-healthy", Some(HealthStatus::Healthy)),
        ("s-unhealthy", Some(HealthStatus::Unhealthy)),
        ("s-unknown", None),
        ("s-disabled", Some(HealthStatus::Healthy)),
        ("s-deleted", Some(HealthStatus::Healthy)),
    ];
    for (id, status) in healths {
        store.create_target(&target(id)).await.expect("a creation");
        let health = |status| Health { status, last_scrape: Some(NOON), ..Health::default() };
        let updates: Vec<_> = status.map(|status| (id.to_owned(), health(status))).into_iter().collect();
        store.record_health(&updates).await.expect("recorded");
    }
    let off = TargetChange { enabled: Some(false), ..TargetChange::default() };
    store.change_target("s-disabled", &off).await.expect("an answer");
    store.request_deletion("s-deleted").await.expect("an answer");
}

fn counted(
    at: Millis,
    stored: u64,
    duration_ms: f64,
    status: JobStatus,
    method: CollectionMethod,
) -> Arc<Batch> {
    let mut batch = Batch::clone(&job("stats", at, status));
    batch.collection.ledger.stored = stored;
    batch.collection.duration_ms = duration_ms;
    batch.collection.method = method;
    Arc::new(batch)
}

/// Exact figures: the window is open at its start and closed at its end; the total outlives jobs.
pub async fn check_stats(store: &impl Store) {
    use CollectionMethod::{PullScraping, PushGateway};
    use JobStatus::{Completed, Failed, Partial};
    let window = Duration::from_secs(10);
    let empty = store.stats(NOON, window).await.expect("statistics");
    assert_eq!(empty, CollectionStats::default(), "nothing, and no division by it");

    create_counted(store).await;
    let batches = [
        counted(NOON - 10_000, 1_000, 9_000.0, Failed, PullScraping), // just before the window
        counted(NOON - 9_999, 70, 10.0, Completed, PullScraping),
        counted(NOON - 5_000, 5, 20.0, Partial, PullScraping),
        counted(NOON - 4_000, 0, 60.0, Failed, PullScraping),
        counted(NOON, 25, 7_000.0, Completed, PushGateway),
        counted(NOON + 1, 2_000, 9_000.0, Failed, PullScraping), // just after
    ];
    let receipts = store.append(&batches).await.expect("an append");
    assert_eq!(receipts, [Receipt::Stored; 6]);
    store.append(&batches).await.expect("a repeat, which counts for nothing");
    let stats = store.stats(NOON, window).await.expect("statistics");
    let expected = CollectionStats {
        total_targets: 4,
        healthy_targets: 1,
        total_metrics_collected: 3_100,
        collection_rate_per_second: 10.0,
        average_scrape_duration_ms: 30.0,
        error_rate: 0.25,
    };
    assert_eq!(stats, expected);
    assert_eq!(store.purge_jobs(NOON + 100).await.expect("a purge"), 6);
    let stats = store.stats(NOON, window).await.expect("statistics");
    let purged = CollectionStats {
        total_targets: 4,
        healthy_targets: 1,
        total_metrics_collected: 3_100,
        ..CollectionStats::default()
    };
    assert_eq!(stats, purged, "the total survives the jobs");
}

/// Processes live as long as they say so.
pub async fn check_processes(store: &impl Store) {
    let process = |n: u128, version: &str| Process {
        id: Uuid::from_u128(n),
        roles: vec!["api".to_owned(), "worker".to_owned()],
        listen: format!("127.0.0.{n}:9099"),
        version: version.to_owned(),
    };
    let (long, short) = (Duration::from_secs(600), Duration::from_millis(400));
    assert_eq!(store.processes().await.expect("processes"), []);
    store.heartbeat(&process(2, "1"), long).await.expect("a heartbeat");
    store.heartbeat(&process(3, "1"), short).await.expect("a heartbeat");
    store.heartbeat(&process(1, "1"), long).await.expect("a heartbeat");
    assert_eq!(
        store.processes().await.expect("processes"),
        [process(1, "1"), process(2, "1"), process(3, "1")]
    );
    store.heartbeat(&process(2, "2"), long).await.expect("a heartbeat");
    store.goodbye(Uuid::from_u128(1)).await.expect("a goodbye");
    store.goodbye(Uuid::from_u128(99)).await.expect("a goodbye of one that nobody knows");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(
        store.processes().await.expect("processes"),
        [process(2, "2")],
        "one has expired, one has gone"
    );
    store.heartbeat(&process(3, "1"), long).await.expect("a heartbeat after a long silence");
    assert_eq!(store.processes().await.expect("processes").len(), 2);
    store.heartbeat(&process(2, "2"), short).await.expect("a heartbeat that promises less");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(store.processes().await.expect("processes"), [process(3, "1")]);
    store.goodbye(Uuid::from_u128(3)).await.expect("a goodbye");
}
