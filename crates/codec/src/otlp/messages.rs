//! The messages of OTLP's metrics as values, written out by hand so that building needs no protobuf compiler: for
//! whoever sends them. Receiving does not go through them.

use prost::{Message, Oneof};

/// What a sender sends.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    /// By resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// Metrics of one resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceMetrics {
    /// Who says it.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// By scope.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
    /// Of the resource's attributes.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// Who says it.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What it is.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Metrics of one instrumentation scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeMetrics {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// What it counts.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// Of the metrics.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Of the library.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Of the library.
    #[prost(string, tag = "2")]
    pub version: String,
    /// More about it.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// One metric.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub description: String,
    /// In UCUM.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// Its data points.
    #[prost(oneof = "Data", tags = "5, 7, 9, 10, 11")]
    pub data: Option<Data>,
}

/// Data points of one kind.
#[derive(Clone, PartialEq, Oneof)]
pub enum Data {
    /// Levels.
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    /// Counts.
    #[prost(message, tag = "7")]
    Sum(Sum),
    /// Observations by bounds.
    #[prost(message, tag = "9")]
    Histogram(Histogram),
    /// Observations by powers.
    #[prost(message, tag = "10")]
    Exponential(Exponential),
    /// Quantiles.
    #[prost(message, tag = "11")]
    Summary(Summary),
}

/// Levels.
#[derive(Clone, PartialEq, Message)]
pub struct Gauge {
    /// Its data points.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
}

/// `AGGREGATION_TEMPORALITY_DELTA`.
pub const DELTA: i32 = 1;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
pub const CUMULATIVE: i32 = 2;

/// Counts.
#[derive(Clone, PartialEq, Message)]
pub struct Sum {
    /// Its data points.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
    /// [`DELTA`] or [`CUMULATIVE`].
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    /// It never falls.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// Observations by bounds.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Its data points.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramPoint>,
    /// [`DELTA`] or [`CUMULATIVE`].
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// Observations by powers.
#[derive(Clone, PartialEq, Message)]
pub struct Exponential {
    /// Its data points.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<ExponentialPoint>,
    /// [`DELTA`] or [`CUMULATIVE`].
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// Quantiles.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Its data points.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<SummaryPoint>,
}

/// `NumberDataPoint`.
#[derive(Clone, PartialEq, Message)]
pub struct NumberPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// The number.
    #[prost(oneof = "Number", tags = "4, 6")]
    pub value: Option<Number>,
    /// Examples.
    #[prost(message, repeated, tag = "5")]
    pub exemplars: Vec<Exemplar>,
    /// 1: nothing was recorded.
    #[prost(uint32, tag = "8")]
    pub flags: u32,
}

/// A number of either kind.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum Number {
    /// A float.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A whole number.
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

/// `HistogramDataPoint`.
#[derive(Clone, PartialEq, Message)]
pub struct HistogramPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// Observations.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Of the observations.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// Of each bucket by itself.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// One fewer.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    /// Examples.
    #[prost(message, repeated, tag = "8")]
    pub exemplars: Vec<Exemplar>,
    /// 1: nothing was recorded.
    #[prost(uint32, tag = "10")]
    pub flags: u32,
    /// The least observation.
    #[prost(double, optional, tag = "11")]
    pub min: Option<f64>,
    /// The largest.
    #[prost(double, optional, tag = "12")]
    pub max: Option<f64>,
}

/// `ExponentialHistogramDataPoint`.
#[derive(Clone, PartialEq, Message)]
pub struct ExponentialPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// Observations.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Of the observations.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// Bounds grow by 2^(2^-scale).
    #[prost(sint32, tag = "6")]
    pub scale: i32,
    /// Observations near zero.
    #[prost(fixed64, tag = "7")]
    pub zero_count: u64,
    /// Above zero.
    #[prost(message, optional, tag = "8")]
    pub positive: Option<Buckets>,
    /// Below zero.
    #[prost(message, optional, tag = "9")]
    pub negative: Option<Buckets>,
    /// 1: nothing was recorded.
    #[prost(uint32, tag = "10")]
    pub flags: u32,
    /// Examples.
    #[prost(message, repeated, tag = "11")]
    pub exemplars: Vec<Exemplar>,
    /// How near.
    #[prost(double, tag = "14")]
    pub zero_threshold: f64,
}

/// Buckets of one sign.
#[derive(Clone, PartialEq, Message)]
pub struct Buckets {
    /// Index of the first.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Of each by itself.
    #[prost(uint64, repeated, tag = "2")]
    pub bucket_counts: Vec<u64>,
}

/// `SummaryDataPoint`.
#[derive(Clone, PartialEq, Message)]
pub struct SummaryPoint {
    /// What it is of.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// Observations.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Of the observations.
    #[prost(double, tag = "5")]
    pub sum: f64,
    /// Its quantiles.
    #[prost(message, repeated, tag = "6")]
    pub quantile_values: Vec<Quantile>,
    /// 1: nothing was recorded.
    #[prost(uint32, tag = "8")]
    pub flags: u32,
}

/// A quantile and its value.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Quantile {
    /// From 0 to 1.
    #[prost(double, tag = "1")]
    pub quantile: f64,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
}

/// One observation as an example.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Attributes that the data point does not have.
    #[prost(message, repeated, tag = "7")]
    pub filtered_attributes: Vec<KeyValue>,
    /// Nanoseconds since the epoch.
    #[prost(fixed64, tag = "2")]
    pub time_unix_nano: u64,
    /// What was observed.
    #[prost(oneof = "Observed", tags = "3, 6")]
    pub value: Option<Observed>,
    /// Eight bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub span_id: Vec<u8>,
    /// Sixteen bytes.
    #[prost(bytes = "vec", tag = "5")]
    pub trace_id: Vec<u8>,
}

/// What was observed, of either kind.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum Observed {
    /// A float.
    #[prost(double, tag = "3")]
    Double(f64),
    /// A whole number.
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

impl KeyValue {
    /// Attributes that are texts.
    pub fn texts(pairs: &[(&str, &str)]) -> Vec<Self> {
        pairs.iter().map(|(key, value)| Self::of(key, Value::Text((*value).to_owned()))).collect()
    }

    /// One attribute.
    pub fn of(key: &str, value: Value) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

/// A value of any kind, or none.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// It.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<Value>,
}

/// A value.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// A float.
    #[prost(double, tag = "4")]
    Double(f64),
    /// Values.
    #[prost(message, tag = "5")]
    List(ArrayValue),
    /// Values by keys.
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    /// Bytes.
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

/// Values.
#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// Values by keys.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValueList {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

impl ExportRequest {
    /// Metrics of one resource and of a scope without a name.
    pub fn of(resource: Vec<KeyValue>, metrics: Vec<Metric>) -> Self {
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource = Some(Resource { attributes: resource });
        Self {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        }
    }

    /// As protobuf.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Metric {
    /// A metric without a description.
    pub fn new(name: &str, unit: &str, data: Data) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), description: String::new(), data: Some(data) }
    }
}
