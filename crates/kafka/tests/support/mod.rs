//! A topic for each test, and ordinary clients of Kafka.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message};
use uuid::Uuid;

/// Where Kafka answers.
pub(crate) fn brokers() -> String {
    std::env::var("METRICSD_TEST_KAFKA_BROKERS")
        .expect("METRICSD_TEST_KAFKA_BROKERS is not set: run `make services`, then `source .services.env`")
}

/// Runs a test with the name of a topic that does not exist yet, and deletes the topic, also where the test fails.
pub(crate) async fn with_topic(test: impl AsyncFnOnce(&str)) {
    let topic = format!("metricsd-test-{}", Uuid::new_v4());
    let outcome = AssertUnwindSafe(test(&topic)).catch_unwind().await;
    let deleted = admin().delete_topics(&[&topic], &AdminOptions::new()).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    deleted.expect("Kafka deletes the topic");
}

/// An administrator.
pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("an administrator's client")
}

/// One record as an ordinary consumer sees it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) partition: i32,
    pub(crate) content_type: String,
}

/// Reads records from the beginning with an ordinary consumer of a group.
pub(crate) async fn read(topic: &str, count: usize) -> Vec<Record> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", format!("test-{}", Uuid::new_v4()))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribe");
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), consumer.recv()).await;
        let message = next.expect("a record arrives").expect("a record");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let header =
            message.headers().and_then(|headers| headers.iter().find(|header| header.key == "content-type"));
        records.push(Record {
            key: text(message.key().expect("a key")),
            value: message.payload().expect("a value").to_vec(),
            partition: message.partition(),
            content_type: text(header.and_then(|header| header.value).expect("a content type")),
        });
    }
    records
}
