//! The messages of remote write 1.0 as values, written out by hand so that building needs no protobuf compiler.
//! Receiving does not go through them.

use metricsd_model::{Millis, NativeHistogram, ResetHint};
use prost::Message;

/// What a sender sends.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Samples by series.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// What is said of metric families.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

impl WriteRequest {
    /// As protobuf, not yet packed (see [`super::pack`]).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// A series and what it brings.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// In order of name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Floats, in order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Examples.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// Native histograms, in order of time.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// One label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Label {
    /// Labels of pairs, in their order.
    pub fn list<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Self> {
        pairs
            .into_iter()
            .map(|(name, value)| Self { name: name.to_owned(), value: value.to_owned() })
            .collect()
    }
}

/// A float at a time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The float.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
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
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// What is said of a metric family.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MetricMetadata {
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The family's name.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// Help text.
    #[prost(string, tag = "4")]
    pub help: String,
    /// Unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// A run of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct BucketSpan {
    /// Gap to the run before, or the first index.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Number of buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// A native histogram at a time: with integer counts and deltas, or with float counts.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// All observations, as an integer.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// All observations, as a float.
    #[prost(double, optional, tag = "2")]
    pub count_float: Option<f64>,
    /// Sum of the observations.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// Resolution; -53 for custom bounds.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Width of the zero bucket.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// Observations in the zero bucket, as an integer.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// Observations in the zero bucket, as a float.
    #[prost(double, optional, tag = "7")]
    pub zero_count_float: Option<f64>,
    /// Which negative buckets are filled.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// Differences from bucket to bucket.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Absolute counts.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Which positive buckets are filled.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Differences from bucket to bucket.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Absolute counts.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// 0 unknown, 1 yes, 2 no, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Upper bounds for schema -53.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// A stored histogram, with float counts.
    pub fn of(histogram: &NativeHistogram, timestamp: Millis) -> Self {
        let spans = |spans: &[metricsd_model::Span]| {
            spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
        };
        Self {
            count_float: Some(histogram.count),
            sum: histogram.sum,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count_float: Some(histogram.zero_count),
            negative_spans: spans(&histogram.negative_spans),
            negative_counts: histogram.negative_buckets.clone(),
            positive_spans: spans(&histogram.positive_spans),
            positive_counts: histogram.positive_buckets.clone(),
            reset_hint: match histogram.reset_hint {
                ResetHint::Unknown => 0,
                ResetHint::Yes => 1,
                ResetHint::No => 2,
                ResetHint::Gauge => 3,
            },
            timestamp,
            custom_values: histogram.custom_values.clone(),
            ..Self::default()
        }
    }
}
