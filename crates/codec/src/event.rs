//! The `metrics_collected` event as protobuf: `proto/metrics_collected.proto`, written out by hand so that building
//! needs no protobuf compiler.

use std::collections::BTreeMap;

use metricsd_model::{
    CollectionMethod, HealthStatus, Ledger, MetricsCollected, MetricsCollectedData, MetricsSummary, Missed,
    Refusal, Waited,
};
use prost::Message;
use uuid::Uuid;

/// Why bytes are not an event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EventError {
    /// Not protobuf of this message.
    #[error("not a metrics_collected message")]
    Protobuf(#[from] prost::DecodeError),
    /// A field that every event has is missing, or holds what no event says.
    #[error("field {field} of a metrics_collected message holds {value:?}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds; empty where it is missing.
        value: String,
    },
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "1")]
    event_id: String,
    #[prost(string, tag = "2")]
    timestamp: String,
    #[prost(message, optional, tag = "3")]
    metrics_collected: Option<Data>,
}

#[derive(Clone, PartialEq, Message)]
struct Data {
    #[prost(string, tag = "1")]
    collection_batch_id: String,
    #[prost(string, tag = "2")]
    source_id: String,
    #[prost(uint64, tag = "3")]
    metrics_count: u64,
    #[prost(uint64, tag = "4")]
    collection_duration_ms: u64,
    #[prost(string, tag = "5")]
    collection_method: String,
    #[prost(string, tag = "6")]
    target_health: String,
    #[prost(message, optional, tag = "7")]
    metrics_summary: Option<Summary>,
    #[prost(uint64, tag = "8")]
    error_count: u64,
    #[prost(uint64, tag = "9")]
    samples_per_second: u64,
    #[prost(message, optional, tag = "10")]
    ledger: Option<Account>,
}

#[derive(Clone, PartialEq, Message)]
struct Account {
    #[prost(uint64, tag = "1")]
    received: u64,
    #[prost(uint64, tag = "2")]
    dropped: u64,
    #[prost(btree_map = "string, uint64", tag = "3")]
    refused: BTreeMap<String, u64>,
    #[prost(uint64, tag = "4")]
    stored: u64,
    #[prost(uint64, tag = "5")]
    added: u64,
    #[prost(btree_map = "string, uint64", tag = "6")]
    missed: BTreeMap<String, u64>,
    #[prost(string, tag = "7")]
    waited: String,
}

impl From<&Ledger> for Account {
    fn from(ledger: &Ledger) -> Self {
        let refused = ledger.refused.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count));
        let missed = ledger.missed.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count));
        Self {
            received: ledger.received,
            dropped: ledger.dropped,
            refused: refused.collect(),
            stored: ledger.stored,
            added: ledger.added,
            missed: missed.collect(),
            waited: ledger.waited.map_or("", Waited::as_str).to_owned(),
        }
    }
}

impl TryFrom<Account> for Ledger {
    type Error = EventError;

    fn try_from(account: Account) -> Result<Self, EventError> {
        let refused = account
            .refused
            .iter()
            .map(|(name, count)| Ok((Refusal::from_name(name).ok_or_else(|| bad("refused", name))?, *count)));
        let missed = account
            .missed
            .iter()
            .map(|(name, count)| Ok((Missed::from_name(name).ok_or_else(|| bad("missed", name))?, *count)));
        Ok(Self {
            received: account.received,
            dropped: account.dropped,
            refused: refused.collect::<Result<_, EventError>>()?,
            stored: account.stored,
            added: account.added,
            missed: missed.collect::<Result<_, EventError>>()?,
            waited: match account.waited.as_str() {
                "" => None,
                name => Some(Waited::from_name(name).ok_or_else(|| bad("waited", name))?),
            },
        })
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    counters: u64,
    #[prost(uint64, tag = "2")]
    gauges: u64,
    #[prost(uint64, tag = "3")]
    histograms: u64,
    #[prost(uint64, tag = "4")]
    summaries: u64,
}

/// The event as protobuf.
pub fn encode_event(event: &MetricsCollected) -> Vec<u8> {
    let data = &event.metrics_collected;
    let summary = data.metrics_summary;
    let message = Event {
        event_id: event.event_id.to_string(),
        timestamp: event.timestamp.clone(),
        metrics_collected: Some(Data {
            collection_batch_id: data.collection_batch_id.clone(),
            source_id: data.source_id.clone(),
            metrics_count: data.metrics_count,
            collection_duration_ms: data.collection_duration_ms,
            collection_method: data.collection_method.as_str().to_owned(),
            target_health: data.target_health.as_str().to_owned(),
            metrics_summary: Some(Summary {
                counters: summary.counters,
                gauges: summary.gauges,
                histograms: summary.histograms,
                summaries: summary.summaries,
            }),
            error_count: data.error_count,
            samples_per_second: data.samples_per_second,
            ledger: data.ledger.as_ref().map(Account::from),
        }),
    };
    message.encode_to_vec()
}

/// Reads [`encode_event`] back.
pub fn decode_event(bytes: &[u8]) -> Result<MetricsCollected, EventError> {
    let event = Event::decode(bytes)?;
    let data = event.metrics_collected.ok_or_else(|| bad("metrics_collected", ""))?;
    let summary = data.metrics_summary.unwrap_or_default();
    let method = CollectionMethod::from_name(&data.collection_method);
    let health = HealthStatus::from_name(&data.target_health);
    Ok(MetricsCollected {
        event_id: Uuid::try_parse(&event.event_id).map_err(|_| bad("event_id", &event.event_id))?,
        timestamp: event.timestamp,
        metrics_collected: MetricsCollectedData {
            collection_batch_id: data.collection_batch_id,
            source_id: data.source_id,
            metrics_count: data.metrics_count,
            collection_duration_ms: data.collection_duration_ms,
            collection_method: method.ok_or_else(|| bad("collection_method", &data.collection_method))?,
            target_health: health.ok_or_else(|| bad("target_health", &data.target_health))?,
            metrics_summary: MetricsSummary {
                counters: summary.counters,
                gauges: summary.gauges,
                histograms: summary.histograms,
                summaries: summary.summaries,
            },
            error_count: data.error_count,
            samples_per_second: data.samples_per_second,
            ledger: data.ledger.map(Ledger::try_from).transpose()?,
        },
    })
}

fn bad(field: &'static str, value: &str) -> EventError {
    EventError::Field { field, value: value.chars().take(64).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(numbers: [u64; 8]) -> MetricsCollected {
        let [
            metrics_count,
            collection_duration_ms,
            error_count,
            samples_per_second,
            counters,
            gauges,
            histograms,
            summaries,
        ] = numbers;
        MetricsCollected {
            event_id: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            timestamp: "2025-06-21T10:00:00.000Z".into(),
            metrics_collected: MetricsCollectedData {
                collection_batch_id: "batch_20250621_1".into(),
                source_id: "portfolio_management_service".into(),
                metrics_count,
                collection_duration_ms,
                collection_method: CollectionMethod::PullScraping,
                target_health: HealthStatus::Healthy,
                metrics_summary: MetricsSummary { counters, gauges, histograms, summaries },
                error_count,
                samples_per_second,
                ledger: Some(Ledger {
                    received: gauges,
                    dropped: counters,
                    refused: BTreeMap::from([(Refusal::Duplicate, error_count)]),
                    stored: histograms,
                    added: summaries,
                    missed: BTreeMap::from([(Missed::Late, metrics_count)]),
                    waited: Some(Waited::Spool),
                }),
            },
        }
    }

    /// Field numbers by hand, as the .proto file gives them: tag bytes are `number << 3 | wire type`.
    #[test]
    fn the_bytes_are_those_of_the_schema() {
        let length = |length: usize| match u8::try_from(length) {
            Ok(short @ 0..128) => vec![short],
            _ => vec![(length % 128) as u8 | 128, (length / 128) as u8],
        };
        let text = |number: u8, text: &[u8]| [&[number << 3 | 2], &length(text.len())[..], text].concat();
        let int = |number: u8, value: u8| vec![number << 3, value];
        let summary = [int(1, 5), int(2, 6), int(3, 7), int(4, 8)].concat();
        let count = |name: &[u8], count: u8| [text(1, name), int(2, count)].concat();
        let ledger = [
            int(1, 6),
            int(2, 5),
            text(3, &count(b"duplicate", 3)),
            int(4, 7),
            int(5, 8),
            text(6, &count(b"late", 1)),
            text(7, b"spool"),
        ]
        .concat();
        let data = [
            text(1, b"batch_20250621_1"),
            text(2, b"portfolio_management_service"),
            int(3, 1),
            int(4, 2),
            text(5, b"PULL_SCRAPING"),
            text(6, b"healthy"),
            text(7, &summary),
            int(8, 3),
            int(9, 4),
            text(10, &ledger),
        ]
        .concat();
        let expected = [
            text(1, b"01234567-89ab-cdef-0123-456789abcdef"),
            text(2, b"2025-06-21T10:00:00.000Z"),
            text(3, &data),
        ]
        .concat();
        assert_eq!(encode_event(&event([1, 2, 3, 4, 5, 6, 7, 8])), expected);
    }

    /// The schema that consumers compile names the same fields under the same numbers.
    #[test]
    fn the_proto_file_agrees() {
        let schema = include_str!("../../../proto/metrics_collected.proto");
        let fields: Vec<&str> = schema
            .lines()
            .filter_map(|line| line.trim().strip_suffix(';'))
            .filter(|line| line.contains(" = "))
            .skip(1)
            .collect();
        let expected = [
            "string event_id = 1",
            "string timestamp = 2",
            "MetricsCollectedData metrics_collected = 3",
            "string collection_batch_id = 1",
            "string source_id = 2",
            "uint64 metrics_count = 3",
            "uint64 collection_duration_ms = 4",
            "string collection_method = 5",
            "string target_health = 6",
            "MetricsSummaryData metrics_summary = 7",
            "uint64 error_count = 8",
            "uint64 samples_per_second = 9",
            "Ledger ledger = 10",
            "uint64 counters = 1",
            "uint64 gauges = 2",
            "uint64 histograms = 3",
            "uint64 summaries = 4",
            "uint64 received = 1",
            "uint64 dropped = 2",
            "map<string, uint64> refused = 3",
            "uint64 stored = 4",
            "uint64 added = 5",
            "map<string, uint64> missed = 6",
            "string waited = 7",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let check = |bytes: &[u8], part: &str| {
            let error = decode_event(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"{}", "not a metrics_collected message");
        check(b"", "field metrics_collected");
        let mut wrong = Event::decode(encode_event(&event([0; 8])).as_slice()).unwrap();
        wrong.event_id = "7".into();
        check(&wrong.encode_to_vec(), "field event_id");
        if let Some(data) = &mut wrong.metrics_collected {
            data.target_health = "fine".into();
        }
        wrong.event_id = Uuid::nil().to_string();
        check(&wrong.encode_to_vec(), "field target_health of a metrics_collected message holds \"fine\"");
    }

    proptest! {
        #[test]
        fn every_event_survives(numbers: [u64; 8]) {
            let event = event(numbers);
            prop_assert_eq!(decode_event(&encode_event(&event)).unwrap(), event);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_event(&bytes);
        }
    }
}
