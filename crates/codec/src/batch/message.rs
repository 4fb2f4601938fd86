//! The messages of `proto/batch.proto`, written out by hand so that building needs no protobuf compiler.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SampleBatch {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) collection: Option<Collection>,
    #[prost(message, repeated, tag = "3")]
    pub(super) lists: Vec<SeriesList>,
    #[prost(message, repeated, tag = "4")]
    pub(super) frames: Vec<Frame>,
    #[prost(message, repeated, tag = "5")]
    pub(super) exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "6")]
    pub(super) families: Vec<Family>,
    #[prost(message, optional, tag = "7")]
    pub(super) fence: Option<Fence>,
    #[prost(string, optional, tag = "8")]
    pub(super) protocol: Option<String>,
    #[prost(message, repeated, tag = "9")]
    pub(super) joined: Vec<JoinedPush>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct JoinedPush {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) columns: Vec<u32>,
    #[prost(uint32, tag = "3")]
    pub(super) exemplars: u32,
    #[prost(uint32, tag = "4")]
    pub(super) families: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Fence {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) member: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "3")]
    pub(super) bucket: u32,
    #[prost(sint64, tag = "4")]
    pub(super) slot: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Collection {
    #[prost(string, tag = "1")]
    pub(super) source_id: String,
    #[prost(string, tag = "2")]
    pub(super) target_id: String,
    #[prost(string, tag = "3")]
    pub(super) method: String,
    #[prost(sint64, tag = "4")]
    pub(super) started: i64,
    #[prost(double, tag = "5")]
    pub(super) duration_ms: f64,
    #[prost(string, tag = "6")]
    pub(super) status: String,
    #[prost(string, tag = "7")]
    pub(super) health: String,
    #[prost(string, optional, tag = "8")]
    pub(super) reason: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub(super) error: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(super) ledger: Option<LedgerCounts>,
    #[prost(uint64, tag = "11")]
    pub(super) counters: u64,
    #[prost(uint64, tag = "12")]
    pub(super) gauges: u64,
    #[prost(uint64, tag = "13")]
    pub(super) histograms: u64,
    #[prost(uint64, tag = "14")]
    pub(super) summaries: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LedgerCounts {
    #[prost(uint64, tag = "1")]
    pub(super) received: u64,
    #[prost(uint64, tag = "2")]
    pub(super) dropped: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) refused: Vec<Count>,
    #[prost(uint64, tag = "4")]
    pub(super) stored: u64,
    #[prost(message, repeated, tag = "5")]
    pub(super) missed: Vec<Count>,
    #[prost(string, tag = "6")]
    pub(super) waited: String,
    #[prost(uint64, tag = "7")]
    pub(super) added: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Count {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesList {
    #[prost(fixed64, tag = "1")]
    pub(super) hash_high: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) hash_low: u64,
    #[prost(bool, tag = "3")]
    pub(super) shared: bool,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesContent {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<SeriesText>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesText {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) labels: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) metric_type: String,
    #[prost(string, tag = "3")]
    pub(super) source_type: String,
    #[prost(string, tag = "4")]
    pub(super) source: String,
    #[prost(string, tag = "5")]
    pub(super) target_id: String,
    #[prost(string, optional, tag = "6")]
    pub(super) help: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(super) unit: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Frame {
    #[prost(uint32, tag = "1")]
    pub(super) list: u32,
    #[prost(sint64, tag = "2")]
    pub(super) time: i64,
    #[prost(bool, tag = "3")]
    pub(super) has_offsets: bool,
    #[prost(sint32, repeated, tag = "4")]
    pub(super) offsets: Vec<i32>,
    #[prost(double, repeated, tag = "5")]
    pub(super) values: Vec<f64>,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) histograms: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Exemplar {
    #[prost(uint32, tag = "1")]
    pub(super) list: u32,
    #[prost(uint32, tag = "2")]
    pub(super) column: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) labels: Vec<u8>,
    #[prost(double, tag = "4")]
    pub(super) value: f64,
    #[prost(sint64, tag = "5")]
    pub(super) timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Family {
    #[prost(string, tag = "1")]
    pub(super) family: String,
    #[prost(string, tag = "2")]
    pub(super) metric_type: String,
    #[prost(string, tag = "3")]
    pub(super) help: String,
    #[prost(string, tag = "4")]
    pub(super) unit: String,
}
