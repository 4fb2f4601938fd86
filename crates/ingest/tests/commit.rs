//! Group commit under pressure: what is acknowledged, what is not, and who suffers for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_ingest::{
    AfterCommit, CommitOptions, GroupCommit, Ingest, IngestError, IngestMetrics, Limits, OwnedWrite,
    Protocol, Stores, WriteFailure, WriteOrigin, Written,
};
use metricsd_model::{Batch, Matcher, Refusal};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{ErrorKind, PortError, Receipt, SampleSink, SampleSource, SelectLimits, Selection};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A store that is away for its first `away` calls, never takes batches of the source `poison`, panics at those of the
/// source `panic`, and says of those of the source `stubborn` that it will take them later, which it never does.
struct Moody {
    store: Arc<MemoryStore>,
    away: AtomicUsize,
    calls: AtomicUsize,
}

#[async_trait]
impl SampleSink for Moody {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let away = self.away.load(Ordering::SeqCst);
        if away > 0 {
            self.away.store(away - 1, Ordering::SeqCst);
            return Err(PortError::new(ErrorKind::Unavailable, "away"));
        }
        if batches.iter().any(|batch| batch.collection.source_id == "poison") {
            return Err(PortError::new(ErrorKind::Invalid, "poisoned"));
        }
        assert!(batches.iter().all(|batch| batch.collection.source_id != "panic"), "as it was asked to");
        if batches.iter().any(|batch| batch.collection.source_id == "stubborn") {
            return Err(PortError::new(ErrorKind::Unavailable, "not just now"));
        }
        self.store.append(batches).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        match self.away.load(Ordering::SeqCst) > 0 {
            true => Err(PortError::new(ErrorKind::Unavailable, "away")),
            false => Ok(()),
        }
    }
}

struct Bench {
    sink: Arc<Moody>,
    store: Arc<MemoryStore>,
    ingest: Ingest,
    writer: JoinHandle<()>,
    stop: CancellationToken,
}

fn bench(away: usize, options: CommitOptions) -> Bench {
    let store = Arc::new(MemoryStore::new());
    let sink = Arc::new(Moody { store: store.clone(), away: away.into(), calls: 0.into() });
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let (after, _) =
        AfterCommit::start(store.clone(), Arc::new(MemoryCache::new(1 << 20)), metrics.clone(), stop.clone());
    let (commit, writer) = GroupCommit::start(sink.clone(), options, metrics, after, stop.clone());
    Bench { sink, store, ingest: Ingest::new(commit, Arc::new(Limits::default())), writer, stop }
}

const AT: i64 = 1_750_000_000_000;

/// A push of floats, by name.
async fn push(
    ingest: &Ingest,
    source: &str,
    key: &str,
    samples: &[(&str, f64)],
) -> Result<Written, IngestError> {
    let mut body = BodyWriter::new();
    for (name, value) in samples {
        body.series().label("__name__", name).label("l", "v").sample(AT, *value);
    }
    let origin = WriteOrigin { key: Some(key.to_owned()), ..WriteOrigin::new(source, Protocol::Custom) };
    let write = OwnedWrite { origin, body: body.into_bytes().into(), received_at: AT };
    ingest.write(write).await.map_err(|failure| match failure {
        WriteFailure::Failed(error) => error,
        WriteFailure::Refused(error) => panic!("{error}"),
    })
}

async fn stored(store: &MemoryStore, name: &str) -> usize {
    let limits = SelectLimits { max_series: 1_000, max_samples: 1_000_000 };
    let matchers = vec![Matcher::equal("__name__", name)];
    let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
    store.select(&selection).await.unwrap().iter().map(|series| series.values.len()).sum()
}

#[tokio::test]
async fn batches_share_their_commits() {
    let bench = bench(0, CommitOptions::default());
    let pushes = (0..100).map(|n| {
        let ingest = bench.ingest.clone();
        async move { push(&ingest, &format!("s{n}"), "k", &[(&format!("m{n}"), 1.0)]).await.unwrap() }
    });
    let answers = futures_join(pushes).await;
    assert!(answers.iter().all(|answer| answer.stored == 1 && !answer.duplicate));
    assert!(bench.sink.calls.load(Ordering::SeqCst) <= 3, "a hundred batches in a few commits");
    let again = push(&bench.ingest, "s7", "k", &[("m7", 1.0)]).await.unwrap();
    assert!(again.duplicate && answers[7].id == again.id);
    assert_eq!(stored(&bench.store, "m7").await, 1);
}

async fn futures_join<F: Future + Send + 'static>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Send,
{
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[tokio::test]
async fn a_bad_batch_harms_no_neighbour_and_a_bad_item_no_other() {
    let bench = bench(0, CommitOptions::default());
    let (good, bad) = (bench.ingest.clone(), bench.ingest.clone());
    let items = [("ok", 1.0), ("", 2.0), ("ok", 3.0), ("other", f64::NAN)];
    let (good, bad) =
        tokio::join!(push(&good, "good", "k", &items), push(&bad, "poison", "k", &[("poisoned", 1.0)]),);
    assert!(matches!(bad, Err(IngestError::Store { retryable: false, .. })), "{bad:?}");
    let good = good.unwrap();
    let reasons: Vec<_> = good.faults.iter().map(|fault| (fault.series, fault.reason)).collect();
    assert_eq!((good.stored, reasons), (2, vec![(1, Refusal::InvalidName), (2, Refusal::Duplicate)]));
    assert_eq!((stored(&bench.store, "ok").await, stored(&bench.store, "poisoned").await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_while_the_store_is_away() {
    let bench = bench(5, CommitOptions::default());
    let answer = push(&bench.ingest, "s", "k", &[("m", 1.0)]).await.unwrap();
    assert_eq!((answer.stored, bench.sink.calls.load(Ordering::SeqCst)), (1, 6));
    // Longer than a client's patience: it is told to come back, and what it sent is stored once all the same.
    bench.sink.away.store(30, Ordering::SeqCst);
    let impatient = push(&bench.ingest, "s", "k2", &[("m2", 1.0)]).await;
    assert!(matches!(impatient, Err(IngestError::Overloaded { .. })), "{impatient:?}");
    assert_eq!(stored(&bench.store, "m2").await, 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let again = push(&bench.ingest, "s", "k2", &[("m2", 1.0)]).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(stored(&bench.store, "m2").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_away_and_recovers() {
    let options = CommitOptions { max_queue_bytes: 15_000, ..CommitOptions::default() };
    let bench = bench(4, options);
    let pushes = (0..10).map(|n| {
        let ingest = bench.ingest.clone();
        async move { push(&ingest, &format!("s{n}"), "k", &[("m", 1.0)]).await }
    });
    let answers = futures_join(pushes).await;
    let turned_away = answers.iter().filter(|a| matches!(a, Err(IngestError::Overloaded { .. }))).count();
    assert_eq!((turned_away, answers.iter().filter(|a| a.is_ok()).count()), (7, 3));
    assert!(push(&bench.ingest, "late", "k", &[("m3", 1.0)]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_holds_up_nothing_of_another() {
    let store = Arc::new(MemoryStore::new());
    let sink = |away: usize| Arc::new(Moody { store: store.clone(), away: away.into(), calls: 0.into() });
    let (away, there) = (sink(usize::MAX), sink(0));
    let mut registry = Registry::default();
    let metrics = IngestMetrics::register(&mut registry);
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let each: Vec<Arc<dyn SampleSink>> = vec![away.clone(), there];
    let route = Arc::new(|_: &str, source: &str| usize::from(source.starts_with("there")));
    let stores = Stores { whole: store.clone(), each, route, backlogs: Vec::new() };
    let options = CommitOptions { max_queue_bytes: 26_000, ..CommitOptions::default() };
    let (commit, writers) = GroupCommit::start_over(stores, options, metrics.clone(), after, stop.clone());
    let ingest = Ingest::new(commit.clone(), Arc::new(Limits::default()));
    let send = |source: String| {
        let ingest = ingest.clone();
        tokio::spawn(async move { push(&ingest, &source, "k", &[("m", 1.0)]).await })
    };
    let lost: Vec<_> = (0..10).map(|n| send(format!("away-{n}"))).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(commit.is_full("", "away-1") && !commit.is_full("", "there"), "each has its part of the bytes");
    let waiting = metrics.queue_bytes.get();
    assert!((1..=13_000).contains(&waiting), "{waiting}");
    for n in 0..10 {
        assert_eq!(send(format!("there-{n}")).await.unwrap().unwrap().stored, 1, "at once");
    }
    assert_eq!(metrics.queue_bytes.get(), waiting, "what waits for all of them is counted");
    stop.cancel();
    for answer in lost {
        assert!(answer.await.unwrap().is_err());
    }
    assert!(away.calls.load(Ordering::SeqCst) > 1);
    drop((commit, ingest));
    writers.await.unwrap();
    assert_eq!(metrics.queue_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_someone_waits_for_is_committed_at_once_if_it_is_worth_it() {
    let bench = bench(0, CommitOptions::default());
    let took = async |key: &str, samples: usize| {
        let names: Vec<String> = (0..samples).map(|at| format!("m{at}")).collect();
        let samples: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        let started = tokio::time::Instant::now();
        push(&bench.ingest, "s", key, &samples).await.unwrap();
        started.elapsed()
    };
    assert!(took("small", 10).await >= Duration::from_millis(5), "others may come");
    assert_eq!(took("large", 1_000).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_end_answers_everybody() {
    let bench = bench(usize::MAX, CommitOptions::default());
    let ingest = bench.ingest.clone();
    let waiting = tokio::spawn(async move { push(&ingest, "s", "k", &[("m", 1.0)]).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.stop.cancel();
    assert!(matches!(waiting.await.unwrap(), Err(IngestError::Store { retryable: true, .. })));
    drop(bench.ingest);
    bench.writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_a_living_store_never_takes_holds_nobody_up() {
    let options = CommitOptions { patience: Duration::from_secs(60), ..CommitOptions::default() };
    let bench = bench(0, options);
    let (stubborn, good) = (bench.ingest.clone(), bench.ingest.clone());
    let (stubborn, good) = tokio::join!(
        push(&stubborn, "stubborn", "k", &[("never", 1.0)]),
        push(&good, "good", "k", &[("ok", 1.0)]),
    );
    assert!(matches!(stubborn, Err(IngestError::Store { retryable: true, .. })), "{stubborn:?}");
    assert_eq!(good.unwrap().stored, 1);
}

#[tokio::test]
async fn a_push_of_which_nothing_is_accepted_does_not_take_its_key() {
    let bench = bench(0, CommitOptions::default());
    let bad = push(&bench.ingest, "s", "k", &[("", 1.0)]).await.unwrap();
    assert_eq!((bad.stored, bad.duplicate), (0, false));
    let mended = push(&bench.ingest, "s", "k", &[("m", 1.0)]).await.unwrap();
    assert_eq!((mended.stored, mended.duplicate), (1, false));
    assert_eq!(stored(&bench.store, "m").await, 1);
}

#[tokio::test]
async fn a_commit_that_panics_keeps_no_room_in_the_queue() {
    // A queue that has room for one batch, and only while nothing else waits.
    let bench = bench(0, CommitOptions { max_queue_bytes: 1, ..CommitOptions::default() });
    for _ in 0..3 {
        let lost = push(&bench.ingest, "panic", "k", &[("m", 1.0)]).await.unwrap_err();
        assert!(matches!(lost, IngestError::Closed), "{lost}");
    }
    let next = push(&bench.ingest, "s", "k", &[("m", 1.0)]).await.unwrap();
    assert_eq!((next.stored, stored(&bench.store, "m").await), (1, 1));
}
