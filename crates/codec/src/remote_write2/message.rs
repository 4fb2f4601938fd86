//! The messages of remote write 2.0 as values, written out by hand so that building needs no protobuf compiler.
//! Receiving does not go through them.

use prost::Message;

use crate::remote_write::message::BucketSpan;

/// What a sender sends.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// All texts, the first of them empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// Samples by series.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeries>,
}

impl Request {
    /// As protobuf, not yet packed (see [`crate::remote_write::pack`]).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// The number of a text, which is added to the table where it is not there.
    pub fn symbol(&mut self, text: &str) -> u32 {
        if self.symbols.is_empty() {
            self.symbols.push(String::new());
        }
        let place = self.symbols.iter().position(|known| known == text).unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// References to labels, names and values in turn.
    pub fn labels<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u32> {
        pairs.into_iter().flat_map(|(name, value)| [self.symbol(name), self.symbol(value)]).collect()
    }
}

/// A series and what it brings.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// References to names and values in turn.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// Floats, in order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms, in order of time.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
    /// Examples.
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
    /// What is said of the series' family.
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<Metadata>,
    /// When the series began, as drafts of the protocol had it; milliseconds since the epoch, 0: not said.
    #[prost(int64, tag = "6")]
    pub created_timestamp: i64,
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
    /// When the counting began; 0: not said.
    #[prost(int64, tag = "3")]
    pub start_timestamp: i64,
}

/// One observation as an example.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// References to names and values in turn.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// What is said of a series' family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Metadata {
    /// 0 unspecified, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Reference to the help text.
    #[prost(uint32, tag = "3")]
    pub help_ref: u32,
    /// Reference to the unit.
    #[prost(uint32, tag = "4")]
    pub unit_ref: u32,
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
    /// 0 unspecified, 1 yes, 2 no, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Upper bounds for schema -53.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    /// When the counting began; 0: not said.
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}
