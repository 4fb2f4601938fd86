//! The event bus against a real Kafka broker.

mod support;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use metricsd_kafka::{EventFormat, KafkaBus, KafkaOptions};
use metricsd_model::MetricsCollected;
use metricsd_ports::conformance::events::{all, event, first_of, next_of};
use metricsd_ports::{ErrorKind, EventBus};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use support::{admin, brokers, read, with_topic};

fn bus(topic: &str) -> KafkaBus {
    KafkaBus::connect(KafkaOptions::new(brokers(), topic)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_are_kept_with_json() {
    with_topic(async |topic| all(&bus(topic)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_are_kept_with_protobuf() {
    with_topic(async |topic| {
        let options = KafkaOptions { format: EventFormat::Protobuf, ..KafkaOptions::new(brokers(), topic) };
        all(&KafkaBus::connect(options).unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn an_ordinary_consumer_reads_the_documented_json_keyed_and_in_order() {
    with_topic(async |topic| {
        let bus = bus(topic);
        let sent: Vec<_> = (0..600).map(|n| event(&format!("service-{}", n % 20), n)).collect();
        for part in sent.chunks(150) {
            bus.publish(part).await.unwrap();
        }
        let records = read(topic, sent.len()).await;
        let mut by_source: HashMap<&str, Vec<&MetricsCollected>> = HashMap::new();
        for event in &sent {
            by_source.entry(&event.metrics_collected.source_id).or_default().push(event);
        }
        let mut partitions: HashMap<&str, i32> = HashMap::new();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for record in &records {
            assert_eq!(record.content_type, "application/json");
            let place = seen.entry(&record.key).or_default();
            let expected = by_source[record.key.as_str()][*place];
            *place += 1;
            assert_eq!(
                record.value,
                serde_json::to_vec(expected).unwrap(),
                "the exact bytes, in the order of sending"
            );
            let partition = *partitions.entry(&record.key).or_insert(record.partition);
            assert_eq!(partition, record.partition, "a source stays in its partition");
        }
        let used: HashSet<_> = partitions.values().collect();
        assert!(used.len() > 1 && used.iter().all(|partition| (0..6).contains(*partition)), "{used:?}");

        let text = String::from_utf8(records[0].value.clone()).unwrap();
        let data =
            &sent.iter().find(|event| text.contains(&event.event_id.to_string())).unwrap().metrics_collected;
        let start = format!(
            "{{\"event_id\":\"{}\",\"timestamp\":\"2025-06-21T10:00:0",
            event(&data.source_id, usize::try_from(data.metrics_count).unwrap()).event_id
        );
        assert!(text.starts_with(&start), "{text}");
    })
    .await;
}

#[tokio::test]
async fn protobuf_records_decode() {
    with_topic(async |topic| {
        let options = KafkaOptions { format: EventFormat::Protobuf, ..KafkaOptions::new(brokers(), topic) };
        let bus = KafkaBus::connect(options).unwrap();
        bus.publish(&[event("protobuf", 7)]).await.unwrap();
        let records = read(topic, 1).await;
        assert_eq!(records[0].content_type, "application/x-protobuf");
        assert_eq!(records[0].key, "protobuf");
        assert_eq!(metricsd_codec::event::decode_event(&records[0].value).unwrap(), event("protobuf", 7));
    })
    .await;
}

/// Others may write to the topic what they like.
#[tokio::test]
async fn records_that_are_no_events_are_left_out_and_counted() {
    with_topic(async |topic| {
        let json = bus(topic);
        let options = KafkaOptions { format: EventFormat::Protobuf, ..KafkaOptions::new(brokers(), topic) };
        let protobuf = KafkaBus::connect(options).unwrap();
        let mut events = json.subscribe().await.unwrap();

        let plain: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
        let by_hand = serde_json::to_vec(&event("mixed", 1)).unwrap();
        let values: [&[u8]; 4] = [b"not json", b"{}", b"", &by_hand];
        for value in values {
            let record = FutureRecord::to(topic).key("mixed").payload(value);
            plain.send(record, Duration::from_secs(5)).await.unwrap();
        }
        let tombstone = FutureRecord::<str, [u8]>::to(topic).key("mixed");
        plain.send(tombstone, Duration::from_secs(5)).await.unwrap();
        plain.flush(Duration::from_secs(5)).unwrap();
        // A process of another format on the same topic: the header tells.
        protobuf.publish(&[event("mixed", 2)]).await.unwrap();
        json.publish(&[event("mixed", 3)]).await.unwrap();

        let expected: Vec<_> = (1..=3).map(|n| event("mixed", n)).collect();
        let seen = first_of(&mut events, "mixed", 3).await;
        assert_eq!(seen, expected);
        assert_eq!(json.poisoned(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_missing_topic_is_made_with_its_partitions() {
    with_topic(async |topic| {
        let options = KafkaOptions { partitions: 3, ..KafkaOptions::new(brokers(), topic) };
        let bus = KafkaBus::connect(options).unwrap();
        bus.ping().await.unwrap();
        let metadata = admin().inner().fetch_metadata(Some(topic), Duration::from_secs(5)).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), 3);

        // Deleted under way: publishing makes it again.
        bus.publish(&[event("before", 1)]).await.unwrap();
        admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        let mut attempts = 0;
        while let Err(error) = bus.publish(&[event("after", 1)]).await {
            assert!(error.is_retryable(), "{}", error.chain());
            attempts += 1;
            assert!(attempts < 20, "{}", error.chain());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(read(topic, 1).await[0].key, "after");
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_is_refused_says_so() {
    let options = KafkaOptions { replication: 99, ..KafkaOptions::new(brokers(), "metricsd-test-refused") };
    let error = KafkaBus::connect(options).unwrap().publish(&[event("refused", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
    assert!(
        error.to_string().contains("metricsd-test-refused") && error.to_string().contains("by hand"),
        "{error}"
    );
}

#[tokio::test]
async fn partitions_that_are_added_later_are_followed() {
    with_topic(async |topic| {
        let options = KafkaOptions { partitions: 1, ..KafkaOptions::new(brokers(), topic) };
        let bus = KafkaBus::connect(options).unwrap();
        let mut events = bus.subscribe().await.unwrap();
        bus.publish(&[event("grow", 0)]).await.unwrap();
        assert_eq!(next_of(&mut events, "grow").await, event("grow", 0));
        let more = NewPartitions::new(topic, 8);
        admin().create_partitions([&more], &AdminOptions::new()).await.unwrap();
        // Another producer, which knows the new partitions from the start.
        let sent: Vec<_> = (0..40).map(|n| event(&format!("grow-{n}"), n)).collect();
        KafkaBus::connect(KafkaOptions::new(brokers(), topic)).unwrap().publish(&sent).await.unwrap();
        let mut missing: HashSet<_> = sent.iter().map(|event| event.event_id).collect();
        while !missing.is_empty() {
            missing.remove(&next_of(&mut events, "grow-").await.event_id);
        }
    })
    .await;
}

#[tokio::test]
async fn closing_keeps_what_was_published_and_publishing_goes_on() {
    with_topic(async |topic| {
        let bus = bus(topic);
        bus.publish(&[event("close", 1)]).await.unwrap();
        bus.close().await;
        bus.close().await;
        bus.publish(&[event("close", 2)]).await.unwrap();
        assert_eq!(read(topic, 2).await.len(), 2);
        let silence = bus.subscribe().await.unwrap();
        drop(bus);
        let mut silence = silence;
        assert!(
            tokio::time::timeout(Duration::from_millis(300), silence.next()).await.is_err(),
            "goes on, in silence"
        );
    })
    .await;
}
