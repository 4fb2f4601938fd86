//! Who writes, and by which protocol.

use std::collections::BTreeMap;

use metricsd_model::{CollectionMethod, MetricSource, Protocol, Refusal};

use crate::Caller;

/// Who writes, and how: what the samples themselves do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOrigin {
    /// Who the metrics belong to; at most 100 characters.
    pub source_id: String,
    /// Target that the push speaks for; usually empty.
    pub target_id: String,
    /// Kind of source of new series.
    pub source_type: MetricSource,
    /// What it spoke.
    pub protocol: Protocol,
    /// How the collection is called.
    pub method: CollectionMethod,
    /// The client's name for this push, such as an `Idempotency-Key`; absent: the body's content decides whether it came
    /// before.
    pub key: Option<String>,
    /// Who was let in to write it: its quotas are used up by it.
    pub caller: Caller,
    /// What the protocol's decoder refused already.
    pub unreadable: Unreadable,
}

/// What of a push is not in its body, since it did not read. It is counted with the rest of the collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreadable {
    /// How many samples, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// What was wrong with the first, for the collection's job.
    pub first: Option<String>,
}

impl WriteOrigin {
    /// An application that speaks for itself, without a key.
    pub fn new(source_id: impl Into<String>, protocol: Protocol) -> Self {
        Self {
            source_id: source_id.into(),
            target_id: String::new(),
            source_type: MetricSource::Application,
            protocol,
            method: protocol.method(),
            key: None,
            unreadable: Unreadable::default(),
            caller: Caller::anonymous(),
        }
    }
}
