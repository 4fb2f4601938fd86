//! The topic: found, or made with the partitions that were asked for.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, config::FromClientConfigAndContext};
use tokio::task::spawn_blocking;

use crate::KafkaOptions;
use crate::context::Context;
use crate::error::{kind_of_code, port_error};
use crate::parting::Parting;

/// What brokers take of themselves.
const DEFAULT_RECORD_BYTES: usize = 1_000_000;

/// What the brokers say about the topic.
pub(crate) enum Found {
    /// Its partitions, and whether each has a leader.
    Partitions(Vec<(i32, bool)>),
    /// There is none.
    Missing,
}

/// Asks the brokers about the topic. Blocks for at most `limit`.
pub(crate) fn find<C: ClientContext>(
    client: &Client<C>,
    options: &KafkaOptions,
    limit: Duration,
) -> Result<Found, PortError> {
    let unreachable = |error: KafkaError| {
        let message = format!("Kafka at {} does not answer", options.brokers);
        port_error(options, message, &error)
    };
    let metadata = client.fetch_metadata(Some(&options.topic), limit).map_err(unreachable)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == options.topic);
    let Some(topic) = topic else {
        return Ok(Found::Missing);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {
            let partitions = topic.partitions().iter();
            Ok(Found::Partitions(
                partitions.map(|partition| (partition.id(), partition.leader() >= 0)).collect(),
            ))
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(Found::Missing),
        // A topic that was just made has no leaders yet.
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(Found::Partitions(Vec::new())),
        Some(code) => {
            Err(PortError::new(kind_of_code(code), format!("the topic {} cannot be used", options.topic))
                .caused_by(code.to_string()))
        }
    }
}

/// Makes the topic where it is missing, within about `limit`.
pub(crate) async fn ensure(options: &Arc<KafkaOptions>, limit: Duration) -> Result<(), PortError> {
    let admin = AdminClient::from_config_and_context(&options.admin(), Context::new(options))
        .map_err(|error| port_error(options, "the settings for Kafka are refused", &error))?;
    let admin = Arc::new(Parting::new(admin));
    let (asking, about) = (Arc::clone(&admin), Arc::clone(options));
    let found = spawn_blocking(move || find(asking.inner(), &about, limit)).await.map_err(crashed)??;
    if matches!(found, Found::Partitions(_)) {
        return Ok(());
    }
    let topic =
        NewTopic::new(&options.topic, options.partitions, TopicReplication::Fixed(options.replication));
    // The key of a record is whose it is: a compacted topic would keep the last of each. How long records are kept, and how
    // many bytes of them, is for those who run the brokers to say.
    let topic = topic.set("cleanup.policy", "delete");
    let max_bytes = options.max_record_bytes.to_string();
    let topic = match options.max_record_bytes > DEFAULT_RECORD_BYTES {
        true => topic.set("max.message.bytes", &max_bytes),
        false => topic,
    };
    let limits = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
    let results = admin.create_topics([&topic], &limits).await.map_err(|error| {
        port_error(options, format!("the topic {} cannot be created", options.topic), &error)
    })?;
    match results.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            let message = format!(
                "the topic {} does not exist and the brokers refuse to create it; create it by hand",
                options.topic
            );
            Err(PortError::new(kind_of_code(code), message).caused_by(code.to_string()))
        }
        _ => {
            tracing::info!(topic = options.topic, partitions = options.partitions, "topic created");
            Ok(())
        }
    }
}

/// A task of ours has panicked or was cancelled with its runtime.
pub(crate) fn crashed(error: tokio::task::JoinError) -> PortError {
    PortError::new(ErrorKind::Internal, "a call to Kafka did not end").caused_by(error)
}
