//! Brokers that are away, or come and go: against closed ports, and against the cluster of librdkafka's own tests, whose
//! brokers can be switched off. (A forwarder before the real broker is of no use: clients go to the address that the
//! broker advertises.)

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use metricsd_kafka::{KafkaBus, KafkaOptions};
use metricsd_ports::conformance::events::{event, first_of, next_of};
use metricsd_ports::{ErrorKind, EventBus};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "events";

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 4, 1).unwrap();
    cluster
}

fn options(brokers: impl Into<String>) -> KafkaOptions {
    KafkaOptions { publish_timeout: Duration::from_secs(2), ..KafkaOptions::new(brokers, TOPIC) }
}

#[tokio::test]
async fn a_closed_port_costs_a_bounded_time() {
    let start = Instant::now();
    let bus = KafkaBus::connect(options("127.0.0.1:1")).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "connecting waits for nobody");
    let check = |name: &str, error: metricsd_ports::PortError, start: Instant| {
        assert!(error.is_retryable(), "{name}: {}", error.chain());
        assert!(error.to_string().contains("127.0.0.1:1"), "{name}: {error}");
        assert!(start.elapsed() < Duration::from_millis(2_700), "{name} took {:?}", start.elapsed());
    };
    let start = Instant::now();
    check("ping", bus.ping().await.unwrap_err(), start);
    let start = Instant::now();
    check("publish", bus.publish(&[event("away", 1)]).await.unwrap_err(), start);
    let start = Instant::now();
    check("subscribe", bus.subscribe().await.err().unwrap(), start);
    let start = Instant::now();
    bus.close().await;
    drop(bus);
    assert!(start.elapsed() < Duration::from_secs(1), "closing took {:?}", start.elapsed());
}

/// The broker goes after all went well, and comes back: calls fail in time, a repeat succeeds, order is kept, and the
/// subscription made before goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_follow_when_the_broker_is_back() {
    let cluster = cluster();
    let bus = KafkaBus::connect(options(cluster.bootstrap_servers())).unwrap();
    let mut events = bus.subscribe().await.unwrap();
    let sent: Vec<_> = (0..300).map(|n| event("outage", n)).collect();
    bus.publish(&sent[..100]).await.unwrap();
    assert_eq!(first_of(&mut events, "outage", 100).await, sent[..100]);

    cluster.broker_down(1).unwrap();
    for _ in 0..2 {
        let start = Instant::now();
        let error = bus.publish(&sent[100..200]).await.unwrap_err();
        assert!(error.is_retryable(), "{}", error.chain());
        assert!(start.elapsed() < Duration::from_millis(2_700), "took {:?}", start.elapsed());
    }
    assert!(bus.ping().await.is_err());

    cluster.broker_up(1).unwrap();
    let start = Instant::now();
    while let Err(error) = bus.publish(&sent[100..]).await {
        assert!(start.elapsed() < Duration::from_secs(15), "not back: {}", error.chain());
    }
    bus.ping().await.unwrap();
    // Repeats are allowed, gaps and changes of order are not.
    let mut next = 100;
    while next < 300 {
        let seen = next_of(&mut events, "outage").await;
        let number = usize::try_from(seen.metrics_collected.metrics_count).unwrap();
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
}

/// Errors between records of one source: librdkafka repeats, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_errors_keep_the_order() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as FEW, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as SLOW,
    };
    let cluster = cluster();
    let mut slow = KafkaOptions::new(cluster.bootstrap_servers(), TOPIC);
    slow.extra = [("batch.num.messages", "10"), ("retry.backoff.ms", "10")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let bus = KafkaBus::connect(slow).unwrap();
    let mut events = bus.subscribe().await.unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[FEW, SLOW, FEW, FEW]);
    let sent: Vec<_> = (0..500).map(|n| event("errors", n)).collect();
    bus.publish(&sent).await.unwrap();
    assert_eq!(first_of(&mut events, "errors", 500).await, sent);
}

/// An error that no repeat mends: the call fails at once, and the next begins with a new producer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_fails_the_call_and_the_next_one_succeeds() {
    use RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as DENIED;
    let cluster = cluster();
    let bus = KafkaBus::connect(options(cluster.bootstrap_servers())).unwrap();
    bus.ping().await.unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[DENIED]);
    let error = bus.publish(&[event("denied", 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    bus.publish(&[event("denied", 1)]).await.unwrap();
}

/// A caller that stops waiting leaves nothing behind that could be sent later, out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_sends_nothing_later() {
    let cluster = cluster();
    let bus = Arc::new(KafkaBus::connect(KafkaOptions::new(cluster.bootstrap_servers(), TOPIC)).unwrap());
    let mut events = bus.subscribe().await.unwrap();
    bus.publish(&[event("given-up", 0)]).await.unwrap();
    cluster.broker_down(1).unwrap();
    let given_up = [event("given-up", 1), event("given-up", 2)];
    let waited = tokio::time::timeout(Duration::from_millis(300), bus.publish(&given_up)).await;
    assert!(waited.is_err(), "{waited:?}");
    cluster.broker_up(1).unwrap();
    bus.publish(&[event("given-up", 3)]).await.unwrap();
    assert_eq!(first_of(&mut events, "given-up", 2).await, [event("given-up", 0), event("given-up", 3)]);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), events.next()).await.is_err(),
        "something came later"
    );
}

#[tokio::test]
async fn settings_that_are_refused_are_named_and_secrets_are_not() {
    let check = |name: &str, value: &str| {
        let mut options = options("127.0.0.1:1");
        options.extra.insert("sasl.password".to_owned(), "hunter2".to_owned());
        options.extra.insert(name.to_owned(), value.to_owned());
        let error = KafkaBus::connect(options).err().unwrap_or_else(|| panic!("{name}={value} was taken"));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.chain());
        assert!(error.chain().contains(name), "{}", error.chain());
        assert!(!format!("{error:?}{}", error.chain()).contains("hunter2"), "{error:?}");
    };
    check("no.such.setting", "1");
    check("linger.ms", "soon");
    check("group.id", "mine");
    check("enable.ssl.certificate.verification", "hunter2");
}

/// Started by the next test in a process of its own.
#[tokio::test]
#[ignore = "is run by nothing_is_written_to_stderr"]
async fn quiet_child() {
    let mut options = options("127.0.0.1:1");
    options.extra.insert("sasl.password".to_owned(), "hunter2".to_owned());
    options.extra.insert("linger.ms".to_owned(), "1".to_owned());
    let bus = KafkaBus::connect(options).unwrap();
    assert!(bus.publish(&[event("quiet", 1)]).await.is_err());
    assert!(bus.subscribe().await.is_err());
    assert!(!format!("{bus:?}").contains("hunter2"));
    drop(bus);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// librdkafka writes its logs to stderr where nobody takes them.
#[test]
fn nothing_is_written_to_stderr() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "quiet_child", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
