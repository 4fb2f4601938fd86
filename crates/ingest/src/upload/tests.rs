//! Uploads over a store in memory.

use metricsd_model::{Matcher, PromDuration};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{
    AccessToken, Catalog, JobFilter, NewWork, Quota, Right, Rights, SampleSource, SelectLimits, Selection,
    TokenCatalog, WorkState,
};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::*;
use crate::{AccessMetrics, AccessOptions, AfterCommit, CommitOptions, GroupCommit, IngestMetrics, Limits};

const NOON: Millis = 1_750_500_000_000;

struct Bench {
    store: Arc<MemoryStore>,
    ingest: Ingest,
    access: Arc<Access>,
    /// That of the tokens of uploads when they were accepted.
    quota: Quota,
    stop: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let stop = CancellationToken::new();
        let metrics = IngestMetrics::register(&mut Registry::default());
        let cache = Arc::new(MemoryCache::new(1 << 20));
        let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
        let options = CommitOptions { max_delay: Duration::from_millis(1), ..CommitOptions::default() };
        let (commit, _) = GroupCommit::start(store.clone(), options, metrics, after, stop.clone());
        let limits = Limits { max_sample_age: PromDuration::from_secs(0), ..Limits::default() };
        let access = Access::new(store.clone(), AccessOptions::default(), AccessMetrics::default());
        Self { store, ingest: Ingest::new(commit, Arc::new(limits)), access, quota: Quota::default(), stop }
    }

    fn worker(&self) -> UploadWorker {
        UploadWorker {
            id: Uuid::new_v4(),
            queue: self.store.clone(),
            ingest: self.ingest.clone(),
            options: UploadOptions {
                lease: Duration::from_millis(400),
                look_every: Duration::from_millis(5),
                parts: PartBounds { rows: 100, bytes: 1 << 20 },
                ..UploadOptions::default()
            },
            access: self.access.clone(),
            metrics: UploadMetrics::default(),
            signal: Arc::default(),
        }
    }

    async fn add(&self, format: &str, bytes: &[u8]) -> Uuid {
        self.add_with(None, format, bytes).await
    }

    async fn add_with(&self, token: Option<Uuid>, format: &str, bytes: &[u8]) -> Uuid {
        let (format, compression) = (format.into(), "identity".into());
        let spec = UploadSpec { format, compression, received_at: NOON, token, quota: self.quota };
        let work = NewWork {
            id: Uuid::new_v4(),
            kind: WorkKind::Upload,
            source_id: "s".into(),
            spec: serde_json::to_value(spec).unwrap(),
            receiving: true,
            max_receiving: 100,
            content: None,
            max_tries: 3,
            keep: Duration::from_secs(600),
        };
        self.store.submit(&work).await.unwrap();
        // Pieces that end anywhere.
        for (number, piece) in bytes.chunks(777).enumerate() {
            self.store.store_bytes(work.id, number as u64 * 777, piece, u64::MAX >> 1).await.unwrap();
        }
        self.store.seal(work.id, &work.id.to_string()).await.unwrap().unwrap();
        work.id
    }

    async fn end(&self, id: Uuid) -> (WorkState, UploadProgress, Option<String>) {
        for _ in 0..2_000 {
            let work = self.store.work(id).await.unwrap().unwrap();
            if work.state.is_over() {
                return (work.state, UploadProgress::of(&work.progress), work.error);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the upload did not end");
    }

    /// Number and sum of all stored samples of a metric.
    async fn stored(&self, name: &str) -> (usize, f64) {
        let selection = Selection {
            matchers: vec![Matcher::equal("__name__", name)],
            start: 0,
            end: Millis::MAX / 2,
            limits: SelectLimits { max_series: 1_000_000, max_samples: 10_000_000 },
        };
        let selected = self.store.select(&selection).await.unwrap();
        let values: Vec<f64> = selected.into_iter().flat_map(|series| series.values).collect();
        (values.len(), values.iter().sum())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn csv(rows: i64) -> String {
    let mut text = String::from("timestamp,metric_name,value,host\n");
    for row in 0..rows {
        text.push_str(&format!("{},up_load,{row},h{}\n", 1_000_000_000_000 + row * 1_000, row % 7));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_stored_and_its_bad_lines_told() {
    let bench = Bench::new();
    let mut text = csv(1_000);
    text.push_str("1,bad value,x,\n1,bad_value,x,\n3000000000000000,up_load,1,h\n,timeless,5,\n");
    let id = bench.add("csv", text.as_bytes()).await;
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    let (state, progress, error) = bench.end(id).await;
    assert_eq!((state, error), (WorkState::Done, None));
    assert_eq!(bench.stored("up_load").await, (1_000, 499_500.0));
    assert_eq!(bench.stored("timeless").await, (1, 5.0));
    assert_eq!((progress.rows, progress.parts, progress.stored), (1_004, 11, 1_001));
    assert_eq!((progress.bytes, progress.bytes_total), (text.len() as u64, text.len() as u64));
    let lines: Vec<(u64, Refusal)> = progress.errors.iter().map(|error| (error.line, error.reason)).collect();
    assert_eq!(progress.errors_total, 3);
    let expected = [(1_002, Refusal::InvalidValue), (1_003, Refusal::InvalidValue), (1_004, Refusal::TooNew)];
    let mut sorted = lines.clone();
    sorted.sort_unstable_by_key(|(line, _)| *line);
    assert_eq!(sorted, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_worker_goes_on_where_one_was_lost() {
    let bench = Bench::new();
    let id = bench.add("csv", csv(20_000).as_bytes()).await;
    for _ in 0..3 {
        let lost = tokio::spawn(bench.worker().run(CancellationToken::new()));
        let before = UploadProgress::of(&bench.store.work(id).await.unwrap().unwrap().progress).parts;
        for _ in 0..2_000 {
            let work = bench.store.work(id).await.unwrap().unwrap();
            if work.state.is_over() || UploadProgress::of(&work.progress).parts > before + 5 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // As a kill would: no word to anyone.
        lost.abort();
    }
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    let (state, progress, _) = bench.end(id).await;
    assert_eq!((state, progress.stored, progress.rows), (WorkState::Done, 20_000, 20_000));
    assert_eq!(bench.stored("up_load").await, (20_000, 199_990_000.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_given_up_at_once() {
    let bench = Bench::new();
    let wrong = [
        ("csv", b"PAR1 is no header".as_slice()),
        ("parquet", b"metric_name,value\n"),
        ("openmetrics", b"a 1\n"),
        ("xml", b"<a/>"),
    ];
    let mut ids = Vec::new();
    for (format, bytes) in wrong {
        ids.push(bench.add(format, bytes).await);
    }
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    for id in ids {
        let (state, progress, error) = bench.end(id).await;
        assert_eq!((state, progress.stored), (WorkState::Dead, 0));
        assert!(error.is_some_and(|error| !error.is_empty()));
    }
}

#[tokio::test]
async fn what_is_being_stored_when_an_upload_is_cancelled_is_waited_for() {
    let bench = Bench::new();
    let id = bench.add("csv", csv(1).as_bytes()).await;
    let worker = bench.worker();
    let work =
        bench.store.claim(worker.id, &[WorkKind::Upload], worker.options.lease).await.unwrap().unwrap();
    bench.store.cancel(id).await.unwrap();
    let mut pulse = Pulse::new(&worker, &work);
    let store = async || {
        tokio::time::sleep(Duration::from_millis(350)).await;
        7
    };
    let cancelled = |stopped| matches!(stopped, Stopped::Outcome(Outcome::Cancelled));
    assert_eq!(pulse.until_done(store()).await.ok(), Some(7));
    assert!(pulse.moved(&UploadProgress::default()).await.is_err_and(cancelled));
    assert!(pulse.held(store()).await.is_err_and(cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_an_upload_between_parts() {
    let bench = Bench::new();
    let id = bench.add("csv", csv(50_000).as_bytes()).await;
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    while bench.store.work(id).await.unwrap().unwrap().progress == json!(null) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.store.cancel(id).await.unwrap();
    let (state, progress, _) = bench.end(id).await;
    assert_eq!(state, WorkState::Cancelled);
    // What was stored before stays, and is told.
    let (stored, _) = bench.stored("up_load").await;
    assert!(progress.stored as usize == stored && stored < 50_000, "{} of {stored}", progress.stored);
}

/// A token that may send so many samples a second.
async fn token(bench: &Bench, samples_per_second: u64) -> Uuid {
    let made = Access::new_token().unwrap();
    let token = AccessToken {
        id: made.id,
        name: "t".to_owned(),
        digest: made.digest,
        rights: Rights::new([Right::Push]),
        source_id: None,
        quota: Quota { samples_per_second: Some(samples_per_second), ..Quota::default() },
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    bench.store.create_token(&token).await.unwrap();
    bench.access.refresh().await.unwrap();
    made.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_waits_for_the_quota_of_its_token() {
    let bench = Bench::new();
    let token = token(&bench, 100).await;
    // Ten seconds' worth may come at once; the last part waits for a second.
    let id = bench.add_with(Some(token), "csv", csv(1_100).as_bytes()).await;
    let begun = Instant::now();
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    let (state, progress, error) = bench.end(id).await;
    assert_eq!((state, error, progress.stored), (WorkState::Done, None, 1_100));
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(bench.stored("up_load").await.0, 1_100);
    let caller = bench.access.caller_of(token, Quota::default());
    assert!(caller.take_samples(500).is_err(), "it is used up for pushes too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_waits_for_a_quota_is_read_once() {
    let bench = Bench::new();
    let token = token(&bench, 50).await;
    // Five hundred may come at once; the last part waits for two seconds.
    let id = bench.add_with(Some(token), "csv", csv(600).as_bytes()).await;
    let begun = Instant::now();
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    assert_eq!(bench.end(id).await.1.stored, 600);
    let took = begun.elapsed().as_millis() as i64;
    assert!(took > 1_500, "{took} ms");
    let jobs = bench.store.jobs(&JobFilter::default(), 100).await.unwrap();
    let began = || jobs.iter().map(|job| job.created_at);
    assert_eq!(jobs.len(), 6);
    let apart = began().max().unwrap() - began().min().unwrap();
    assert!(
        apart < took - 1_000,
        "the last was read before the wait, not {apart} of {took} ms after the first"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_accepted_is_finished_without_its_token_and_within_its_quota() {
    let mut bench = Bench::new();
    let revoked = token(&bench, 100).await;
    let id = bench.add_with(Some(revoked), "csv", csv(900).as_bytes()).await;
    bench.store.revoke_token(revoked, NOON).await.unwrap();
    bench.access.refresh().await.unwrap();
    // Of another token nothing is left but what the upload says.
    bench.quota = Quota { samples_per_second: Some(0), ..Quota::default() };
    let late = csv(10).replace("up_load", "late");
    let unknown = bench.add_with(Some(Uuid::new_v4()), "csv", late.as_bytes()).await;
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    let (state, progress, error) = bench.end(id).await;
    assert_eq!((state, error, progress.stored), (WorkState::Done, None, 900));
    assert!(bench.access.caller_of(revoked, Quota::default()).take_samples(500).is_err(), "its quota held");
    for _ in 0..500 {
        if bench.store.work(unknown).await.unwrap().unwrap().error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let work = bench.store.work(unknown).await.unwrap().unwrap();
    assert!(work.error.unwrap().contains("samples_per_second"), "its job says why");
    assert_eq!(bench.stored("late").await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_send_nothing_uploads_nothing() {
    let bench = Bench::new();
    let token = token(&bench, 0).await;
    let id = bench.add_with(Some(token), "csv", csv(10).as_bytes()).await;
    tokio::spawn(bench.worker().run(bench.stop.clone()));
    for _ in 0..500 {
        let work = bench.store.work(id).await.unwrap().unwrap();
        if work.error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let work = bench.store.work(id).await.unwrap().unwrap();
    assert!(work.error.unwrap().contains("samples_per_second"), "its job says why");
    assert_eq!(bench.stored("up_load").await.0, 0);
}
