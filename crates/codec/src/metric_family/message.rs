//! The messages of `io.prometheus.client` as values, written out by hand so that building needs no protobuf compiler.
//! Reading does not go through them.

use prost::Message;

/// A family and its metrics.
#[derive(Clone, PartialEq, Message)]
pub struct MetricFamily {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Help text.
    #[prost(string, tag = "2")]
    pub help: String,
    /// 0 counter, 1 gauge, 2 summary, 3 untyped, 4 histogram, 5 gauge histogram.
    #[prost(int32, tag = "3")]
    pub r#type: i32,
    /// Metrics.
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    /// Unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// A page of families, each behind its length.
pub fn page(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

impl LabelPair {
    /// Labels of pairs, in their order.
    pub fn list<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Self> {
        pairs
            .into_iter()
            .map(|(name, value)| Self { name: name.to_owned(), value: value.to_owned() })
            .collect()
    }
}

/// One metric; of the values it has the one of its family's type.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Labels.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// A gauge's value.
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Value>,
    /// A counter's value.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Counter>,
    /// A summary's values.
    #[prost(message, optional, tag = "4")]
    pub summary: Option<Summary>,
    /// A value of no declared type.
    #[prost(message, optional, tag = "5")]
    pub untyped: Option<Value>,
    /// A histogram's values.
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
    /// Milliseconds since the epoch; 0: none.
    #[prost(int64, tag = "6")]
    pub timestamp_ms: i64,
}

/// One label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelPair {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `Gauge` and `Untyped`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Value {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
}

/// A counter.
#[derive(Clone, PartialEq, Message)]
pub struct Counter {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// An example.
    #[prost(message, optional, tag = "2")]
    pub exemplar: Option<Exemplar>,
    /// When counting began.
    #[prost(message, optional, tag = "3")]
    pub created_timestamp: Option<Timestamp>,
}

/// A summary.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Observations.
    #[prost(uint64, tag = "1")]
    pub sample_count: u64,
    /// Their sum.
    #[prost(double, tag = "2")]
    pub sample_sum: f64,
    /// Quantiles.
    #[prost(message, repeated, tag = "3")]
    pub quantile: Vec<Quantile>,
    /// When counting began.
    #[prost(message, optional, tag = "4")]
    pub created_timestamp: Option<Timestamp>,
}

/// A quantile of a summary.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Quantile {
    /// From 0 to 1.
    #[prost(double, tag = "1")]
    pub quantile: f64,
    /// The value.
    #[prost(double, tag = "2")]
    pub value: f64,
}

/// A histogram: classic buckets, a native histogram, or both.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations.
    #[prost(uint64, tag = "1")]
    pub sample_count: u64,
    /// Counts instead of it where it is more than 0.
    #[prost(double, tag = "4")]
    pub sample_count_float: f64,
    /// The observations' sum.
    #[prost(double, tag = "2")]
    pub sample_sum: f64,
    /// Classic buckets by their bounds.
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    /// Resolution.
    #[prost(sint32, tag = "5")]
    pub schema: i32,
    /// Width of the zero bucket.
    #[prost(double, tag = "6")]
    pub zero_threshold: f64,
    /// Observations in it.
    #[prost(uint64, tag = "7")]
    pub zero_count: u64,
    /// Counts instead of it where it is more than 0.
    #[prost(double, tag = "8")]
    pub zero_count_float: f64,
    /// Which negative buckets are filled.
    #[prost(message, repeated, tag = "9")]
    pub negative_span: Vec<BucketSpan>,
    /// Differences from bucket to bucket.
    #[prost(sint64, repeated, tag = "10")]
    pub negative_delta: Vec<i64>,
    /// Absolute counts.
    #[prost(double, repeated, tag = "11")]
    pub negative_count: Vec<f64>,
    /// Which positive buckets are filled.
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    /// Differences from bucket to bucket.
    #[prost(sint64, repeated, tag = "13")]
    pub positive_delta: Vec<i64>,
    /// Absolute counts.
    #[prost(double, repeated, tag = "14")]
    pub positive_count: Vec<f64>,
    /// When counting began.
    #[prost(message, optional, tag = "15")]
    pub created_timestamp: Option<Timestamp>,
    /// Examples for the native histogram.
    #[prost(message, repeated, tag = "16")]
    pub exemplars: Vec<Exemplar>,
}

/// A classic bucket.
#[derive(Clone, PartialEq, Message)]
pub struct Bucket {
    /// Observations up to the bound.
    #[prost(uint64, tag = "1")]
    pub cumulative_count: u64,
    /// Counts instead of it where it is more than 0.
    #[prost(double, tag = "4")]
    pub cumulative_count_float: f64,
    /// The bound, inclusive.
    #[prost(double, tag = "2")]
    pub upper_bound: f64,
    /// An example.
    #[prost(message, optional, tag = "3")]
    pub exemplar: Option<Exemplar>,
}

/// A run of native buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct BucketSpan {
    /// Gap to the run before, or the first index.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Number of buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// One observation as an example.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// What names it.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// When.
    #[prost(message, optional, tag = "3")]
    pub timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Timestamp {
    /// Seconds since the epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds on top of them.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
