//! What a query answers.

use metricsd_model::{LabelSet, Millis};

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSeries {
    /// Identity.
    pub labels: LabelSet,
    /// The moment that was asked for.
    pub timestamp: Millis,
    /// The value that held then.
    pub value: f64,
}

/// One series over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// Identity.
    pub labels: LabelSet,
    /// One a step at which the series has a value, ascending; never empty.
    pub points: Vec<(Millis, f64)>,
}

/// The series of an answer, ordered by labels.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryData {
    /// Of an instant query.
    Vector(Vec<InstantSeries>),
    /// Of a range query.
    Matrix(Vec<RangeSeries>),
}

impl QueryData {
    /// How many series there are.
    pub fn series(&self) -> usize {
        match self {
            Self::Vector(series) => series.len(),
            Self::Matrix(series) => series.len(),
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
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryValue {
    /// The series.
    pub data: QueryData,
    /// What the answer leaves out, in sentences.
    pub warnings: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}
