//! The messages of `proto/custom_metrics.proto` as values, written out by hand so that building needs no protobuf
//! compiler. Receiving does not go through them.

use prost::Message;

use crate::remote_write::message::{Histogram as NativeHistogram, Label};

/// Items in order.
#[derive(Clone, PartialEq, Message)]
pub struct Metrics {
    /// The items.
    #[prost(message, repeated, tag = "1")]
    pub metrics: Vec<Metric>,
    /// In streams: the number of the first item; 0: one more than that of the item before.
    #[prost(uint64, tag = "2")]
    pub first_sequence: u64,
}

impl Metrics {
    /// As protobuf.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// One item.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Labels, the name left out.
    #[prost(message, repeated, tag = "2")]
    pub labels: Vec<Label>,
    /// 0 custom, 1 counter, 2 gauge, 3 histogram, 4 summary.
    #[prost(int32, tag = "3")]
    pub metric_type: i32,
    /// 0 application, 1 infrastructure, 2 Kubernetes, 3 cloud provider, 4 custom exporter.
    #[prost(int32, tag = "4")]
    pub source: i32,
    /// Help text.
    #[prost(string, tag = "5")]
    pub help_text: String,
    /// Unit.
    #[prost(string, tag = "6")]
    pub unit: String,
    /// A float.
    #[prost(double, optional, tag = "7")]
    pub value: Option<f64>,
    /// Milliseconds since the epoch; absent: the time of arrival.
    #[prost(int64, optional, tag = "8")]
    pub timestamp: Option<i64>,
    /// A histogram with bounds of the client's choice.
    #[prost(message, optional, tag = "9")]
    pub histogram: Option<Histogram>,
    /// Quantiles that the client computed.
    #[prost(message, optional, tag = "10")]
    pub summary: Option<Summary>,
    /// A native histogram; its own timestamp says nothing.
    #[prost(message, optional, tag = "11")]
    pub native: Option<NativeHistogram>,
    /// Single observations.
    #[prost(message, repeated, tag = "12")]
    pub exemplars: Vec<Exemplar>,
}

/// Counts by upper bound.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// In order of bounds.
    #[prost(message, repeated, tag = "1")]
    pub buckets: Vec<Bucket>,
    /// Sum of all observations.
    #[prost(double, tag = "2")]
    pub sum: f64,
    /// All observations.
    #[prost(double, tag = "3")]
    pub count: f64,
}

/// Observations up to a bound.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Bucket {
    /// Upper bound, which belongs to the bucket.
    #[prost(double, tag = "1")]
    pub upper_bound: f64,
    /// Observations that are not above it.
    #[prost(double, tag = "2")]
    pub cumulative_count: f64,
}

/// Values by quantile.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// In any order.
    #[prost(message, repeated, tag = "1")]
    pub quantiles: Vec<Quantile>,
    /// Sum of all observations.
    #[prost(double, tag = "2")]
    pub sum: f64,
    /// All observations.
    #[prost(double, tag = "3")]
    pub count: f64,
}

/// A quantile and its value.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Quantile {
    /// From 0 to 1.
    #[prost(double, tag = "1")]
    pub quantile: f64,
    /// Value.
    #[prost(double, tag = "2")]
    pub value: f64,
}

/// One observation as an example.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// What names it.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since the epoch; absent: the time of the item.
    #[prost(int64, optional, tag = "3")]
    pub timestamp: Option<i64>,
}
