//! The sample log against a real broker: batches come to a store once and in order, also where another writer was there,
//! a store was added, or the log has lost some.

#[allow(dead_code, reason = "other tests read what is in topics")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_codec::batch::BatchDecoder;
use metricsd_kafka::{KafkaLog, KafkaOptions, LogStatus, LogWriter};
use metricsd_model::{Batch, BatchId, JoinedPush, Waited};
use metricsd_ports::conformance::fixtures::{NOON, batch, frame, series};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{
    Catalog, ErrorKind, JobFilter, LogSink, LogStep, ParkedEntry, ParkedRecord, PortError, Receipt,
    SampleSink,
};
use parking_lot::Mutex;
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

fn numbered(target: &str, number: i64) -> Arc<Batch> {
    let layout = metricsd_model::Layout::shared(vec![series("a", &[("target", target)])]);
    let mut batch = batch(target, &format!("{target} {number}"), vec![frame(&layout, NOON + number, &[1.0])]);
    Arc::make_mut(&mut batch).collection.started = NOON + number;
    batch
}

fn options(topic: &str) -> KafkaOptions {
    // Brokers that have much to do take their time over a new topic.
    let publish_timeout = Duration::from_secs(60);
    KafkaOptions { partitions: 3, publish_timeout, ..KafkaOptions::new(support::brokers(), topic) }
}

/// A writer at work; it ends when the first of what this answers is cancelled.
fn writer(
    topic: &str,
    stores: Vec<Arc<dyn LogSink>>,
    repeated: &Arc<AtomicUsize>,
) -> (CancellationToken, Arc<LogStatus>) {
    let (stop, repeated, count) = (CancellationToken::new(), repeated.clone(), stores.len());
    let stored = move |_: &[Arc<Batch>], receipts: &[Receipt]| {
        let again = receipts.iter().filter(|receipt| **receipt == Receipt::Duplicate).count();
        repeated.fetch_add(again, Ordering::Relaxed);
    };
    // Where there are two stores, the second has the target b.
    let route = move |target: &str, _: &str| usize::from(count > 1 && target == "b");
    let writer = LogWriter::new(options(topic), stores, Arc::new(route), Arc::new(stored)).unwrap();
    let status = writer.status();
    tokio::spawn(writer.run(stop.clone()));
    (stop, status)
}

async fn send(log: &KafkaLog, targets: &[&str], numbers: std::ops::Range<i64>) {
    for number in numbers {
        let batches: Vec<_> = targets.iter().map(|target| numbered(target, number)).collect();
        assert_eq!(log.append(&batches).await.unwrap(), vec![Receipt::Kept; batches.len()]);
    }
}

async fn jobs(store: &MemoryStore) -> usize {
    store.jobs(&JobFilter::default(), 100_000).await.unwrap().len()
}

async fn until(store: &MemoryStore, wanted: usize) {
    for _ in 0..600 {
        if jobs(store).await >= wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} of {wanted} batches came", jobs(store).await);
}

/// Waits until a store has read so many records of all partitions together.
async fn stands(store: &MemoryStore, topic: &str, wanted: i64) {
    let mut next = 0;
    for _ in 0..600 {
        next = store.log_positions(topic).await.unwrap().iter().map(|(_, next)| next).sum();
        if next >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(next, wanted, "all records are behind us");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_to_the_store_once_and_nonsense_is_put_aside() {
    support::with_topic(async |topic| {
        let store = Arc::new(MemoryStore::new());
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        let repeated = Arc::default();
        let writer = || writer(topic, vec![store.clone()], &repeated).0;
        let send = async |numbers| send(&log, &["a", "b", "c", "d"], numbers).await;
        send(0..20).await;
        let first = writer();
        until(&store, 80).await;
        // Another one shares the partitions, and takes all of them when the first is gone.
        let second = writer();
        send(20..40).await;
        until(&store, 160).await;
        first.cancel();
        send(40..60).await;
        until(&store, 240).await;
        second.cancel();
        // A record that is no batch stands between others, and nobody reads.
        let client: rdkafka::producer::FutureProducer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", support::brokers()).create().unwrap();
        let nonsense = rdkafka::producer::FutureRecord::to(topic).key("a").payload(b"nonsense");
        client.send(nonsense, Duration::from_secs(10)).await.unwrap();
        send(60..80).await;
        // Sent once more, as after a failure of which nobody knows what came of it.
        send(79..80).await;
        let third = writer();
        until(&store, 320).await;
        // The record that is no batch may be alone in its partition, and those that came again are the last.
        stands(&store, topic, 320 + 1 + 4).await;
        assert_eq!(jobs(&store).await, 320);
        assert_eq!(repeated.load(Ordering::Relaxed), 4, "no other was brought again");
        third.cancel();
        let (parked, count) = store.parked(10).await.unwrap();
        assert_eq!((count, parked[0].bytes), (1, b"nonsense".len() as u64));
        // Each target's in order.
        let mut all = store
            .jobs(&JobFilter { target_id: Some("a".into()), ..JobFilter::default() }, 1_000)
            .await
            .unwrap();
        all.reverse();
        let times: Vec<i64> = all.iter().map(|job| job.created_at - NOON).collect();
        assert_eq!(times, (0..80).collect::<Vec<i64>>());
        assert!(all.iter().all(|job| job.ledger.waited == Some(Waited::Log)));
        log.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_added_is_not_given_what_the_others_have() {
    support::with_topic(async |topic| {
        let (one, two) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
        let log = KafkaLog::connect(options(topic), one.clone()).unwrap();
        let repeated = Arc::default();
        send(&log, &["a", "b"], 0..10).await;
        let (stop, _) = writer(topic, vec![one.clone()], &repeated);
        until(&one, 20).await;
        stop.cancel();
        let (stop, _) = writer(topic, vec![one.clone(), two.clone()], &repeated);
        send(&log, &["a", "b"], 10..20).await;
        stands(&one, topic, 40).await;
        stands(&two, topic, 40).await;
        assert_eq!((jobs(&one).await, jobs(&two).await), (30, 10));
        assert_eq!(repeated.load(Ordering::Relaxed), 0);
        stop.cancel();
        log.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    support::with_topic(async |topic| {
        let (store, other) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
        // Where the topic that is gone was read to.
        for (store, next) in [(&store, 500), (&other, 2)] {
            let steps =
                [0, 1, 2].map(|partition| LogStep { log: topic.to_owned(), partition, from: 0, next });
            store.append_from_log(&[], &steps).await.unwrap();
        }
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        send(&log, &["a", "b"], 0..5).await;
        let (stop, status) = writer(topic, vec![store.clone(), other.clone()], &Arc::default());
        until(&store, 5).await;
        until(&other, 5).await;
        assert_eq!((jobs(&store).await, jobs(&other).await), (5, 5));
        assert!((1..=2).contains(&status.restarts()), "once a partition: {}", status.restarts());
        assert_eq!(status.lost_records(), 0);
        stop.cancel();
        log.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_went_before_they_were_stored_are_counted() {
    support::with_topic(async |topic| {
        let store = Arc::new(MemoryStore::new());
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        send(&log, &["a"], 0..5).await;
        let (stop, _) = writer(topic, vec![store.clone()], &Arc::default());
        until(&store, 5).await;
        stop.cancel();
        send(&log, &["a"], 5..20).await;
        // As retention does it.
        let partition = store.log_positions(topic).await.unwrap()[0].0;
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(12)).unwrap();
        support::admin().delete_records(&before, &AdminOptions::new()).await.unwrap();
        let (stop, status) = writer(topic, vec![store.clone()], &Arc::default());
        until(&store, 5 + 8).await;
        assert_eq!(jobs(&store).await, 5 + 8);
        assert_eq!((status.lost_records(), status.restarts()), (7, 0));
        assert_eq!(store.log_positions(topic).await.unwrap(), [(partition, 20)]);
        stop.cancel();
        log.close().await;
    })
    .await;
}

/// A store that answers, and takes no batches a number of times: its disk is full. What holds the bad value it never takes.
struct Full {
    store: Arc<MemoryStore>,
    left: AtomicUsize,
    bad: Option<f64>,
    parked: Mutex<Vec<ParkedRecord>>,
}

#[async_trait]
impl LogSink for Full {
    async fn append_from_log(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        let one_less = |left: usize| left.checked_sub(1);
        if !batches.is_empty()
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        {
            return Err(PortError::new(ErrorKind::Unavailable, "the disk is full"));
        }
        let values = batches.iter().flat_map(|batch| &batch.frames).flat_map(|frame| &frame.values);
        if values.clone().any(|value| Some(*value) == self.bad) {
            return Err(PortError::new(ErrorKind::Invalid, "a bad value"));
        }
        self.store.append_from_log(batches, steps).await
    }

    async fn log_positions(&self, log: &str) -> Result<Vec<(i32, i64)>, PortError> {
        self.store.log_positions(log).await
    }

    async fn park(&self, record: &ParkedRecord, step: &LogStep) -> Result<(), PortError> {
        self.parked.lock().push(record.clone());
        self.store.park(record, step).await
    }

    async fn parked(&self, limit: usize) -> Result<(Vec<ParkedEntry>, u64), PortError> {
        self.store.parked(limit).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_with_a_full_disk_does_not_take_waits_and_shows() {
    support::with_topic(async |topic| {
        let store = Arc::new(MemoryStore::new());
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        send(&log, &["a", "b"], 0..5).await;
        // More often than a group is tried as a whole, and so that a single one is refused often as well.
        let full =
            Full { store: store.clone(), left: AtomicUsize::new(45), bad: None, parked: Mutex::default() };
        let (stop, status) = writer(topic, vec![Arc::new(full)], &Arc::default());
        tokio::time::sleep(Duration::from_secs(8)).await;
        let age = status.age_seconds();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(status.age_seconds() >= age + 0.9, "{} after {age}", status.age_seconds());
        assert_eq!((status.lag(), status.records()), (10, 0));
        until(&store, 10).await;
        assert_eq!((status.parked(), status.records()), (0, 10));
        for _ in 0..100 {
            if status.lag() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(status.lag(), 0);
        stop.cancel();
        log.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_joined_pushes_only_those_are_put_aside_that_are_refused_by_themselves() {
    support::with_topic(async |topic| {
        let store = Arc::new(MemoryStore::new());
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        let layout = metricsd_model::Layout::inline((0..4).map(|n| series(&format!("p{n}"), &[])).collect());
        let mut whole = batch("a", "whole", vec![frame(&layout, NOON, &[0.0, 1.0, 2.0, 3.0])]);
        let push = |n| JoinedPush { id: BatchId(n), columns: vec![1], exemplars: 0, families: 0 };
        Arc::make_mut(&mut whole).joined = (0..4).map(push).collect();
        send(&log, &["a"], 0..2).await;
        log.append(&[whole]).await.unwrap();
        send(&log, &["a"], 2..4).await;
        let full = Arc::new(Full {
            store: store.clone(),
            left: AtomicUsize::new(0),
            bad: Some(2.0),
            parked: Mutex::default(),
        });
        let (stop, status) = writer(topic, vec![full.clone()], &Arc::default());
        stands(&store, topic, 5).await;
        let pushes = store.stored_pushes(&[0, 1, 2, 3].map(BatchId)).await.unwrap();
        let mut stored: Vec<u128> = pushes.iter().map(|push| push.id.0).collect();
        stored.sort_unstable();
        assert_eq!((stored, jobs(&store).await), (vec![0, 1, 3], 7));
        assert_eq!((store.parked(10).await.unwrap().1, status.parked()), (1, 1));
        let parked = full.parked.lock().pop().unwrap();
        let left = BatchDecoder::new().decode(&parked.content).unwrap();
        assert_eq!(parked.position, 2);
        assert_eq!(left.joined.iter().map(|push| push.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(left.frames[0].values, [2.0]);
        stop.cancel();
        log.close().await;
    })
    .await;
}
