//! The sample log against a real broker: batches come to a store once and in order, also where another writer was there.

#[allow(dead_code, reason = "other tests read what is in topics")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use metricsd_kafka::{KafkaLog, KafkaOptions, LogWriter};
use metricsd_model::{Batch, Waited};
use metricsd_ports::conformance::fixtures::{NOON, batch, frame, series};
use metricsd_ports::memory::MemoryStore;
use metricsd_ports::{Catalog, JobFilter, LogSink, Receipt, SampleSink};
use tokio_util::sync::CancellationToken;

fn numbered(target: &str, number: i64) -> Arc<Batch> {
    let layout = metricsd_model::Layout::shared(vec![series("a", &[("target", target)])]);
    let mut batch = batch(target, &format!("{target} {number}"), vec![frame(&layout, NOON + number, &[1.0])]);
    Arc::make_mut(&mut batch).collection.started = NOON + number;
    batch
}

fn options(topic: &str) -> KafkaOptions {
    KafkaOptions { partitions: 3, ..KafkaOptions::new(support::brokers(), topic) }
}

/// A writer at work; it ends when what this answers is cancelled.
fn writer(topic: &str, store: &Arc<MemoryStore>) -> CancellationToken {
    let stop = CancellationToken::new();
    let stores: Vec<Arc<dyn LogSink>> = vec![store.clone()];
    let writer = LogWriter::new(options(topic), stores, Arc::new(|_, _| 0), Arc::new(|_, _| {})).unwrap();
    tokio::spawn(writer.run(stop.clone()));
    stop
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

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_to_the_store_once_and_nonsense_is_put_aside() {
    support::with_topic(async |topic| {
        let store = Arc::new(MemoryStore::new());
        let log = KafkaLog::connect(options(topic), store.clone()).unwrap();
        let send = async |numbers: std::ops::Range<i64>| {
            for number in numbers {
                let batches: Vec<_> = ["a", "b", "c", "d"].map(|target| numbered(target, number)).into();
                assert_eq!(log.append(&batches).await.unwrap(), [Receipt::Kept; 4]);
            }
        };
        send(0..20).await;
        let first = writer(topic, &store);
        until(&store, 80).await;
        // Another one shares the partitions, and takes all of them when the first is gone.
        let second = writer(topic, &store);
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
        let third = writer(topic, &store);
        until(&store, 320).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(jobs(&store).await, 320);
        third.cancel();
        let positions: i64 = store.log_positions(topic).await.unwrap().iter().map(|(_, next)| next).sum();
        assert_eq!(positions, 320 + 1 + 4, "all records are behind us");
        let (parked, count) = store.parked(10).await.unwrap();
        assert_eq!((count, parked[0].content.as_slice()), (1, b"nonsense".as_slice()));
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
