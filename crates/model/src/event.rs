//! The `metrics_collected` event, in the exact JSON of the source document, and with the account of the collection.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Batch, CollectionMethod, HealthStatus, Ledger, Millis, TypeCounts};

/// Published once a collection's samples are committed; consumers may see it again with the same `event_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsCollected {
    /// Stable across repeats: derived from the batch id.
    pub event_id: Uuid,
    /// When the collection ended: RFC 3339 in UTC with milliseconds.
    pub timestamp: String,
    /// The facts.
    pub metrics_collected: MetricsCollectedData,
}

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsCollectedData {
    /// `batch_YYYYMMDD_N…`.
    pub collection_batch_id: String,
    /// Key of the event on the bus.
    pub source_id: String,
    /// Samples stored.
    pub metrics_count: u64,
    /// Whole milliseconds.
    pub collection_duration_ms: u64,
    /// How.
    pub collection_method: CollectionMethod,
    /// The target's health after the collection.
    pub target_health: HealthStatus,
    /// `metrics_count` by type.
    pub metrics_summary: MetricsSummary,
    /// Samples refused, or 1 where the collection failed as a whole.
    pub error_count: u64,
    /// `metrics_count` over the duration, rounded down; a duration below a millisecond counts as one.
    pub samples_per_second: u64,
    /// The account of the collection, as its job has it; absent in events of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
}

/// Samples by type; sums to `metrics_count`.
pub type MetricsSummary = TypeCounts;

/// Name space of event ids (a version 4 UUID made for this purpose).
const EVENTS: Uuid = Uuid::from_u128(0x3a1e_7c54_9b0d_4f6e_8d21_5c7f_a0b3_e942);

impl MetricsCollected {
    /// The event of a batch, the same however often it is asked for.
    pub fn of(batch: &Batch) -> Self {
        let collection = &batch.collection;
        let metrics_count = collection.ledger.stored;
        let duration = collection.duration_ms.max(0.0);
        let failed = u64::from(collection.reason.is_some());
        Self {
            event_id: Uuid::new_v5(&EVENTS, batch.id.to_uuid().as_bytes()),
            timestamp: rfc3339(collection.started.saturating_add(duration as i64)),
            metrics_collected: MetricsCollectedData {
                collection_batch_id: batch.id.collection_batch_id(collection.started),
                source_id: collection.source_id.clone(),
                metrics_count,
                collection_duration_ms: duration as u64,
                collection_method: collection.method,
                target_health: collection.health,
                metrics_summary: collection.types,
                error_count: collection.ledger.refused_total().max(failed),
                samples_per_second: samples_per_second(metrics_count, duration as u64),
                ledger: Some(Ledger { added: batch.added(), ..collection.ledger.clone() }),
            },
        }
    }
}

fn samples_per_second(count: u64, duration_ms: u64) -> u64 {
    count.saturating_mul(1_000) / duration_ms.max(1)
}

/// RFC 3339 in UTC with exactly three decimals; times that no calendar has become the epoch.
pub fn rfc3339(millis: Millis) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchId, Collection, JobStatus};

    /// The example of the source document, field for field, and the account.
    #[test]
    fn the_event_is_the_documented_json() {
        let collection = Collection {
            source_id: "portfolio_management_service".into(),
            target_id: "t".into(),
            method: CollectionMethod::PullScraping,
            started: 1_750_500_000_000 - 85,
            duration_ms: 85.4,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger { received: 1250, stored: 1250, ..Ledger::default() },
            types: TypeCounts { counters: 450, gauges: 600, histograms: 150, summaries: 50 },
        };
        let event = MetricsCollected::of(&Batch::new(BatchId(1), collection, Vec::new()));
        let expected = serde_json::json!({
            "event_id": event.event_id.to_string(),
            "timestamp": "2025-06-21T10:00:00.000Z",
            "metrics_collected": {
                "collection_batch_id": "batch_20250621_1",
                "source_id": "portfolio_management_service",
                "metrics_count": 1250,
                "collection_duration_ms": 85,
                "collection_method": "PULL_SCRAPING",
                "target_health": "healthy",
                "metrics_summary": {"counters": 450, "gauges": 600, "histograms": 150, "summaries": 50},
                "error_count": 0,
                "samples_per_second": 14705,
                "ledger": {"received": 1250, "dropped": 0, "refused": {}, "stored": 1250, "added": 0}
            }
        });
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }
}
