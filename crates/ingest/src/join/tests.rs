//! Pushes that share a collection, and pushes that do not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_model::{Job, JobStatus, Matcher, Refusal, SeriesId};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{
    Catalog, ErrorKind, JobFilter, Outbox, PortError, SampleSink, SampleSource, SelectLimits, SelectedSeries,
    Selection,
};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use std::collections::HashSet;

use super::*;
use crate::{
    AfterCommit, CommitOptions, Ingest, IngestMetrics, Limits, OwnedWrite, WriteFailure, WriteOrigin, Written,
};

const AT: Millis = 1_750_000_000_000;
const WITHIN: Duration = Duration::from_millis(100);

/// A store that takes no batch with a series called `poison`, and that counts what it is given.
struct Picky {
    store: Arc<MemoryStore>,
    appended: AtomicUsize,
}

#[async_trait]
impl SampleSink for Picky {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        let series =
            |batch: &Arc<Batch>| batch.frames.iter().flat_map(|frame| frame.layout.series.clone()).collect();
        let all: Vec<Vec<Arc<metricsd_model::Series>>> = batches.iter().map(series).collect();
        if all.iter().flatten().any(|series| series.labels.get("__name__") == Some("poison")) {
            return Err(PortError::new(ErrorKind::Invalid, "poisoned"));
        }
        self.appended.fetch_add(batches.len(), Ordering::SeqCst);
        self.store.append(batches).await
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.store.stored_series(ids).await
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.store.stored_pushes(ids).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

struct Bench {
    store: Arc<MemoryStore>,
    ingest: Ingest,
    _stop: tokio_util::sync::DropGuard,
}

fn bench_of(store: Arc<MemoryStore>, options: CommitOptions, within: Duration) -> Bench {
    let sink = Arc::new(Picky { store: store.clone(), appended: AtomicUsize::new(0) });
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let (commit, _) = GroupCommit::start(sink, options, metrics, after, stop.clone());
    let ingest = Ingest::new(commit, Arc::new(Limits::default())).joining(within);
    Bench { store, ingest, _stop: stop.drop_guard() }
}

fn bench() -> Bench {
    bench_of(Arc::new(MemoryStore::new()), CommitOptions::default(), WITHIN)
}

/// A sample: name, time, value.
type Given<'a> = (&'a str, Millis, f64);

fn write(source: &str, samples: &[Given<'_>]) -> OwnedWrite {
    let mut body = BodyWriter::new();
    for (name, at, value) in samples {
        body.series().label("__name__", name).sample(*at, *value);
    }
    let origin = WriteOrigin::new(source, Protocol::Custom);
    OwnedWrite { origin, body: body.into_bytes().into(), received_at: AT }
}

impl Bench {
    fn push(&self, write: OwnedWrite) -> JoinHandle<Result<Written, WriteFailure>> {
        let ingest = self.ingest.clone();
        tokio::spawn(async move { ingest.write(write).await })
    }

    /// Pushes one after the other, none waiting for the one before.
    async fn push_all(&self, writes: Vec<OwnedWrite>) -> Vec<Written> {
        let mut pushes = Vec::new();
        for write in writes {
            pushes.push(self.push(write));
            tokio::task::yield_now().await;
        }
        let mut answers = Vec::new();
        for push in pushes {
            answers.push(push.await.unwrap().unwrap());
        }
        answers
    }

    /// Makes a source busy, so that what follows is joined: in two collections.
    async fn busy(&self, source: &str) {
        let answers = self.push_all((0..3).map(|n| write(source, &[("busy", AT + n, 0.0)])).collect()).await;
        assert_eq!(answers.iter().filter(|answer| answer.shared_since.is_some()).count(), 2);
    }

    async fn jobs(&self) -> Vec<Job> {
        self.store.jobs(&JobFilter::default(), 10_000).await.unwrap()
    }

    /// Jobs but for those of [`Self::busy`]; they all began at one time and stand in the order of their commits.
    async fn jobs_of(&self, count: usize) -> Vec<Job> {
        let jobs = self.jobs().await.split_off(2);
        assert_eq!(jobs.len(), count, "{jobs:?}");
        jobs
    }

    async fn samples(&self, name: &str) -> Vec<(Millis, f64)> {
        let limits = SelectLimits { max_series: 10_000, max_samples: 1_000_000 };
        let matchers = vec![Matcher::equal("__name__", name)];
        let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
        let all: Vec<SelectedSeries> = self.store.select(&selection).await.unwrap();
        all.iter().flat_map(|one| one.timestamps.iter().copied().zip(one.values.iter().copied())).collect()
    }
}

fn job_id(written: &Written) -> String {
    written.id.unwrap().collection_batch_id(written.shared_since.unwrap_or(AT))
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_a_source_is_few_collections() {
    let bench = bench();
    let writes: Vec<OwnedWrite> =
        (0..500).map(|n| write("s", &[("m", AT + n, n as f64), (&format!("own_{n}"), AT, 1.0)])).collect();
    let began = Instant::now();
    let answers = bench.push_all(writes).await;
    assert!(began.elapsed() < WITHIN * 2, "{:?}", began.elapsed());
    let jobs = bench.jobs().await;
    assert!(jobs.len() <= 3, "{} collections", jobs.len());
    assert_eq!(bench.samples("m").await.len(), 500);
    assert_eq!(bench.samples("own_499").await, [(AT, 1.0)]);
    assert!(answers.iter().all(|answer| answer.stored == 2 && answer.received == 2 && !answer.duplicate));
    let named: BTreeSet<String> = answers.iter().map(job_id).collect();
    assert_eq!(named, jobs.iter().map(|job| job.job_id.clone()).collect(), "answers name the jobs there are");
    assert_eq!(jobs.iter().map(|job| job.ledger.stored).sum::<u64>(), 1_000);
    assert_eq!(jobs.iter().map(|job| job.metrics_collected).sum::<u64>(), 1_000);
    assert!(jobs.iter().all(|job| job.ledger.unexplained() == 0 && job.status == JobStatus::Completed));
    let events = bench.store.pending(uuid::Uuid::nil(), WITHIN, 1_000).await.unwrap();
    assert_eq!(events.len(), jobs.len(), "an event a collection");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_quiet_does_not_wait() {
    let bench = bench();
    for n in 0..5 {
        let began = Instant::now();
        let written = bench.ingest.write(write("s", &[("m", AT + n, 1.0)])).await.unwrap();
        assert!(written.shared_since.is_none());
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        tokio::time::sleep(WITHIN * 2).await;
    }
    assert_eq!(bench.jobs().await.len(), 5);
    assert!(bench.ingest.joiner().unwrap().sources.lock().is_empty(), "nothing is left of a quiet source");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_its_answers_waits_no_longer() {
    let bench = bench();
    let began = Instant::now();
    for n in 0..50 {
        let written = bench.ingest.write(write("s", &[("m", AT + n, 1.0)])).await.unwrap();
        assert!(written.shared_since.is_none());
    }
    assert!(began.elapsed() < WITHIN * 10, "{:?}", began.elapsed());
    assert_eq!(bench.jobs().await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_push_waits_no_longer_than_configured() {
    let bench = bench();
    bench.busy("s").await;
    let began = Instant::now();
    bench.push_all((0..3).map(|n| write("s", &[("m", AT + n, 1.0)])).collect()).await;
    // The commit itself gathers for some milliseconds.
    assert!(began.elapsed() <= WITHIN + Duration::from_millis(50), "{:?}", began.elapsed());
    let jobs = bench.jobs_of(1).await;
    assert_eq!(jobs[0].ledger.received, 3);
}

#[tokio::test(start_paused = true)]
async fn some_pushes_have_collections_of_their_own() {
    let bench = bench();
    bench.busy("s").await;
    let names: Vec<String> = (0..=MAX_PUSH_WEIGHT).map(|n| format!("large_{n}")).collect();
    let large: Vec<Given<'_>> = names.iter().map(|name| (name.as_str(), AT, 1.0)).collect();
    let small = |n: Millis| write("s", &[("m", AT + n, 1.0)]);
    let with = |origin: &dyn Fn(&mut WriteOrigin), n| {
        let mut write = small(n);
        origin(&mut write.origin);
        write
    };
    let writes = vec![
        small(0),
        with(&|origin| origin.key = Some("k1".into()), 1),
        with(&|origin| origin.key = Some("k2".into()), 2),
        write("s", &large),
        with(&|origin| origin.source_id = "other".into(), 3),
        with(&|origin| origin.target_id = "target".into(), 4),
        with(&|origin| origin.protocol = Protocol::Influx, 5),
        with(&|origin| origin.protocol = Protocol::Pushgateway, 6),
        small(7),
    ];
    let answers = bench.push_all(writes).await;
    let shares: Vec<bool> = answers.iter().map(|answer| answer.shared_since.is_some()).collect();
    assert_eq!(shares, [true, false, false, false, false, false, false, false, true]);
    assert_eq!(answers[0].id, answers[8].id);
    assert_eq!(bench.jobs_of(8).await.iter().filter(|job| job.ledger.stored == 2).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_to_wait_nothing_is_joined() {
    let bench = bench_of(Arc::new(MemoryStore::new()), CommitOptions::default(), Duration::ZERO);
    let answers = bench.push_all((0..20).map(|n| write("s", &[("m", AT + n, 1.0)])).collect()).await;
    assert!(answers.iter().all(|answer| answer.shared_since.is_none()));
    assert_eq!(bench.jobs().await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn faults_stay_with_the_push_that_has_them() {
    let bench = bench();
    bench.busy("s").await;
    let writes = vec![
        write("s", &[("good", AT, 1.0)]),
        write("s", &[("bad", AT + 10 * 86_400_000, 1.0), ("beside", AT, 2.0)]),
        write("s", &[("only_bad", AT + 10 * 86_400_000, 1.0)]),
        write("s", &[("good", AT + 1, 1.0)]),
    ];
    let answers = bench.push_all(writes).await;
    assert_eq!(answers.iter().map(|answer| answer.stored).collect::<Vec<_>>(), [1, 1, 0, 1]);
    assert!(answers[0].is_whole() && answers[3].is_whole());
    assert_eq!(answers[1].refused[&Refusal::TooNew], 1);
    assert_eq!((answers[1].faults.len(), answers[1].faults[0].series), (1, 0));
    assert_eq!(answers[2].faults.len(), 1);
    let jobs = bench.jobs_of(1).await;
    assert_eq!(jobs[0].status, JobStatus::Partial);
    assert_eq!((jobs[0].ledger.received, jobs[0].ledger.stored), (5, 3));
    assert_eq!(jobs[0].ledger.refused[&Refusal::TooNew], 2);
    assert!(jobs[0].error_details.as_ref().unwrap().contains("bad"));
}

#[tokio::test(start_paused = true)]
async fn one_that_the_store_cannot_take_harms_no_other() {
    let bench = bench();
    bench.busy("s").await;
    let names = ["a", "b", "poison", "c"];
    let pushes: Vec<_> = names.iter().map(|name| bench.push(write("s", &[(name, AT, 1.0)]))).collect();
    for (name, push) in names.iter().zip(pushes) {
        assert_eq!(push.await.unwrap().is_ok(), *name != "poison", "{name}");
    }
    for name in ["a", "b", "c"] {
        assert_eq!(bench.samples(name).await, [(AT, 1.0)]);
    }
    assert_eq!(bench.samples("poison").await, []);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_loses_nothing() {
    let bench = bench();
    bench.busy("s").await;
    let pushes: Vec<_> = (0..10).map(|n| bench.push(write("s", &[("m", AT + n, 1.0)]))).collect();
    tokio::time::sleep(WITHIN / 10).await;
    for push in pushes.iter().step_by(2) {
        push.abort();
    }
    for push in pushes.into_iter().skip(1).step_by(2) {
        assert_eq!(push.await.unwrap().unwrap().stored, 1);
    }
    assert_eq!(bench.samples("m").await.len(), 10);
    bench.jobs_of(1).await;
    // The one that makes its source busy goes away itself.
    let first = bench.push(write("t", &[("first", AT, 1.0)]));
    tokio::task::yield_now().await;
    first.abort();
    let second = bench.push(write("t", &[("second", AT, 1.0)])).await.unwrap().unwrap();
    assert_eq!(second.stored, 1);
    assert_eq!((bench.samples("first").await.len(), bench.samples("second").await.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn enough_samples_do_not_wait() {
    let within = Duration::from_secs(10);
    let bench = bench_of(Arc::new(MemoryStore::new()), CommitOptions::default(), within);
    bench.busy("s").await;
    let names: Vec<String> = (0..MAX_PUSH_WEIGHT).map(|n| format!("m_{n}")).collect();
    let writes = (0..110).map(|n| {
        let samples: Vec<Given<'_>> = names.iter().map(|name| (name.as_str(), AT + n, 1.0)).collect();
        write("s", &samples)
    });
    let began = Instant::now();
    let pushes: Vec<_> = writes.map(|write| bench.push(write)).collect();
    for push in pushes.into_iter().take(100) {
        push.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < within / 10, "{:?}", began.elapsed());
    assert!(bench.jobs_of(2).await.iter().all(|job| job.ledger.stored == ENOUGH as u64));
}

#[tokio::test(start_paused = true)]
async fn families_and_exemplars_count_as_samples_do() {
    let within = Duration::from_secs(10);
    let bench = bench_of(Arc::new(MemoryStore::new()), CommitOptions::default(), within);
    bench.busy("s").await;
    // Nothing but what is said of families, then a sample with many exemplars.
    let families = |push: usize| {
        let mut body = BodyWriter::new();
        (0..MAX_PUSH_WEIGHT)
            .for_each(|n| body.metadata(MetricKind::Counter, &format!("f{push}_{n}"), "What it counts", ""));
        OwnedWrite { body: body.into_bytes().into(), ..write("s", &[]) }
    };
    let exemplars = |count: usize| {
        let mut body = BodyWriter::new();
        let mut series = body.series();
        series.label("__name__", "m").sample(AT, 1.0);
        (0..count).for_each(|n| {
            series.exemplar([("trace_id", format!("{n}").as_str())], 1.0, AT - n as i64);
        });
        drop(series);
        OwnedWrite { body: body.into_bytes().into(), ..write("s", &[]) }
    };
    let began = Instant::now();
    let pushes: Vec<_> = (0..51).map(|push| bench.push(families(push))).collect();
    let large = bench.push(exemplars(MAX_PUSH_WEIGHT)).await.unwrap().unwrap();
    assert!(large.shared_since.is_none() && large.exemplars_dropped == 0, "{large:?}");
    for push in pushes.into_iter().take(ENOUGH / MAX_PUSH_WEIGHT) {
        assert!(push.await.unwrap().unwrap().shared_since.is_some());
    }
    assert!(began.elapsed() < within / 10, "{:?}", began.elapsed());
    assert_eq!(
        bench.store.families(None, 20_000).await.unwrap().len(),
        ENOUGH,
        "of those that are committed"
    );
    let small = bench.push(exemplars(MAX_PUSH_WEIGHT - 1)).await.unwrap().unwrap();
    assert!(small.shared_since.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_comes_first_is_stored_first() {
    let bench = bench();
    bench.busy("s").await;
    // The same series and times with other values: as with pushes that are stored apart, the first is read.
    let writes = (0..20).map(|n| write("s", &[("m", AT, n as f64), ("n", AT + n, n as f64)])).collect();
    let answers = bench.push_all(writes).await;
    assert!(answers.iter().all(|answer| answer.stored == 2 && answer.is_whole()));
    assert_eq!(bench.samples("m").await, [(AT, 0.0)]);
    assert_eq!(bench.samples("n").await.len(), 20);
    let jobs = bench.jobs_of(1).await;
    let ledger = &jobs[0].ledger;
    assert_eq!((ledger.received, ledger.stored, ledger.refused[&Refusal::Duplicate]), (40, 21, 19));
    assert_eq!((ledger.unexplained(), jobs[0].status), (0, JobStatus::Completed));
}

#[tokio::test(start_paused = true)]
async fn repeats_are_known_alone_and_among_others() {
    let store = Arc::new(MemoryStore::new());
    let bench = bench_of(store.clone(), CommitOptions::default(), WITHIN);
    bench.busy("s").await;
    let pushes = || (0..4).map(|n| write("s", &[("m", AT + n, n as f64)])).collect::<Vec<_>>();
    let first = bench.push_all(pushes()).await;
    let shared = first[0].id;
    assert!(first.iter().all(|answer| answer.id == shared && !answer.duplicate));
    // By a process that was started since: alone, among others, and all of them.
    let bench = bench_of(store, CommitOptions::default(), WITHIN);
    let alone = bench.ingest.write(pushes().remove(2)).await.unwrap();
    assert!(alone.duplicate && alone.id == shared && alone.shared_since == Some(AT), "{alone:?}");
    let mut others = pushes();
    others.truncate(2);
    others.extend([write("s", &[("new", AT, 1.0)]), write("s", &[("new", AT + 1, 1.0)])]);
    let answers = bench.push_all(others).await;
    assert_eq!(answers.iter().map(|answer| answer.duplicate).collect::<Vec<_>>(), [true, true, false, false]);
    assert!(answers[1].id == shared && answers[2].id != shared);
    let again = bench.push_all(pushes()).await;
    assert!(again.iter().all(|answer| answer.duplicate && answer.id == shared), "{again:?}");
    let jobs = bench.jobs_of(2).await;
    assert_eq!(jobs.iter().map(|job| job.ledger.stored).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(bench.samples("m").await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_alone_is_known_among_others() {
    let bench = bench();
    bench.busy("s").await;
    let twice = || write("s", &[("m", AT, 1.0)]);
    let answers = bench
        .push_all(vec![twice(), write("s", &[("busy", AT, 0.0)]), twice(), write("s", &[("n", AT, 1.0)])])
        .await;
    assert_eq!(answers.iter().map(|answer| answer.duplicate).collect::<Vec<_>>(), [false, true, true, false]);
    assert!(answers[1].shared_since.is_none(), "it has a collection of its own");
    assert_eq!(answers[0].id, answers[2].id);
    assert_eq!(bench.jobs_of(1).await[0].ledger.received, 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_counts_as_queued() {
    let options = CommitOptions { max_queue_bytes: 100 << 10, ..CommitOptions::default() };
    let bench = bench_of(Arc::new(MemoryStore::new()), options, Duration::from_secs(5));
    bench.busy("s").await;
    let pushes: Vec<_> = (0..50).map(|n| bench.push(write("s", &[("m", AT + n, 1.0)]))).collect();
    let mut answers = Vec::new();
    for push in pushes {
        answers.push(push.await.unwrap());
    }
    let stored = answers.iter().flatten().count();
    assert!((10..30).contains(&stored), "{stored} of 4 KiB and more each");
    let away = |answer: &Result<Written, WriteFailure>| {
        matches!(answer, Err(WriteFailure::Failed(IngestError::Overloaded { .. })))
    };
    assert_eq!(answers.iter().filter(|answer| away(answer)).count(), 50 - stored);
    assert_eq!(bench.samples("m").await.len(), stored);
    // The room is free again.
    assert_eq!(bench.push_all(vec![write("s", &[("later", AT, 1.0)])]).await[0].stored, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Joined, pushes store what they would have stored apart.
    #[test]
    fn a_joined_batch_holds_what_its_parts_do(
        pushes in proptest::collection::vec(
            proptest::collection::vec((0usize..5, -7_200_000i64..7_200_000, 0u8..3), 1..6), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let writes = || {
                let names = ["a", "b", "c", "d", "e"];
                let given = move |(name, at, value): &(usize, i64, u8)| {
                    // Few times, so that some meet.
                    (names[*name], AT - 10_000_000 + at / 3_000_000 * 3_000_000, f64::from(*value))
                };
                pushes.iter().map(move |push| write("s", &push.iter().map(given).collect::<Vec<_>>()))
            };
            let (joined, apart) = (bench(), bench());
            joined.busy("s").await;
            let answers = joined.push_all(writes().collect()).await;
            for (write, answer) in writes().zip(answers) {
                let alone = apart.ingest.write(write).await.unwrap();
                assert_eq!((alone.stored, alone.repeated, alone.refused), (answer.stored, answer.repeated, answer.refused));
                tokio::time::sleep(WITHIN * 2).await;
            }
            for name in ["a", "b", "c", "d", "e"] {
                assert_eq!(joined.samples(name).await, apart.samples(name).await);
            }
            assert!(joined.jobs().await.iter().all(|job| job.ledger.unexplained() == 0));
        });
    }
}
