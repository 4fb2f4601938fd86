//! Answers, as `proto/metrics_stream.proto` has them.

use metricsd_ingest::stream::Ack;
use prost::Message;

/// `metricsd.v1.Acknowledgement`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Acknowledgement {
    #[prost(uint64, tag = "1")]
    pub(crate) last: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) stored: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) refused: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) repeated: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) errors: Vec<ItemError>,
}

/// `metricsd.v1.ItemError`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ItemError {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
    #[prost(string, tag = "3")]
    pub(crate) field: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
}

impl From<Ack> for Acknowledgement {
    fn from(ack: Ack) -> Self {
        let errors = ack.errors.into_iter().map(|refused| ItemError {
            number: refused.number,
            reason: refused.error.reason.as_str().to_owned(),
            field: refused.error.field,
            message: refused.error.message,
        });
        Self {
            last: ack.last,
            stored: ack.stored,
            refused: ack.refused,
            repeated: ack.repeated,
            errors: errors.collect(),
        }
    }
}
