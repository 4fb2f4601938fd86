//! One item, as values.

use metricsd_model::{MetricSource, MetricType, Millis, NativeHistogram, Refusal};

/// A metric as pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomMetric {
    /// Not empty; otherwise as sent.
    pub name: String,
    /// `CUSTOM` where none was given, unless the value is a histogram or a summary.
    pub metric_type: MetricType,
    /// What was measured.
    pub value: CustomValue,
    /// In the order of the body; no name twice, none reserved.
    pub labels: Vec<(String, String)>,
    /// `None` stands for the time of arrival.
    pub timestamp: Option<Millis>,
    /// `APPLICATION` where none was given.
    pub source: MetricSource,
    /// Where one was given.
    pub help_text: Option<String>,
    /// Where one was given.
    pub unit: Option<String>,
    /// Single observations.
    pub exemplars: Vec<ItemExemplar>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub enum CustomValue {
    /// Any float.
    Float(f64),
    /// Counts by upper bound: becomes the series `_bucket`, `_sum` and `_count`.
    Classic(ClassicHistogram),
    /// A native histogram.
    Native(Box<NativeHistogram>),
    /// Values by quantile: becomes the series of the quantiles, `_sum` and `_count`.
    Summary(Summary),
}

/// A histogram with bounds of the client's choice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassicHistogram {
    /// Upper bounds, ascending, each with how many observations are not above it. A bound of infinity is added
    /// where it is missing.
    pub buckets: Vec<(f64, f64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// All observations.
    pub count: f64,
}

/// Quantiles that the client computed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Quantiles from 0 to 1 and their values.
    pub quantiles: Vec<(f64, f64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// All observations.
    pub count: f64,
}

/// One observation as an example.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemExemplar {
    /// What names it.
    pub labels: Vec<(String, String)>,
    /// What was observed.
    pub value: f64,
    /// `None` stands for the time of the item.
    pub timestamp: Option<Millis>,
}

/// Why one item is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {index}: {field}: {message}")]
pub struct ItemError {
    /// Position in the list, from 0.
    pub index: usize,
    /// The field at fault, such as `value` or `labels.host`; empty where the item is no object.
    pub field: String,
    /// What was expected.
    pub message: String,
    /// The reason for the ledger.
    pub refusal: Refusal,
}

/// What is wrong with an item, before its index is added.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) message: String,
    pub(super) refusal: Refusal,
}

impl Wrong {
    pub(super) fn new(field: impl Into<String>, refusal: Refusal, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), refusal }
    }

    pub(super) fn at(self, index: usize) -> ItemError {
        ItemError { index, field: self.field, message: self.message, refusal: self.refusal }
    }
}
