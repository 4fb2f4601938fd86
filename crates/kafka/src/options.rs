//! What can be set, and the settings of librdkafka that follow from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use uuid::Uuid;

use crate::EventFormat;

/// How to reach Kafka and what to send there.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// Topic of the events; created where it is missing and the brokers allow it.
    pub topic: String,
    /// What the value of a record holds.
    pub format: EventFormat,
    /// Partitions of a topic that is created here.
    pub partitions: i32,
    /// Copies of each partition of a topic that is created here; -1 for the brokers' default.
    pub replication: i32,
    /// Bytes of one record, at most: of what is sent, and of a topic that is created here.
    pub max_record_bytes: usize,
    /// Publishing takes no longer.
    pub publish_timeout: Duration,
    /// Settings of librdkafka, such as `security.protocol` and `sasl.password`. They never show.
    pub extra: BTreeMap<String, String>,
}

/// Settings on which the promises of the bus rest.
const OURS: [&str; 12] = [
    "acks",
    "allow.auto.create.topics",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "group.id",
    "log.queue",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];

/// Parts of the names of settings whose values are secret.
const SECRET: [&str; 6] = ["password", "secret", "token", "key", "pem", "oauthbearer.config"];

impl KafkaOptions {
    /// JSON, six partitions, ten seconds.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            format: EventFormat::default(),
            partitions: 6,
            replication: -1,
            max_record_bytes: 1_000_000,
            publish_timeout: Duration::from_secs(10),
            extra: BTreeMap::new(),
        }
    }

    /// Refuses what can be seen to be wrong without asking a broker.
    pub(crate) fn check(&self) -> Result<(), PortError> {
        let refuse = |message: String| Err(PortError::new(ErrorKind::Invalid, message));
        if self.brokers.trim().is_empty() {
            return refuse("the list of Kafka brokers is empty".to_owned());
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let topic = self.topic.as_str();
        if topic.is_empty() || topic.len() > 249 || matches!(topic, "." | "..") || !topic.chars().all(legal) {
            return refuse(format!(
                "{topic:?} is not the name of a Kafka topic: 1 to 249 letters, digits, dots, underscores and hyphens"
            ));
        }
        if self.partitions < 1 || self.replication == 0 || self.replication < -1 {
            return refuse("a Kafka topic has at least one partition and one replica".to_owned());
        }
        match OURS.iter().find(|name| self.extra.contains_key(**name)) {
            Some(name) => {
                refuse(format!("the Kafka setting {name} cannot be changed: metricsd's promises rest on it"))
            }
            None => Ok(()),
        }
    }

    /// Text without the values of secret settings: librdkafka repeats values in some of its messages.
    pub(crate) fn redact(&self, text: &str) -> String {
        let is_secret = |name: &str| SECRET.iter().any(|part| name.contains(part));
        let secrets = self.extra.iter().filter(|(name, value)| is_secret(name) && !value.is_empty());
        secrets.fold(text.to_owned(), |text, (_, value)| text.replace(value.as_str(), "********"))
    }

    /// What every client needs. `extra` wins over the defaults here, and loses against what the callers add.
    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "metricsd");
        // Brokers that are back are noticed soon.
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("socket.keepalive.enable", "true");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        config.extend(self.extra.clone());
        config.set("bootstrap.servers", self.brokers.as_str());
        // Topics are made on purpose, with their partitions, or not at all.
        config.set("allow.auto.create.topics", "false");
        let debugging = self.extra.contains_key("debug");
        config.set_log_level(if debugging { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config
    }

    /// Settings of an administrator's client.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client(&[])
    }

    /// Settings of a producer that keeps the order of each partition and loses nothing.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client(&[
            ("compression.type", "lz4"),
            ("linger.ms", "2"),
            // The partitioner of the Java client: a source stays in its partition whatever program publishes.
            ("partitioner", "murmur2_random"),
        ]);
        config.set("message.max.bytes", self.max_record_bytes.to_string());
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // No timeout of a single record: where it struck between two records of one source, the later would overtake
        // the earlier. The deadline of a whole call takes its place, see `KafkaBus::publish`.
        config.set("message.timeout.ms", "0");
        config
    }

    /// Settings of a consumer that follows the topic on its own.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client(&[
            // A reader that stops reading holds some megabytes, not all memory.
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.error.backoff.ms", "200"),
        ]);
        // librdkafka asks for a group's name even where partitions are assigned by hand; the group is never joined.
        config.set("group.id", format!("metricsd-events-{}", Uuid::new_v4()));
        config.set("enable.auto.commit", "false");
        // Where the place of a slow reader is no longer kept, it goes on with the oldest that is.
        config.set("auto.offset.reset", "earliest");
        config
    }
}

impl KafkaOptions {
    /// Settings of a consumer that shares a topic with others of its group. Where it reads on the store says, not Kafka:
    /// offsets are written there only for those who watch.
    pub(crate) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.client(&[
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "65536"),
            ("fetch.error.backoff.ms", "200"),
            ("session.timeout.ms", "10000"),
            ("partition.assignment.strategy", "range"),
        ]);
        config.set("fetch.message.max.bytes", self.max_record_bytes.max(1 << 20).to_string());
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest");
        config
    }
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("format", &self.format)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("publish_timeout", &self.publish_timeout)
            .field("extra", &self.extra.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_refused_before_any_broker_is_asked() {
        let good = KafkaOptions::new("a:9092", "metrics_collected");
        assert!(good.check().is_ok());
        let mut bad = vec![
            KafkaOptions { brokers: " ".to_owned(), ..good.clone() },
            KafkaOptions { partitions: 0, ..good.clone() },
            KafkaOptions { replication: 0, ..good.clone() },
        ];
        for topic in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            bad.push(KafkaOptions { topic: topic.to_owned(), ..good.clone() });
        }
        for name in OURS {
            bad.push(KafkaOptions { extra: [(name.to_owned(), "1".to_owned())].into(), ..good.clone() });
        }
        for options in bad {
            let error = options.check().expect_err(&format!("{options:?} was taken"));
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn secrets_never_show() {
        let extra =
            [("sasl.password", "hunter2"), ("ssl.key.pem", "-----KEY"), ("sasl.username", "metricsd")];
        let options = KafkaOptions {
            extra: extra.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..KafkaOptions::new("a:9092", "t")
        };
        let text = format!("{options:?}");
        assert!(
            text.contains("sasl.password") && !text.contains("hunter2") && !text.contains("-----KEY"),
            "{text}"
        );
        assert_eq!(options.redact("no hunter2 for metricsd"), "no ******** for metricsd");
    }
}
