//! What a page consists of.

use std::borrow::Cow;
use std::fmt;

use metricsd_model::{FamilyType, MetricType, Millis};

use super::series::{self, SeriesError};

/// One line of a page that says something; slices of the page wherever possible.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// `# HELP name text`
    Help {
        /// Family.
        name: Cow<'a, str>,
        /// As it stands in the page; [`unescape_help`] gives the text itself.
        text: &'a str,
    },
    /// `# TYPE name kind`
    Type {
        /// Family.
        name: Cow<'a, str>,
        /// Declared kind.
        kind: MetricKind,
    },
    /// `# UNIT name unit`, OpenMetrics only.
    Unit {
        /// Family.
        name: Cow<'a, str>,
        /// Empty where the line leaves it out.
        unit: &'a str,
    },
    /// A value.
    Sample(SampleLine<'a>),
}

/// A line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleLine<'a> {
    /// The line up to its value, such as `a_total{x="1"}`, syntax checked. Equal text is the same series, so this can
    /// be the key of a cache; [`super::parse_series`] takes it apart.
    pub series: &'a str,
    /// Value.
    pub value: f64,
    /// Where the line has one. OpenMetrics' decimal seconds are cut off at the millisecond.
    pub timestamp: Option<Millis>,
    /// Where the line has one; OpenMetrics only.
    pub exemplar: Option<Exemplar<'a>>,
    /// Number of the line, from 1.
    pub line: usize,
}

/// A pointer from a sample to something outside, such as a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar<'a> {
    /// `{trace_id="…"}` as it stands in the page, syntax checked.
    pub labels: &'a str,
    /// Value.
    pub value: f64,
    /// Where there is one.
    pub timestamp: Option<Millis>,
}

impl<'a> Exemplar<'a> {
    /// OpenMetrics allows this many characters in names and values together.
    pub const MAX_CHARS: usize = 128;

    /// The labels, unescaped. Refused where a name is given twice or all together are longer than
    /// [`Self::MAX_CHARS`]: such an exemplar is to be dropped, its sample is good.
    pub fn parse_labels(&self) -> Result<Vec<series::Label<'a>>, SeriesError> {
        let labels = series::parse_labels(self.labels)?;
        let chars: usize =
            labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if chars > Self::MAX_CHARS {
            return Err(SeriesError::ExemplarTooLong(chars));
        }
        Ok(labels)
    }
}

/// The kinds that TYPE lines declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricKind {
    /// `counter`
    Counter,
    /// `gauge`
    Gauge,
    /// `histogram`
    Histogram,
    /// `gaugehistogram`, OpenMetrics only.
    GaugeHistogram,
    /// `summary`
    Summary,
    /// `info`, OpenMetrics only.
    Info,
    /// `stateset`, OpenMetrics only.
    StateSet,
    /// `untyped` in Prometheus text, `unknown` in OpenMetrics, and what nobody declared.
    #[default]
    Unknown,
}

impl MetricKind {
    /// The model's type for a family of it.
    pub fn family_type(self) -> FamilyType {
        match self {
            Self::Counter => FamilyType::Counter,
            Self::Gauge => FamilyType::Gauge,
            Self::Histogram => FamilyType::Histogram,
            Self::GaugeHistogram => FamilyType::GaugeHistogram,
            Self::Summary => FamilyType::Summary,
            Self::Info => FamilyType::Info,
            Self::StateSet => FamilyType::StateSet,
            Self::Unknown => FamilyType::Custom,
        }
    }

    /// The model's type for its series.
    pub fn metric_type(self) -> MetricType {
        self.family_type().metric_type()
    }
}

/// Why a line, and with it the page, does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What was expected, and where in the line.
    pub message: String,
}

impl ParseError {
    /// How much of the line the message shows.
    const NEAR: usize = 24;

    pub(super) fn at(line_number: usize, line: &str, fault: Fault) -> Self {
        let column = fault.at.min(line.len());
        let rest = String::from_utf8_lossy(&line.as_bytes()[column..]);
        let near: String = rest.chars().take(Self::NEAR).collect();
        Self { line: line_number, message: format!("{} at column {}, near {near:?}", fault.what, column + 1) }
    }
}

/// A fault in a line, cheap to make and pass on; becomes a [`ParseError`] at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte in the line.
    pub(super) at: usize,
    /// What was expected.
    pub(super) what: &'static str,
}

impl Fault {
    #[cold]
    pub(super) fn new(at: usize, what: &'static str) -> Self {
        Self { at, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at column {}", self.what, self.at + 1)
    }
}

/// The text of a HELP line with `\\`, `\n` and `\"` resolved; other backslashes stay.
pub fn unescape_help(text: &str) -> Cow<'_, str> {
    super::scan::unescape(text)
}
