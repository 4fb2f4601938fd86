//! One row of a file: a sample with its series.

use metricsd_codec::exposition::MetricKind;
use metricsd_model::{MetricType, Millis, NativeHistogram, Refusal};

use crate::labels::Labels;

/// What a row measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RowValue {
    /// The series ended here.
    #[default]
    Stale,
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Box<NativeHistogram>),
}

/// A row; one is read after the other into the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Number of its line or row, from 1.
    pub line: u64,
    /// Name of the metric.
    pub name: String,
    /// Labels beside the name.
    pub labels: Labels,
    /// `None` stands for the time of arrival.
    pub timestamp: Option<Millis>,
    /// What was measured.
    pub value: RowValue,
    /// Declared kind.
    pub kind: MetricKind,
    /// Name of the family, where the file says it.
    pub family: String,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

impl Row {
    /// Makes room for the next.
    pub(crate) fn clear(&mut self) {
        self.name.clear();
        self.labels.clear();
        self.timestamp = None;
        self.value = RowValue::Stale;
        self.kind = MetricKind::Unknown;
        self.family.clear();
        self.help.clear();
        self.unit.clear();
    }

    /// The family that the row's metric belongs to.
    pub fn family(&self) -> &str {
        if !self.family.is_empty() {
            return &self.family;
        }
        let suffixes: &[&str] = match self.kind {
            MetricKind::Histogram => &["_bucket", "_sum", "_count"],
            MetricKind::Summary => &["_sum", "_count"],
            _ => &[],
        };
        suffixes.iter().find_map(|suffix| self.name.strip_suffix(suffix)).unwrap_or(&self.name)
    }
}

/// The kind of a documented type.
pub(crate) fn kind_of(metric_type: MetricType) -> MetricKind {
    match metric_type {
        MetricType::Counter => MetricKind::Counter,
        MetricType::Gauge => MetricKind::Gauge,
        MetricType::Histogram => MetricKind::Histogram,
        MetricType::Summary => MetricKind::Summary,
        MetricType::Custom => MetricKind::Unknown,
    }
}

/// Reads a type's name, however it is written; the empty one is `CUSTOM`.
pub(crate) fn kind_from(text: &str) -> Result<MetricKind, String> {
    if text.is_empty() {
        return Ok(MetricKind::Unknown);
    }
    if let Some(known) = MetricType::from_name(text) {
        return Ok(kind_of(known));
    }
    Ok(match text.to_ascii_lowercase().as_str() {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        "custom" | "unknown" | "untyped" => MetricKind::Unknown,
        _ => {
            let shown: String = text.chars().take(40).collect();
            return Err(format!(
                "metric_type: expected COUNTER, GAUGE, HISTOGRAM, SUMMARY or CUSTOM, found {shown:?}"
            ));
        }
    })
}

/// Why a row was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Number of its line or row, from 1.
    pub line: u64,
    /// Closed-set reason.
    pub reason: Refusal,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl RowFault {
    pub(crate) fn new(line: u64, reason: Refusal, message: impl Into<String>) -> Self {
        // No database keeps a NUL in a text.
        Self { line, reason, message: message.into().replace('\0', "\u{fffd}") }
    }
}

/// What reading on came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The row holds the next sample.
    Row,
    /// A row is bad; its neighbours are not.
    Fault(RowFault),
    /// There are no more.
    End,
}
