//! Checks the spool and the sample log.

use std::time::Duration;

use metricsd_model::Secret;

use super::{Check, MAX_TOPIC_CHARS};
use crate::config::settings::Settings;
use crate::config::{EventsConfig, SampleLogConfig, SpoolConfig};

/// A store is not slow before this.
const MIN_AFTER: Duration = Duration::from_millis(100);
/// A few groups of batches.
const MIN_SPOOL_BYTES: usize = 1 << 20;
/// Kafka takes more, but every writer then reads very little of each.
const MAX_PARTITIONS: u32 = 10_000;

impl Check<'_> {
    pub(super) fn spool(&mut self, settings: &Settings) -> Option<SpoolConfig> {
        let spool = &settings.spool;
        self.at_least("spool.after", spool.after, MIN_AFTER);
        if spool.max_bytes.0 < MIN_SPOOL_BYTES {
            self.refuse(
                "spool.max_bytes",
                format!("expected at least 1MiB, not {} bytes", spool.max_bytes.0),
            );
        }
        if !matches!(spool.order.as_str(), "oldest" | "newest") {
            self.refuse("spool.order", format!("expected oldest or newest, not {:?}", spool.order));
        }
        let beside = || format!("{}/spool", settings.data_dir.trim_end_matches('/'));
        let directory = spool.directory.clone().filter(|path| !path.is_empty()).unwrap_or_else(beside);
        spool.enabled.then(|| SpoolConfig {
            directory: directory.into(),
            max_bytes: spool.max_bytes.0 as u64,
            after: spool.after.0,
            newest_first: spool.order == "newest",
        })
    }

    /// The sample log, where batches go through one. Brokers and their settings are those of the events unless named.
    pub(super) fn sample_log(
        &mut self,
        settings: &Settings,
        events: Option<&EventsConfig>,
    ) -> Option<SampleLogConfig> {
        match settings.sink.as_str() {
            "store" => return None,
            "kafka" => {}
            other => {
                self.refuse("sink", format!("expected store or kafka, not {other:?}"));
                return None;
            }
        }
        let log = &settings.sample_log;
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if log.topic.is_empty() || log.topic.len() > MAX_TOPIC_CHARS || !log.topic.chars().all(letter) {
            let message = format!("expected 1 to {MAX_TOPIC_CHARS} of a-z, A-Z, 0-9, dot, _ and -");
            self.refuse("sample_log.topic", message);
        }
        if !(1..=MAX_PARTITIONS).contains(&log.partitions) {
            let message = format!("expected 1 to {MAX_PARTITIONS}, not {}", log.partitions);
            self.refuse("sample_log.partitions", message);
        }
        let (mut brokers, mut extra) = (log.brokers.clone(), Default::default());
        if let (true, Some(EventsConfig::Kafka(events))) = (brokers.is_empty(), events) {
            (brokers, extra) = (events.brokers.clone(), events.settings.clone());
        }
        if brokers.is_empty() {
            self.refuse(
                "sample_log.brokers",
                "expected Kafka brokers, here or in events.brokers: sink is kafka",
            );
            return None;
        }
        for broker in &brokers {
            let port = broker.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                let message = format!("expected host:port such as kafka-1:9092, not {broker:?}");
                self.refuse("sample_log.brokers", message);
            }
        }
        extra.extend(log.settings.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))));
        Some(SampleLogConfig {
            brokers,
            topic: log.topic.clone(),
            partitions: log.partitions,
            settings: extra,
        })
    }
}
