//! Checks of stores that are fed from a log, and of the integrity ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::{Batch, BatchId, CollectionMethod, JobStatus, Layout, Ledger, Missed, Refusal, Waited};

use crate::compaction::Compaction;
use crate::conformance::fixtures::*;
use crate::conformance::samples::{compact_all, policy};
use crate::integrity::{Integrity, LedgerRange, LedgerSum};
use crate::log::{LogSink, LogStep, ParkedEntry, ParkedRecord};
use crate::{Catalog, ErrorKind, JobFilter, Receipt, SampleSink};

/// What these checks need of a store.
pub trait Durable: SampleSink + LogSink + Integrity + Catalog + Compaction {}
impl<S: SampleSink + LogSink + Integrity + Catalog + Compaction> Durable for S {}

/// All of them, each on a fresh store.
pub async fn check_all<S: Durable>(new: impl AsyncFn() -> S) {
    each!(new, check_log, check_ledger, check_recount, check_recount_beside_segments);
}

fn step(partition: i32, from: i64, next: i64) -> LogStep {
    LogStep { log: "samples".to_owned(), partition, from, next }
}

fn batch(id: u128, started: i64) -> Arc<Batch> {
    let layout = Layout::inline(vec![series("a", &[]), series("b", &[])]);
    let frame = frame(&layout, started, &[id as f64, 1.0]);
    Arc::new(Batch::new(BatchId(id), collection("t", started, 2), vec![frame]))
}

async fn check_log<S: Durable>(store: &S) {
    assert_eq!(store.log_positions("samples").await.expect("positions"), []);
    let (one, two) = (batch(1, NOON), batch(2, NOON + 1));
    let steps = [step(3, 17, 20), step(0, 0, 5)];
    let receipts = store.append_from_log(&[one.clone(), two.clone()], &steps).await.expect("an append");
    assert_eq!(receipts, [Receipt::Stored, Receipt::Stored]);
    assert_eq!(store.log_positions("samples").await.expect("positions"), [(0, 5), (3, 20)]);
    assert_eq!(store.log_positions("others").await.expect("positions"), []);

    // Another has been there: neither positions move nor is anything stored, not even for the partition that is right.
    let late = store.append_from_log(&[batch(3, NOON + 2)], &[step(0, 5, 9), step(3, 17, 25)]).await;
    assert_eq!(late.expect_err("a conflict").kind(), ErrorKind::Conflict);
    assert_eq!(store.log_positions("samples").await.expect("positions"), [(0, 5), (3, 20)]);
    let all = JobFilter::default();
    assert_eq!(store.jobs(&all, 10).await.expect("jobs").len(), 2);

    // What was stored before by another way is passed.
    let again = store.append_from_log(&[one], &[step(3, 20, 21)]).await.expect("an append");
    assert_eq!(again, [Receipt::Duplicate]);
    // Records that hold nothing to store.
    assert_eq!(store.append_from_log(&[], &[step(0, 5, 8)]).await.expect("a step"), []);
    assert_eq!(store.log_positions("samples").await.expect("positions"), [(0, 8), (3, 21)]);

    let record = ParkedRecord {
        log: "samples".to_owned(),
        partition: 3,
        position: 21,
        error: "nonsense".to_owned(),
        content: vec![0, 255, 7],
    };
    let late = store.park(&record, &step(3, 20, 22)).await;
    assert_eq!(late.expect_err("a conflict").kind(), ErrorKind::Conflict);
    store.park(&record, &step(3, 21, 22)).await.expect("parked");
    store.park(&ParkedRecord { position: 22, ..record.clone() }, &step(3, 22, 23)).await.expect("parked");
    assert_eq!(store.log_positions("samples").await.expect("positions"), [(0, 8), (3, 23)]);
    let (parked, count) = store.parked(10).await.expect("parked records");
    assert_eq!((parked.len(), count), (2, 2));
    let first = parked.iter().find(|parked| parked.position == 21).expect("the first");
    assert!(first.parked_at > 0);
    let ParkedRecord { log, partition, position, error, content } = record;
    let (bytes, parked_at) = (content.len() as u64, first.parked_at);
    assert_eq!(*first, ParkedEntry { log, partition, position, error, bytes, parked_at });
    assert_eq!(store.parked(1).await.expect("parked records").0.len(), 1);
    store.purge_ledger(first.parked_at - HOUR).await.expect("a purge");
    assert_eq!(store.parked(10).await.expect("parked records").1, 2);
    store.purge_ledger(first.parked_at + HOUR).await.expect("a purge");
    assert_eq!(store.parked(10).await.expect("parked records").1, 0);
}

async fn check_ledger<S: Durable>(store: &S) {
    let of = |id, started, status, ledger: Ledger| {
        let mut batch = batch(id, started).as_ref().clone();
        (batch.collection.status, batch.collection.ledger) = (status, ledger);
        Arc::new(batch)
    };
    let good = Ledger {
        received: 9,
        dropped: 2,
        refused: BTreeMap::from([(Refusal::TooOld, 5)]),
        stored: 2,
        missed: BTreeMap::from([(Missed::Busy, 3)]),
        waited: Some(Waited::Spool),
        ..Ledger::default()
    };
    let plain = Ledger { received: 1, stored: 1, waited: Some(Waited::Log), ..Ledger::default() };
    let next = NOON + HOUR;
    let batches = [
        of(1, NOON + 1, JobStatus::Partial, good.clone()),
        of(2, NOON + 2, JobStatus::Partial, good),
        of(3, next, JobStatus::Failed, Ledger::default()),
        of(4, next + 1, JobStatus::Completed, plain),
    ];
    store.append(&batches).await.expect("an append");
    let range = LedgerRange { start: NOON, end: next + HOUR, target_id: None };
    let before = store.ledger(&range, 10).await.expect("the ledger");
    assert_eq!(before.keys().map(|key| key.0).collect::<Vec<_>>(), [NOON, next]);
    let sum = before.values().next().expect("the first hour");
    assert_eq!((sum.collections, sum.failed, sum.spooled, sum.logged), (2, 0, 2, 0));
    assert_eq!((sum.received, sum.dropped, sum.stored, sum.added), (18, 4, 4, 0));
    assert_eq!((&sum.refused, sum.unexplained()), (&BTreeMap::from([(Refusal::TooOld, 10)]), 0));
    assert_eq!(sum.missed, BTreeMap::from([(Missed::Busy, 6)]));
    let second = before.values().nth(1).expect("the second hour");
    assert_eq!((second.collections, second.failed, second.logged), (2, 1, 1));
    // Of the two that hold two samples each, what the ledgers do not speak of was added.
    assert_eq!((second.stored, second.added), (1, 3));

    let mut total = LedgerSum::default();
    before.values().for_each(|sum| total += sum);
    assert_eq!(store.ledger_total(&range).await.expect("the total"), total);
    assert_eq!((total.collections, total.refused_total(), total.missed_total()), (4, 10, 6));

    // Rows that go leave their sums, each once, also where they go one after the other.
    for (end, gone) in [(NOON + 2, 1), (next + 1, 2)] {
        assert_eq!(store.purge_jobs(end).await.expect("a purge"), gone);
        assert_eq!(store.ledger(&range, 10).await.expect("the ledger"), before);
        assert_eq!(store.ledger_total(&range).await.expect("the total"), total);
    }
    let nobody = LedgerRange { target_id: Some("nobody".to_owned()), ..range.clone() };
    assert!(store.ledger(&nobody, 10).await.expect("the ledger").is_empty());
    assert_eq!(store.ledger_total(&nobody).await.expect("the total"), LedgerSum::default());
    let first = LedgerRange { end: next, target_id: Some("t".to_owned()), ..range.clone() };
    assert_eq!(store.ledger(&first, 10).await.expect("the ledger").len(), 1);
    let sum = store.ledger_total(&first).await.expect("the total");
    assert_eq!(Some(&sum), before.values().next());
    let many = store.ledger(&range, 1).await.expect_err("a limit");
    assert_eq!(many.kind(), ErrorKind::Limit);
    assert_eq!(store.purge_ledger(next).await.expect("a purge"), 1);
    assert_eq!(store.ledger(&range, 10).await.expect("the ledger").len(), 1);
}

async fn check_recount<S: Durable>(store: &S) {
    let good = batch(1, NOON);
    let mut wrong = batch(2, NOON + 5).as_ref().clone();
    // Three samples are promised and two are there.
    wrong.collection.ledger.stored = 3;
    let mut empty = batch(3, NOON + 6).as_ref().clone();
    (empty.frames, empty.collection.ledger) = (Vec::new(), Ledger::default());
    store.append(&[good, Arc::new(wrong.clone()), Arc::new(empty)]).await.expect("an append");
    let range = LedgerRange { start: NOON, end: NOON + 5, target_id: Some("t".to_owned()) };
    let recount = store.recount(&range).await.expect("a count");
    assert_eq!((recount.batches, recount.expected, recount.counted, recount.differences), (1, 2, 2, 0));
    let recount = store.recount(&LedgerRange { end: NOON + HOUR, ..range }).await.expect("a count");
    assert_eq!((recount.batches, recount.expected, recount.counted, recount.differences), (2, 5, 4, 1));
    let difference = recount.differing.first().expect("the difference");
    assert_eq!((difference.expected, difference.found), (3, 2));
    assert_eq!(difference.job_id, wrong.id.collection_batch_id(wrong.collection.started));
}

/// What lies in segments cannot be counted batch by batch; a scrape of a day that has none can.
async fn check_recount_beside_segments<S: Durable>(store: &S) {
    let lost = |id: u128, started| {
        let mut lost = batch(id, started).as_ref().clone();
        lost.frames = Vec::new();
        lost
    };
    let mut pushed = lost(6, NOON + 6 * HOUR);
    pushed.collection.method = CollectionMethod::BatchUpload;
    let before_all = lost(7, NOON - 24 * HOUR);
    // What was of an hour that is compacted lies with others, and the rest does not yet.
    let in_two_hours = |id: u128, started, method| {
        let mut one = batch(id, started).as_ref().clone();
        one.frames.extend(batch(id, NOON + 3 * HOUR - 1).frames.clone());
        (one.collection.method, one.collection.ledger.stored) = (method, 4);
        Arc::new(one)
    };
    let batches = [
        batch(1, NOON),
        batch(2, NOON + 1),
        batch(3, NOON + 2 * HOUR),
        batch(4, NOON + 27 * HOUR),
        Arc::new(lost(5, NOON + 26 * HOUR)),
        Arc::new(pushed),
        Arc::new(before_all),
        in_two_hours(8, NOON + 27 * HOUR, CollectionMethod::BatchUpload),
        in_two_hours(9, NOON + 3 * HOUR, CollectionMethod::PullScraping),
    ];
    store.append(&batches).await.expect("an append");
    assert!(compact_all(store, &policy(NOON + 3 * HOUR, 1_000)).await.samples > 0);
    let range = LedgerRange { start: NOON - 48 * HOUR, end: NOON + 48 * HOUR, target_id: None };
    let recount = store.recount(&range).await.expect("a count");
    assert_eq!((recount.batches, recount.expected), (9, 22));
    // Three in segments, an upload that may be, what is older than anything that is kept, and two of which a part is.
    assert_eq!((recount.compacted_batches, recount.compacted), (7, 18));
    assert_eq!((recount.counted_batches, recount.counted, recount.differences), (2, 2, 1));
    let difference = recount.differing.first().expect("the difference");
    assert_eq!((difference.expected, difference.found), (2, 0));
    assert_eq!(difference.job_id, batches[4].id.collection_batch_id(NOON + 26 * HOUR));
}
