//! What a query answers.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{LabelSet, Millis, NativeHistogram};

/// What a series says at one moment.
#[derive(Debug, Clone, PartialEq)]
pub enum PointValue {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<NativeHistogram>),
}

impl PointValue {
    /// The number, where it is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }
}

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSeries {
    /// Identity; may be empty.
    pub labels: LabelSet,
    /// The moment that was asked for.
    pub timestamp: Millis,
    /// What held then.
    pub value: PointValue,
}

/// One series over a range. At each step it has a float, a histogram, or nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RangeSeries {
    /// Identity; may be empty.
    pub labels: LabelSet,
    /// Floats, ascending in time.
    pub floats: Vec<(Millis, f64)>,
    /// Histograms, ascending in time.
    pub histograms: Vec<(Millis, Arc<NativeHistogram>)>,
}

/// The data of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryData {
    /// A number, of an instant query.
    Scalar(Millis, f64),
    /// A text, of an instant query.
    String(Millis, String),
    /// Series of an instant query: ordered by labels, or as `sort` and `topk` ordered them.
    Vector(Vec<InstantSeries>),
    /// Series of a range query, or of an instant query that asks for a range; ordered by labels.
    Matrix(Vec<RangeSeries>),
}

impl QueryData {
    /// How many series there are; a scalar and a string count as none.
    pub fn series(&self) -> usize {
        match self {
            Self::Scalar(..) | Self::String(..) => 0,
            Self::Vector(series) => series.len(),
            Self::Matrix(series) => series.len(),
        }
    }

    /// The kind of data as Prometheus names it: `scalar`, `string`, `vector`, `matrix`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(..) => "scalar",
            Self::String(..) => "string",
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
        }
    }
}

/// What it took to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Series that were read, those without a value in the answer included.
    pub series: usize,
    /// Samples that were read.
    pub samples: usize,
    /// Most samples that were held at once.
    pub peak_samples: usize,
    /// Time in the queue before the query began.
    pub queued: Duration,
    /// Time spent on reading from the store.
    pub reading: Duration,
    /// Time from the beginning to the end of the evaluation, reading included.
    pub evaluating: Duration,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryValue {
    /// The series.
    pub data: QueryData,
    /// What is probably wrong with the query or its data; each a sentence with its place, as `PromQL warning: …`.
    pub warnings: Vec<String>,
    /// What may be wrong with them; each a sentence with its place, as `PromQL info: …`.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// What a caller may say beside the query; an absent field means the engine's own setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// How long a sample speaks for its series.
    pub look_back: Option<Duration>,
    /// How long the query may take; the engine's own timeout stays the upper bound.
    pub timeout: Option<Duration>,
}
