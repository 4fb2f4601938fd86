//! Idempotency, what a batch leaves beside its samples, and atomicity.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{join, join_all};
use metricsd_model::{
    Batch, BatchId, CollectionMethod, FailureReason, Frame, HealthStatus, JobStatus, JoinedPush, Layout,
    Ledger, Missed, Refusal, TypeCounts, Waited,
};

use crate::conformance::fixtures::*;
use crate::{JobFilter, Receipt, StoredPush};

async fn job_count(store: &impl Store, target_id: &str) -> usize {
    let filter = JobFilter { target_id: Some(target_id.to_owned()), ..JobFilter::default() };
    store.jobs(&filter, 10_000).await.expect("jobs").len()
}

/// One id twice, in a later call and within a call: the first is stored, the rest is a duplicate.
pub async fn check_repeats(store: &impl Store) {
    let series = series("repeats", &[]);
    let layout = Layout::shared(vec![series.clone()]);
    let first = batch("repeats", "a", vec![frame(&layout, NOON, &[1.0])]);
    // The same id with other content: still a repeat.
    let again = batch("repeats", "a", vec![frame(&layout, NOON + 1, &[2.0])]);
    let second = batch("repeats", "b", vec![frame(&layout, NOON + 2, &[3.0])]);
    let receipts = store.append(&[first.clone(), again.clone()]).await.expect("an append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate], "within a call");
    let receipts = store.append(&[again, second.clone(), first]).await.expect("an append");
    assert_eq!(receipts, [Receipt::Duplicate, Receipt::Stored, Receipt::Duplicate], "in a later call");
    assert_eq!(store.append(&[second]).await.expect("an append"), [Receipt::Duplicate]);
    assert_eq!(all_of(store, "repeats").await, [row(&series, &[(NOON, 1.0), (NOON + 2, 3.0)])]);
    assert_eq!(job_count(store, "repeats").await, 2, "one job a batch");
}

/// A push of two samples, and a batch that pushes were joined into.
fn push(layout: &Arc<Layout>, key: i64) -> Batch {
    let at = NOON + key;
    let batch = batch("joined", &key.to_string(), vec![frame(layout, at, &[at as f64, 1.0])]);
    batch.as_ref().clone()
}

fn joined(pushes: &[&Batch]) -> Arc<Batch> {
    let ids: Vec<BatchId> = pushes.iter().map(|push| push.id).collect();
    let mut whole = pushes[0].clone();
    whole.id = BatchId::for_joined("joined", &ids);
    let mut values = Vec::new();
    let (mut series, mut offsets) = (Vec::new(), Vec::new());
    for push in pushes {
        let frame = &push.frames[0];
        series.extend(frame.layout.series.iter().cloned());
        offsets.extend([i32::try_from(frame.time - NOON).expect("an hour"); 2]);
        values.extend(&frame.values);
    }
    let ledger = &mut whole.collection.ledger;
    (ledger.received, ledger.stored) = (values.len() as u64, values.len() as u64);
    let layout = Layout::inline(series);
    whole.frames = vec![Frame { layout, time: NOON, offsets: Some(offsets), values, histograms: Vec::new() }];
    whole.joined =
        ids.into_iter().map(|id| JoinedPush { id, columns: vec![2], exemplars: 0, families: 0 }).collect();
    Arc::new(whole)
}

/// Pushes that share a batch are remembered with it, and stored once.
pub async fn check_joined(store: &impl Store) {
    let all = [series("joined", &[("a", "1")]), series("joined", &[("a", "2")])];
    let layout = Layout::shared(all.to_vec());
    let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(|key| push(&layout, key));
    assert_eq!(store.stored_pushes(&[one.id, two.id]).await.expect("pushes"), []);
    let both = joined(&[&one, &two]);
    assert_eq!(store.append(std::slice::from_ref(&both)).await.expect("an append"), [Receipt::Stored]);
    // One that comes alone, the whole once more, and one that is remembered though it is alone.
    let alone = |push: &Batch| Arc::new(push.clone());
    let three = three.as_joined();
    let given = [alone(&two), alone(&three), both.clone(), Arc::new(one.clone().as_joined())];
    let receipts = store.append(&given).await.expect("an append");
    assert_eq!(receipts, [Receipt::Duplicate, Receipt::Stored, Receipt::Duplicate, Receipt::Duplicate]);
    assert_eq!(store.append(&[alone(&three)]).await.expect("an append"), [Receipt::Duplicate]);
    // Among others, and twice in one call: what is stored is left out.
    assert_eq!(store.append(&[alone(&five)]).await.expect("an append"), [Receipt::Stored]);
    let more = joined(&[&two, &four, &three, &five]);
    let none = joined(&[&five, &four]);
    let receipts = store.append(&[more.clone(), none]).await.expect("an append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Duplicate]);
    let stored = |push: &Batch, batch: &Batch| StoredPush {
        id: push.id,
        batch: batch.id,
        started: batch.collection.started,
    };
    let mut expected = vec![
        stored(&one, &both),
        stored(&two, &both),
        stored(&three, &three),
        stored(&four, &more),
        stored(&five, &five),
    ];
    expected.sort();
    let nobody = BatchId::for_push("nobody", b"nothing");
    let asked = [one.id, two.id, three.id, four.id, five.id, nobody];
    let mut found = store.stored_pushes(&asked).await.expect("pushes");
    found.sort();
    assert_eq!(found, expected);
    let first: Vec<(i64, f64)> = (1..=5).map(|key| (NOON + key, (NOON + key) as f64)).collect();
    let second: Vec<(i64, f64)> = (1..=5).map(|key| (NOON + key, 1.0)).collect();
    assert_eq!(all_of(store, "joined").await, [row(&all[0], &first), row(&all[1], &second)]);
    // Nor are they there twice underneath: the ledger says what is stored.
    let jobs = store.jobs(&JobFilter::default(), 100).await.expect("jobs");
    let mut counts: Vec<u64> = jobs.iter().map(|job| job.ledger.stored).collect();
    counts.sort_unstable();
    assert_eq!((counts, jobs.iter().map(|job| job.ledger.unexplained()).sum::<i64>()), (vec![2, 2, 2, 4], 0));
}

/// Pushes that are brought in many calls at once, joined in other ways: each is stored once.
pub async fn check_concurrent_joined(store: &Arc<impl Store>) {
    let layout = Layout::shared(vec![series("joined", &[("a", "1")]), series("joined", &[("a", "2")])]);
    let pushes: Vec<Batch> = (1..=24).map(|key| push(&layout, key)).collect();
    let calls = join_all((0..8).map(|n| {
        let (mut pushes, store) = (pushes.clone(), store.clone());
        pushes.rotate_left(n * 3);
        let batches: Vec<Arc<Batch>> = match n {
            0 => pushes.iter().map(|push| Arc::new(push.clone().as_joined())).collect(),
            _ => pushes.chunks(n + 1).map(|part| joined(&part.iter().collect::<Vec<_>>())).collect(),
        };
        tokio::spawn(async move { store.append(&batches).await.expect("an append") })
    }));
    for call in calls.await {
        call.expect("a task");
    }
    let samples: Vec<usize> = all_of(&**store, "joined").await.iter().map(|row| row.1.len()).collect();
    assert_eq!(samples, [24, 24]);
    let jobs = store.jobs(&JobFilter::default(), 1_000).await.expect("jobs");
    assert_eq!(jobs.iter().map(|job| job.ledger.stored).sum::<u64>(), 48, "each push once: {jobs:?}");
}

/// One id in many calls at once: one of them stores it.
pub async fn check_concurrent_repeats(store: &Arc<impl Store>) {
    let all = many_series("concurrent_repeats", 20);
    let layout = Layout::shared(all.clone());
    let batches: Vec<Arc<Batch>> = (0..5)
        .map(|n| batch("concurrent-repeats", &n.to_string(), vec![frame(&layout, NOON + n, &[1.0; 20])]))
        .collect();
    // Each call brings all of them, in an order of its own.
    let calls = join_all((0..8).map(|n| {
        let mut batches = batches.clone();
        batches.rotate_left(n % 5);
        let store = store.clone();
        tokio::spawn(async move {
            let receipts = store.append(&batches).await.expect("an append");
            receipts.iter().filter(|receipt| **receipt == Receipt::Stored).count()
        })
    }));
    let stored: usize = calls.await.into_iter().map(|count| count.expect("a task")).sum();
    assert_eq!(stored, 5, "each batch was stored by one call");
    assert_eq!(job_count(&**store, "concurrent-repeats").await, 5, "one job a batch");
    let found = all_of(&**store, "concurrent_repeats").await;
    let samples: Vec<_> = (0..5).map(|n| (NOON + n, 1.0)).collect();
    assert_eq!(found, all.iter().map(|series| row(series, &samples)).collect::<Vec<_>>());
}

/// The job row holds what the batch told, whole.
pub async fn check_jobs(store: &impl Store) {
    let mut failed = Batch::clone(&batch("jobs", "failed", Vec::new()));
    failed.collection.status = JobStatus::Failed;
    failed.collection.method = CollectionMethod::PullScraping;
    failed.collection.health = HealthStatus::Unhealthy;
    failed.collection.reason = Some(FailureReason::Timeout);
    failed.collection.error = Some("no answer within 10s".to_owned());
    failed.collection.started = NOON + 123;
    failed.collection.duration_ms = 10_000.25;
    let mut partial = Batch::clone(&batch("jobs", "partial", Vec::new()));
    partial.collection.status = JobStatus::Partial;
    partial.collection.method = CollectionMethod::BatchUpload;
    partial.collection.ledger = Ledger {
        received: 10,
        dropped: 1,
        refused: BTreeMap::from([(Refusal::TooOld, 2), (Refusal::InvalidValue, 3)]),
        stored: 4,
        missed: BTreeMap::from([(Missed::Busy, 2)]),
        waited: Some(Waited::Spool),
        // What the batch holds, by the store's own count.
        ..Ledger::default()
    };
    partial.collection.types = TypeCounts { counters: 1, gauges: 3, ..TypeCounts::default() };
    store.append(&[Arc::new(failed.clone()), Arc::new(partial.clone())]).await.expect("an append");
    let filter = JobFilter { target_id: Some("jobs".to_owned()), ..JobFilter::default() };
    let jobs = store.jobs(&filter, 10).await.expect("jobs");
    let [first, second] = jobs.as_slice() else { panic!("two jobs, not {}", jobs.len()) };
    assert_eq!(first.job_id, failed.id.collection_batch_id(NOON + 123));
    assert_eq!((first.target_id.as_str(), first.source_id.as_str()), ("jobs", "source-of-jobs"));
    assert_eq!((first.status, first.collection_method), (JobStatus::Failed, CollectionMethod::PullScraping));
    assert_eq!(
        (first.created_at, first.collection_duration_ms, first.metrics_collected),
        (NOON + 123, 10_000.25, 0)
    );
    assert_eq!(first.error_details.as_deref(), Some("timeout: no answer within 10s"));
    assert_eq!(
        (second.status, second.collection_method),
        (JobStatus::Partial, CollectionMethod::BatchUpload)
    );
    assert_eq!((second.metrics_collected, &second.ledger), (4, &partial.collection.ledger));
    assert_eq!(second.error_details, None);
}

/// Several batches bring the same series at the same time: the first that was committed is read, once.
pub async fn check_first_wins(store: &impl Store) {
    let series = series("first_wins", &[]);
    let shared = Layout::shared(vec![series.clone()]);
    let inline = Layout::inline(vec![series.clone()]);
    let first = batch("first-wins", "1", vec![frame(&shared, NOON, &[1.0])]);
    store.append(&[first]).await.expect("an append");
    let rest = [
        batch("first-wins", "2", vec![frame(&shared, NOON, &[2.0])]),
        batch("first-wins", "3", vec![frame(&shared, NOON + 1, &[3.0])]),
        batch("first-wins", "4", vec![frame_at(&inline, &[(NOON + 1, 4.0)])]),
        batch("other-target", "5", vec![frame(&inline, NOON, &[5.0])]),
    ];
    assert_eq!(store.append(&rest).await.expect("an append"), [Receipt::Stored; 4]);
    // Comes in a frame that begins earlier than the frame of the first.
    let other = many_series("first_wins_other", 1);
    let early = Layout::inline(vec![other[0].clone(), series.clone()]);
    let late = batch("first-wins", "6", vec![frame_at(&early, &[(NOON, 9.0), (NOON + 1, 6.0)])]);
    store.append(&[late]).await.expect("an append");
    assert_eq!(all_of(store, "first_wins").await, [row(&series, &[(NOON, 1.0), (NOON + 1, 3.0)])]);
}

/// Five hundred batches in one call.
pub async fn check_large_group(store: &impl Store) {
    let all = many_series("large_group", 40);
    let layouts: Vec<_> = all.chunks(4).map(|chunk| Layout::shared(chunk.to_vec())).collect();
    let batches: Vec<Arc<Batch>> = (0..500usize)
        .map(|n| {
            let layout = &layouts[n % 10];
            let layout = if n % 7 == 0 { &Layout::inline(layout.series.clone()) } else { layout };
            let time = NOON + 1_000 * (n / 10) as i64;
            batch(
                &format!("large-group-{}", n % 10),
                &n.to_string(),
                vec![frame(layout, time, &[n as f64; 4])],
            )
        })
        .collect();
    assert_eq!(store.append(&batches).await.expect("an append"), vec![Receipt::Stored; 500]);
    assert_eq!(store.append(&batches).await.expect("an append"), vec![Receipt::Duplicate; 500]);
    assert_eq!(job_count(store, "large-group-3").await, 50);
    let expected = all.iter().enumerate().map(|(column, series)| {
        let samples: Vec<_> =
            (0..50).map(|round| (NOON + 1_000 * round, (round * 10) as f64 + (column / 4) as f64)).collect();
        row(series, &samples)
    });
    assert_eq!(all_of(store, "large_group").await, expected.collect::<Vec<_>>());
}

/// While batches of two frames are appended, a reader sees each of them whole or not at all.
pub async fn check_atomic(store: &Arc<impl Store>) {
    const BATCHES: usize = 25;
    let layout = Layout::shared(many_series("atomic", 200));
    let target = store.clone();
    let writer = tokio::spawn(async move {
        for n in 0..BATCHES as i64 {
            let frames =
                vec![frame(&layout, NOON + n, &[1.0; 200]), frame(&layout, NOON + HOUR + n, &[2.0; 200])];
            let batch = batch("atomic", &n.to_string(), frames);
            target.append(&[batch]).await.expect("an append");
        }
    });
    let reader = async {
        let mut seen = 0;
        while seen < BATCHES {
            let found = store.select(&selection("atomic", NOON, NOON + 2 * HOUR)).await.expect("a selection");
            let batches = found.first().map_or(0, |first| first.timestamps.len() / 2);
            assert!(batches >= seen, "what was visible stays visible");
            assert!(found.is_empty() || found.len() == 200, "all columns or none, not {}", found.len());
            for series in &found {
                assert_eq!(series.timestamps.len(), 2 * batches, "a batch is seen whole");
                for n in 0..batches {
                    assert_eq!(series.timestamps[n] + HOUR, series.timestamps[batches + n], "both frames");
                }
            }
            seen = batches;
            tokio::task::yield_now().await;
        }
    };
    let both = join(writer, reader);
    let done = tokio::time::timeout(std::time::Duration::from_secs(60), both).await;
    done.expect("every batch becomes visible").0.expect("the writer");
}
