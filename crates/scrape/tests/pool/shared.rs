//! Workers that share targets: what one of them was given and did not scrape is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Batch, BatchId, Job, Millis};
use metricsd_ports::membership::{BUCKETS, Grant, Renewal};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{Catalog, ErrorKind, JobFilter, PortError, Receipt, SampleSink};
use metricsd_scrape::Ownership;
use uuid::Uuid;

use super::{Bench, slow_target, spec, start_with, until};

const ME: Uuid = Uuid::from_u128(1);

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

/// Gives all targets to this process, from `since` on; nobody may have scraped them from `gap` on.
fn give(ownership: &Ownership, since: Millis, gap: Option<Millis>) {
    let grant = Grant { owner: ME, epoch: 1, since, previous: None, began: 0, gap };
    let changed = (0..BUCKETS).map(|bucket| (bucket, grant)).collect();
    let sent = tokio::time::Instant::now();
    let renewal =
        Renewal { now: now(), epoch: 1, changed, unsettled: false, next_expiry: now(), alone: false };
    ownership.renewed(sent, sent, false, &renewal);
}

async fn jobs(bench: &Bench, target: &str) -> Vec<Job> {
    let filter = JobFilter { target_id: Some(target.into()), ..JobFilter::default() };
    bench.store.jobs(&filter, 10_000).await.unwrap()
}

/// To it, samples are another worker's; what is told of missed scrapes is of the time before, and refused while it is deaf.
struct Elsewhere(Arc<MemoryStore>, AtomicBool);

#[async_trait]
impl SampleSink for Elsewhere {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        let mut receipts = Vec::new();
        for batch in batches {
            let is_told = batch.frames.is_empty();
            if is_told && self.1.load(Ordering::SeqCst) {
                return Err(PortError::new(ErrorKind::Invalid, "not now"));
            }
            receipts.push(match is_told {
                true => self.0.append(std::slice::from_ref(batch)).await?[0],
                false => Receipt::Fenced,
            });
        }
        Ok(receipts)
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

/// How many skipped scrapes the jobs tell of, and how many of these tell of others too.
fn told(jobs: &[Job]) -> (u64, usize) {
    let busy =
        || jobs.iter().filter(|job| job.error_details.as_deref().is_some_and(|error| error.contains("busy")));
    let with_others = busy().filter(|job| !job.ledger.missed.is_empty()).count();
    (busy().map(|job| 1 + job.ledger.missed.values().sum::<u64>()).sum(), with_others)
}

#[tokio::test]
async fn what_is_skipped_is_told_at_once() {
    let store = Arc::new(MemoryStore::new());
    let ownership = Ownership::shared(ME, Duration::from_secs(60));
    give(&ownership, 0, None);
    let sink = Elsewhere(store.clone(), AtomicBool::new(false));
    let bench = start_with(store, Arc::new(sink), 100, ownership);
    let (url, _) = slow_target(Duration::from_millis(950)).await;
    bench.store.create_target(&spec("slow", &url, 100)).await.unwrap();
    until("skips that are told", async || told(&jobs(&bench, "slow").await).0 >= 6).await;
    let (skips, with_others) = told(&jobs(&bench, "slow").await);
    assert!(skips <= bench.counter("metricsd_scrape_skipped_total{reason=\"busy\"}"));
    assert_eq!(with_others, 0, "each has a job of its own");
    assert!(bench.counter("metricsd_scrape_missed_total") >= 6);
    assert!(bench.select("value").await.is_empty());
}

#[tokio::test]
async fn what_was_skipped_before_a_scrape_that_is_anothers_is_told_all_the_same() {
    let store = Arc::new(MemoryStore::new());
    let ownership = Ownership::shared(ME, Duration::from_secs(60));
    give(&ownership, 0, None);
    let sink = Arc::new(Elsewhere(store.clone(), AtomicBool::new(true)));
    let bench = start_with(store, sink.clone(), 100, ownership);
    let (url, _) = slow_target(Duration::from_millis(450)).await;
    bench.store.create_target(&spec("slow", &url, 100)).await.unwrap();
    let skipped = || bench.counter("metricsd_scrape_skipped_total{reason=\"busy\"}");
    until("skips", async || skipped() >= 6).await;
    assert_eq!(told(&jobs(&bench, "slow").await).0, 0, "none could be told at once");
    sink.1.store(false, Ordering::SeqCst);
    until("a job that tells of several", async || told(&jobs(&bench, "slow").await).1 > 0).await;
    assert!(told(&jobs(&bench, "slow").await).0 <= skipped());
    assert!(bench.select("value").await.is_empty());
}

#[tokio::test]
async fn what_is_due_before_the_first_look_after_a_gap_is_scraped_or_told() {
    const INTERVAL: Millis = 100;
    let store = Arc::new(MemoryStore::new());
    let (url, _) = slow_target(Duration::ZERO).await;
    let targets: Vec<String> = (0..20).map(|target| format!("t{target}")).collect();
    for target in &targets {
        store.create_target(&spec(target, &url, INTERVAL.cast_unsigned())).await.unwrap();
    }
    let ownership = Ownership::shared(ME, Duration::from_secs(60));
    let mut bench = start_with(store.clone(), store, 100, ownership.clone());
    ownership.load().await;
    let gap = now();
    tokio::time::sleep(Duration::from_millis(250)).await;
    give(&ownership, now(), Some(gap));
    // All that runs here stands still, as where a machine is busy.
    std::thread::sleep(Duration::from_millis(350));
    tokio::time::sleep(Duration::from_millis(500)).await;
    bench.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), &mut bench.pool).await.unwrap().unwrap();
    for target in &targets {
        let jobs = jobs(&bench, target).await;
        let number = |job: &Job| job.job_id.rsplit('_').next().unwrap().parse().unwrap();
        let known: BTreeSet<u128> = jobs.iter().map(number).collect();
        let is_known = |slot: &Millis| known.contains(&BatchId::for_scrape(target, *slot).0);
        let first = (gap..now()).find(is_known).expect("a scrape");
        assert!(first <= gap + INTERVAL, "{target}: begins {} ms late", first - gap);
        let due: Vec<Millis> = (first..gap + 800).step_by(INTERVAL as usize).collect();
        let untold: Vec<Millis> = due.iter().filter(|slot| !is_known(slot)).map(|slot| slot - gap).collect();
        assert!(untold.is_empty(), "{target}: neither stored nor told: {untold:?} ms after the gap began");
    }
}
