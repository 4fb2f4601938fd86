//! What becomes of questions and batches when a shard does not answer, and of data when shards are added.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metricsd_model::{Batch, Layout, Matcher};
use metricsd_ports::conformance::fixtures::*;
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    Catalog, ErrorKind, JobFilter, Outbox, Receipt, Retention, SampleSink, SampleSource, partial,
};
use metricsd_shards::{Shard, ShardedStore};

use support::{Sharded, over, sharded};

/// One batch a target, each with a series of its own.
fn batches(count: usize) -> Vec<Arc<Batch>> {
    let one = |n: usize| {
        let layout = Layout::shared(vec![series("spread", &[("n", &format!("{n:02}"))])]);
        batch(&format!("target-{n}"), "1", vec![frame(&layout, NOON, &[n as f64])])
    };
    (0..count).map(one).collect()
}

/// The batches of one shard.
fn of_shard(sharded: &Sharded, batches: &[Arc<Batch>], place: usize) -> Vec<Arc<Batch>> {
    batches.iter().filter(|batch| sharded.store.placement().of_batch(batch) == place).cloned().collect()
}

async fn stored(store: &MemoryStore) -> usize {
    store.jobs(&JobFilter::default(), usize::MAX).await.unwrap().len()
}

const MISSING: &str = "shard 2 (host-2/db) cannot be reached; its series are missing";

#[tokio::test]
async fn a_question_fails_or_is_answered_in_part() {
    let sharded = sharded(3);
    let batches = batches(30);
    sharded.store.append(&batches).await.unwrap();
    assert_eq!(all_of(&sharded.store, "spread").await.len(), 30);
    sharded.lines[1].cut(true);

    let selection = selection("spread", NOON, NOON);
    let error = sharded.store.select(&selection).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.told(), Some("shard 2 (host-2/db) cannot be reached"));
    let (found, left_out) = partial::allow(sharded.store.select(&selection)).await;
    let expected = 30 - of_shard(&sharded, &batches, 1).len();
    assert_eq!((found.unwrap().len(), left_out), (expected, vec![MISSING.to_owned()]));
    let look_ups = async {
        let matchers = [Matcher::equal("__name__", "spread")];
        let store = &sharded.store;
        let sets = store.label_sets(&matchers, 100).await.unwrap().len();
        let values = store.label_values("n", &matchers, 100).await.unwrap().len();
        (sets, values, store.index_statistics(1).await.unwrap().series)
    };
    assert_eq!(partial::allow(look_ups).await, ((expected, expected, expected), vec![MISSING.to_owned()]));

    // A question that is wrong is wrong in part as well.
    let limits = metricsd_ports::SelectLimits { max_series: 1, max_samples: 1 };
    let narrow = metricsd_ports::Selection { limits, ..selection.clone() };
    let (refused, _) = partial::allow(sharded.store.select(&narrow)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Limit);
    // Nobody's answer is no answer.
    for line in &sharded.lines {
        line.cut(true);
    }
    let (nothing, _) = partial::allow(sharded.store.select(&selection)).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Unavailable);
    for line in &sharded.lines {
        line.cut(false);
    }
    let (found, left_out) = partial::allow(sharded.store.select(&selection)).await;
    assert_eq!((found.unwrap().len(), left_out), (30, vec![]));
}

#[tokio::test]
async fn batches_of_other_shards_are_stored_and_a_repeat_completes_them() {
    let sharded = sharded(3);
    let batches = batches(30);
    sharded.lines[1].cut(true);
    let error = sharded.store.append(&batches).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(stored(&sharded.parts[1]).await, 0);
    assert_eq!(stored(&sharded.parts[0]).await, of_shard(&sharded, &batches, 0).len());
    let error = SampleSink::ping(&sharded.store).await.unwrap_err();
    assert_eq!(error.told(), Some("shard 2 (host-2/db) cannot be reached"));
    sharded.lines[1].cut(false);
    let receipts = sharded.store.append(&batches).await.unwrap();
    for (batch, receipt) in batches.iter().zip(receipts) {
        let was_away = sharded.store.placement().of_batch(batch) == 1;
        assert_eq!(receipt, if was_away { Receipt::Stored } else { Receipt::Duplicate });
    }
    assert_eq!(all_of(&sharded.store, "spread").await.len(), 30);
    assert!(SampleSink::ping(&sharded.store).await.is_ok());
}

#[tokio::test]
async fn the_newest_of_a_target_needs_its_own_shard_alone() {
    let sharded = sharded(2);
    let batches = batches(20);
    sharded.store.append(&batches).await.unwrap();
    let own = |place| of_shard(&sharded, &batches, place)[0].collection.target_id.clone();
    sharded.lines[1].cut(true);
    assert_eq!(sharded.store.latest(&own(0), NOON).await.unwrap().len(), 1);
    assert_eq!(sharded.store.latest(&own(1), NOON).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let (nothing, left_out) = partial::allow(sharded.store.latest(&own(1), NOON)).await;
    assert!(nothing.unwrap().is_empty() && left_out.len() == 1);
}

#[tokio::test]
async fn shards_that_are_added_leave_old_data_where_it_is() {
    let batches = batches(40);
    let one = Arc::new(MemoryStore::new());
    over(vec![one.clone()]).store.append(&batches).await.unwrap();
    let grown = over(vec![one, Arc::new(MemoryStore::new())]);
    let before = all_of(&grown.store, "spread").await;
    assert_eq!(before.len(), 40);
    // Sent again they are stored on their new shard too, and read once.
    grown.store.append(&batches).await.unwrap();
    assert!(stored(&grown.parts[1]).await > 10);
    assert_eq!(all_of(&grown.store, "spread").await, before);
    assert_eq!(grown.store.jobs(&JobFilter::default(), 100).await.unwrap().len(), 40);
    let moved = of_shard(&grown, &batches, 1)[0].clone();
    let later = Layout::shared(vec![series("spread", &[("n", "later")])]);
    let target = moved.collection.target_id.as_str();
    let later = batch(target, "2", vec![frame(&later, NOON + 1_000, &[1.0])]);
    grown.store.append(&[later]).await.unwrap();
    let latest = grown.store.latest(target, NOON).await.unwrap();
    assert_eq!(latest[0].series.labels.get("n"), Some("later"));
    assert_eq!(grown.store.job_of(moved.id).await.unwrap().unwrap().target_id, target);
    let removed = grown.store.remove_before(target, NOON + 1_000).await.unwrap();
    assert_eq!(removed, 2, "on both shards");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_falls_silent_is_found_out() {
    let sharded = sharded(2);
    sharded.store.append(&batches(10)).await.unwrap();
    sharded.lines[0].silent.store(true, Ordering::SeqCst);
    let asked = tokio::time::timeout(Duration::from_secs(20), all_left(&sharded.store)).await;
    let (found, left_out) = asked.expect("an answer within 20 s");
    assert!(found > 0 && found < 10);
    assert_eq!(left_out, ["shard 1 (host-1/db) does not answer in time; its series are missing"]);
}

async fn all_left(store: &ShardedStore) -> (usize, Vec<String>) {
    let selection = selection("spread", NOON, NOON);
    let (found, left_out) = partial::allow(store.select(&selection)).await;
    (found.unwrap().len(), left_out)
}

#[tokio::test]
async fn a_shard_that_is_opened_later_is_away_until_then() {
    let opened = |store: &Arc<MemoryStore>| metricsd_shards::Opened::of(store.clone());
    let (first, second) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let late = Arc::new(Shard::new(2, "late/db"));
    let shards = vec![Arc::new(Shard::open(1, "here/db", opened(&first))), late.clone()];
    let store = ShardedStore::new(first, shards).unwrap();
    let told = store.label_names(&[], 10).await.unwrap_err();
    assert_eq!(told.told(), Some("shard 2 (late/db) cannot be reached"));
    assert_eq!(
        told.chain(),
        "shard 2 (late/db) cannot be reached: the database was not reached since the start"
    );
    assert!(late.append(&batches(1)).await.unwrap_err().is_retryable());
    assert!(late.backlog().await.unwrap_err().is_retryable());
    late.opened(opened(&second));
    assert!(store.label_names(&[], 10).await.unwrap().is_empty());
    late.append(&batches(1)).await.unwrap();
    assert_eq!(late.backlog().await.unwrap(), 1);
}
