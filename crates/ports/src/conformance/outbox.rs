//! What every [`crate::Outbox`] must do, together with the sink that fills it.
//!
//! Run on a runtime of several threads: some checks call from several tasks at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use metricsd_model::{Batch, Layout, MetricsCollected};
use uuid::Uuid;

use super::fixtures::*;
use crate::{Outbox, OutboxEvent};

/// A lease that outlives every check.
const LONG: Duration = Duration::from_secs(600);

/// Runs every check of this suite, each on a store of its own that `new` makes: fresh and empty.
pub async fn check_all<S: Store + Outbox>(new: impl AsyncFn() -> S) {
    super::each!(new, check_events, check_lease);
    super::each_shared!(new, check_one_event_a_batch, check_one_relay, check_under_load);
}

fn batches(keys: std::ops::Range<usize>) -> Vec<Arc<Batch>> {
    let layout = Layout::shared(many_series("outbox", 2));
    let one = |n: usize| {
        batch(&format!("t{}", n % 3), &n.to_string(), vec![frame(&layout, NOON + n as i64, &[1.0; 2])])
    };
    keys.map(one).collect()
}

fn events(batches: &[Arc<Batch>]) -> Vec<MetricsCollected> {
    batches.iter().map(|batch| MetricsCollected::of(batch)).collect()
}

/// [`batches`] have three sources in turn.
fn of_source(batches: &[Arc<Batch>], source: usize) -> Vec<Arc<Batch>> {
    batches.iter().skip(source).step_by(3).cloned().collect()
}

fn seqs(events: &[OutboxEvent]) -> Vec<i64> {
    events.iter().map(|event| event.seq).collect()
}

fn unpacked(events: Vec<OutboxEvent>) -> Vec<MetricsCollected> {
    events.into_iter().map(|event| event.event).collect()
}

/// Events come whole and in order, stay until they were published, and are counted.
pub async fn check_events(store: &(impl Store + Outbox)) {
    let relay = Uuid::from_u128(1);
    assert_eq!(store.backlog().await.expect("a backlog"), 0);
    assert_eq!(store.pending(relay, LONG, 10).await.expect("events"), []);
    let batches = batches(0..25);
    store.append(&batches[..20]).await.expect("an append");
    store.append(&batches[20..]).await.expect("an append");
    store.append(&batches).await.expect("a repeat, which tells nothing");
    assert_eq!(store.backlog().await.expect("a backlog"), 25);
    let first = store.pending(relay, LONG, 10).await.expect("events");
    assert_eq!(first.len(), 10, "at most as many as asked for");
    assert!(first.is_sorted_by(|a, b| a.seq < b.seq));
    assert_eq!(
        store.pending(relay, LONG, 10).await.expect("events"),
        first,
        "they stay until they were published"
    );
    assert_eq!(unpacked(first.clone()), events(&batches[..10]), "whole, and in order");

    // Not all that was given is published, and some of it twice.
    let mut seqs = seqs(&first);
    let kept = seqs.remove(4);
    store.published(&seqs).await.expect("published");
    store.published(&seqs[..2]).await.expect("published again");
    store.published(&[]).await.expect("nothing published");
    assert_eq!(store.backlog().await.expect("a backlog"), 16);
    let rest = store.pending(relay, LONG, 1_000).await.expect("events");
    assert_eq!(rest.first().map(|event| event.seq), Some(kept), "the oldest comes first");
    let expected: Vec<_> = batches[4..5].iter().chain(&batches[10..]).cloned().collect();
    assert_eq!(unpacked(rest.clone()), events(&expected));
    store.published(&rest.iter().map(|event| event.seq).collect::<Vec<_>>()).await.expect("published");
    assert_eq!(store.backlog().await.expect("a backlog"), 0);
    assert_eq!(store.pending(relay, LONG, 10).await.expect("events"), []);
    store.append(&batches).await.expect("a repeat");
    assert_eq!(
        store.backlog().await.expect("a backlog"),
        0,
        "a repeat after publishing tells nothing either"
    );
}

/// One relay at a time; another takes over when the first has been silent for its lease, or has given it up.
pub async fn check_lease(store: &(impl Store + Outbox)) {
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let count = async |relay, lease: Duration| store.pending(relay, lease, 100).await.expect("events").len();
    let short = Duration::from_millis(600);
    assert_eq!(count(a, short).await, 0, "the first that asks holds the lease, even of an empty outbox");
    store.append(&batches(0..3)).await.expect("an append");
    assert_eq!((count(b, short).await, count(a, short).await), (0, 3), "to others the outbox looks empty");
    assert_eq!(store.backlog().await.expect("a backlog"), 3, "whoever asks, all are counted");
    for _ in 0..4 {
        tokio::time::sleep(short / 3).await;
        assert_eq!((count(a, short).await, count(b, short).await), (3, 0), "asking again keeps the lease");
    }
    tokio::time::sleep(short * 2).await;
    assert_eq!((count(b, LONG).await, count(a, LONG).await), (3, 0), "after a silence another takes over");
    let given = store.pending(b, LONG, 100).await.expect("events");
    store.published(&seqs(&given[..1])).await.expect("published");
    assert_eq!(count(b, Duration::ZERO).await, 2, "a lease of nothing gives the outbox up");
    assert_eq!(count(a, LONG).await, 2);
    assert_eq!(count(b, Duration::ZERO).await, 0, "who holds nothing gives nothing up");
    assert_eq!((count(b, LONG).await, count(a, LONG).await), (0, 2));
}

/// However often and from how many sides a batch comes, alone or among hundreds.
pub async fn check_one_event_a_batch(store: &Arc<impl Store + Outbox>) {
    let few = batches(0..5);
    store.append(&[few[0].clone(), few[0].clone()]).await.expect("an append");
    assert_eq!(store.backlog().await.expect("a backlog"), 1, "a repeat within a call tells nothing");
    let calls = join_all((0..8).map(|n| {
        let (store, mut few) = (store.clone(), few.clone());
        few.rotate_left(n % 5);
        tokio::spawn(async move { store.append(&few).await })
    }));
    assert!(calls.await.into_iter().all(|call| call.is_ok_and(|appended| appended.is_ok())));
    assert_eq!(store.backlog().await.expect("a backlog"), 5, "calls at once tell of each batch once");
    let many = batches(0..500);
    store.append(&many).await.expect("an append");
    store.append(&many).await.expect("an append");
    assert_eq!(store.backlog().await.expect("a backlog"), 500, "a large group");
}

/// Of several relays that ask at once, one is given events.
pub async fn check_one_relay(store: &Arc<impl Store + Outbox>) {
    store.append(&batches(0..3)).await.expect("an append");
    let asks = (0..6).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let given = store.pending(Uuid::from_u128(n), LONG, 100).await;
            given.expect("events").len()
        })
    });
    let mut counts: Vec<_> = join_all(asks).await.into_iter().map(|count| count.expect("a task")).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 0, 3]);
}

/// A relay at work while batches are appended: every event once, in order of each source.
pub async fn check_under_load(store: &Arc<impl Store + Outbox>) {
    const BATCHES: usize = 60;
    let all = batches(0..BATCHES);
    // One source a task, so that its order is the order of its appends.
    let writers = join_all((0..3).map(|source| {
        let (store, batches) = (store.clone(), of_source(&all, source));
        tokio::spawn(async move {
            for batch in batches {
                store.append(&[batch]).await.expect("an append");
            }
        })
    }));
    let relay = async {
        let mut told = Vec::new();
        while told.len() < BATCHES {
            let given = store.pending(Uuid::from_u128(1), LONG, 7).await.expect("events");
            store.published(&seqs(&given)).await.expect("published");
            told.extend(unpacked(given));
            tokio::task::yield_now().await;
        }
        told
    };
    let done = tokio::time::timeout(Duration::from_secs(60), join(writers, relay)).await;
    let (wrote, told) = done.expect("every event arrives");
    assert!(wrote.iter().all(Result::is_ok), "every writer is done");
    assert_eq!(told.len(), BATCHES, "each event once");
    for source in 0..3 {
        let id = format!("source-of-t{source}");
        let told = told.iter().filter(|event| event.metrics_collected.source_id == id).cloned();
        assert_eq!(told.collect::<Vec<_>>(), events(&of_source(&all, source)), "in order of {id}");
    }
}
