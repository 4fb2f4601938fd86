//! Several commits of one store under way at once: who may overtake whom.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_ingest::{AfterCommit, BatchBuilder, CommitOptions, GroupCommit, IngestMetrics};
use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, HealthStatus, JobStatus, Ledger, TypeCounts,
};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{PortError, Receipt, SampleSink};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Takes batches once it is allowed to, and notes in which order it was given them.
struct Held {
    begun: Mutex<Vec<String>>,
    allowed: Semaphore,
}

#[async_trait]
impl SampleSink for Held {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.begun.lock().extend(batches.iter().map(|batch| batch.collection.source_id.clone()));
        self.allowed.acquire().await.expect("it is never closed").forget();
        Ok(vec![Receipt::Stored; batches.len()])
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

fn start(writers: usize) -> (Arc<Held>, GroupCommit) {
    let sink = Arc::new(Held { begun: Mutex::default(), allowed: Semaphore::new(0) });
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let (store, cache) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCache::new(1 << 20)));
    let (after, _) = AfterCommit::start(store, cache, metrics.clone(), stop.clone());
    let options = CommitOptions { writers, ..CommitOptions::default() };
    let (commit, _) = GroupCommit::start(sink.clone(), options, metrics, after, stop);
    (sink, commit)
}

/// A collection of a target, named by its source.
fn batch(target_id: &str, name: &str) -> Batch {
    let collection = Collection {
        source_id: name.to_owned(),
        target_id: target_id.to_owned(),
        method: CollectionMethod::PullScraping,
        started: 1_750_000_000_000,
        duration_ms: 1.0,
        status: JobStatus::Completed,
        health: HealthStatus::Healthy,
        reason: None,
        error: None,
        ledger: Ledger::default(),
        types: TypeCounts::default(),
    };
    BatchBuilder::default().finish(BatchId::for_push(name, b"k"), collection)
}

/// Long enough for everything that can happen to have happened.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn one_commit_is_written_while_another_waits_for_the_disk() {
    let (sink, commit) = start(2);
    let mut answers = Vec::new();
    for (target, name) in [("a", "first"), ("b", "second"), ("c", "third")] {
        answers.push(commit.submit(batch(target, name)).expect("room"));
        settle().await;
    }
    assert_eq!(*sink.begun.lock(), ["first", "second"], "no more than two at once");
    sink.allowed.add_permits(1);
    settle().await;
    assert_eq!(*sink.begun.lock(), ["first", "second", "third"]);
    sink.allowed.add_permits(2);
    for answer in answers {
        assert_eq!(answer.await.expect("an answer").expect("stored"), Receipt::Stored);
    }
}

#[tokio::test(start_paused = true)]
async fn collections_of_one_target_are_committed_in_their_order() {
    let (sink, commit) = start(2);
    let first = commit.submit(batch("a", "first")).expect("room");
    settle().await;
    let second = commit.submit(batch("a", "second")).expect("room");
    settle().await;
    assert_eq!(*sink.begun.lock(), ["first"], "its predecessor is not committed");
    sink.allowed.add_permits(1);
    first.await.expect("an answer").expect("stored");
    settle().await;
    assert_eq!(*sink.begun.lock(), ["first", "second"]);
    sink.allowed.add_permits(1);
    second.await.expect("an answer").expect("stored");
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_make_their_own_order() {
    let (sink, commit) = start(2);
    let append = |name: &'static str| {
        let commit = commit.clone();
        tokio::spawn(async move { commit.append(batch("", name)).await })
    };
    let first = append("first");
    settle().await;
    let second = append("second");
    settle().await;
    assert_eq!(*sink.begun.lock(), ["first", "second"]);
    sink.allowed.add_permits(2);
    first.await.expect("it ends").expect("stored");
    second.await.expect("it ends").expect("stored");
}
