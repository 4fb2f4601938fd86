//! The sink that writes the sample log: a batch is acknowledged when the brokers have it, and stored by a writer.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_codec::batch::{BatchEncoder, CONTENT_TYPE};
use metricsd_model::{Batch, BatchId, SeriesId};
use metricsd_ports::{ErrorKind, PortError, Receipt, SampleSink, StoredPush};
use parking_lot::Mutex;
use rdkafka::message::{Header, OwnedHeaders};

use crate::KafkaOptions;
use crate::sender::{Record, Sender};

/// Batches on a Kafka topic. The batches of a target keep their order: they share a partition.
pub struct KafkaLog {
    sender: Sender,
    encoder: Mutex<BatchEncoder>,
    /// Knows which series are stored.
    store: Arc<dyn SampleSink>,
}

impl KafkaLog {
    /// A log on a topic, before a store that writers fill. Does not wait for any broker, so it fails only where the
    /// options are wrong.
    pub fn connect(options: KafkaOptions, store: Arc<dyn SampleSink>) -> Result<Self, PortError> {
        Ok(Self { sender: Sender::new(options, "batches")?, encoder: Mutex::default(), store })
    }

    /// Waits for what is under way, some seconds at most, and lets go of the brokers.
    pub async fn close(&self) {
        self.sender.close().await;
    }

    fn records(&self, batches: &[Arc<Batch>]) -> Result<Vec<Record>, PortError> {
        let mut encoder = self.encoder.lock();
        let record = |batch: &Arc<Batch>| {
            let collection = &batch.collection;
            let owner =
                if collection.target_id.is_empty() { &collection.source_id } else { &collection.target_id };
            let encoded = encoder.encode(batch).map_err(|error| {
                PortError::new(ErrorKind::Invalid, "a batch cannot be written for the sample log")
                    .caused_by(error)
            })?;
            Ok(Record { key: owner.clone(), value: encoded.bytes })
        };
        batches.iter().map(record).collect()
    }
}

#[async_trait]
impl SampleSink for KafkaLog {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let records = self.records(batches)?;
        let headers = OwnedHeaders::new_with_capacity(1)
            .insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
        self.sender.publish(&records, &headers).await?;
        Ok(vec![Receipt::Kept; batches.len()])
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.store.stored_series(ids).await
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.store.stored_pushes(ids).await
    }

    /// Whether the brokers answer.
    async fn ping(&self) -> Result<(), PortError> {
        self.sender.ping().await
    }
}
