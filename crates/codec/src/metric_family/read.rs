//! Families and their metrics.

use std::borrow::Cow;

use metricsd_model::Millis;

use crate::exposition::MetricKind;
use crate::wire::{Reader, Wire, WireError};

/// Fields of `MetricFamily`.
const NAME: u32 = 1;
const HELP: u32 = 2;
const TYPE: u32 = 3;
const METRIC: u32 = 4;
const UNIT: u32 = 5;

/// `Metric.label` and its tag.
const LABEL: u32 = 1;
const LABEL_TAG: u8 = (LABEL as u8) << 3 | 2;

/// Why a page does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} {problem}, at byte {at} of the page", Shown(.family))]
pub struct FamilyError {
    /// The family, as far as its name is known.
    pub family: String,
    /// What was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// Where in the page.
    pub at: usize,
}

impl FamilyError {
    /// Characters of a family's name that an error shows.
    const SHOWN: usize = 200;

    #[cold]
    pub(super) fn new(family: &str, error: WireError) -> Self {
        let family = family.chars().take(Self::SHOWN).collect();
        Self { family, what: error.what, problem: error.problem, at: error.at }
    }
}

struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "family {:?}: ", self.0) }
    }
}

/// Walks the families of a page.
#[derive(Debug, Clone)]
pub struct FamilyReader<'p> {
    reader: Reader<'p>,
}

/// A family's description; its metrics are yet to be read.
#[derive(Debug, Clone, Copy)]
pub struct Family<'p> {
    /// Not empty.
    pub name: &'p str,
    /// Empty: none. Nothing is escaped in it.
    pub help: &'p str,
    /// Empty: none.
    pub unit: &'p str,
    /// Declared type.
    pub kind: MetricKind,
    reader: Reader<'p>,
}

impl<'p> FamilyReader<'p> {
    /// At the start of a page. Its size is the caller's to limit.
    pub fn new(page: &'p [u8]) -> Self {
        Self { reader: Reader::new(page, "the page") }
    }

    /// The next family; `None` at the end. After an error there is nothing more to be had.
    pub fn next_family(&mut self) -> Result<Option<Family<'p>>, FamilyError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let family = self.reader.message(Wire::Bytes, "a metric family");
        let family = family.map_err(|error| FamilyError::new("", error))?;
        Family::read(family).map(Some)
    }
}

impl<'p> Family<'p> {
    fn read(reader: Reader<'p>) -> Result<Self, FamilyError> {
        let mut family = Self { name: "", help: "", unit: "", kind: MetricKind::Counter, reader };
        family.describe().map_err(|error| FamilyError::new(family.name, error))?;
        Ok(family)
    }

    /// Reads all but the metrics: what describes them may stand behind them.
    fn describe(&mut self) -> Result<(), WireError> {
        let start = self.reader;
        let mut reader = start;
        while !reader.is_empty() {
            match reader.tag()? {
                (METRIC, wire) => reader.bytes(wire).map(drop)?,
                (NAME, wire) => self.name = text(&mut reader, wire, "has a name that is not UTF-8")?,
                (HELP, wire) => self.help = text(&mut reader, wire, "has a help text that is not UTF-8")?,
                (UNIT, wire) => self.unit = text(&mut reader, wire, "has a unit that is not UTF-8")?,
                (TYPE, wire) => {
                    let before = reader;
                    let kind = kind_of(reader.uint64(wire)?);
                    self.kind = kind.ok_or_else(|| before.error("has a type that does not exist"))?;
                }
                (_, wire) => reader.skip(wire)?,
            }
        }
        if self.name.is_empty() { Err(start.error("has no name")) } else { Ok(()) }
    }

    /// Walks the family's metrics.
    pub fn metrics(&self) -> Metrics<'p> {
        Metrics { name: self.name, kind: self.kind, reader: self.reader }
    }
}

fn text<'p>(reader: &mut Reader<'p>, wire: Wire, problem: &'static str) -> Result<&'p str, WireError> {
    let before = *reader;
    std::str::from_utf8(reader.bytes(wire)?).map_err(|_| before.error(problem))
}

/// `MetricType`.
fn kind_of(number: u64) -> Option<MetricKind> {
    Some(match number {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Summary,
        3 => MetricKind::Unknown,
        4 => MetricKind::Histogram,
        5 => MetricKind::GaugeHistogram,
        _ => return None,
    })
}

/// Walks the metrics of a family.
#[derive(Debug, Clone)]
pub struct Metrics<'p> {
    name: &'p str,
    kind: MetricKind,
    reader: Reader<'p>,
}

/// One metric: labels, and a value of its family's type.
#[derive(Debug, Clone)]
pub struct Metric<'p> {
    pub(super) labels: Cow<'p, [u8]>,
    /// Where in the page it begins.
    pub(super) at: usize,
    pub(super) family: &'p str,
    pub(super) kind: MetricKind,
    pub(super) value: Reader<'p>,
    /// Where the metric has one.
    pub timestamp: Option<Millis>,
}

impl<'p> Metrics<'p> {
    /// The next metric; `None` at the end. After an error there is nothing more to be had.
    #[inline]
    pub fn next_metric(&mut self) -> Result<Option<Metric<'p>>, FamilyError> {
        self.next().map_err(|error| FamilyError::new(self.name, error))
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Metric<'p>>, WireError> {
        while !self.reader.is_empty() {
            match self.reader.tag()? {
                (METRIC, wire) => {
                    let metric = self.reader.message(wire, "a metric")?;
                    return Metric::read(metric, self.name, self.kind).map(Some);
                }
                (_, wire) => self.reader.skip(wire)?,
            }
        }
        Ok(None)
    }
}

impl<'p> Metric<'p> {
    #[inline]
    fn read(mut reader: Reader<'p>, family: &'p str, kind: MetricKind) -> Result<Self, WireError> {
        let start = reader;
        reader.skip_short(LABEL_TAG);
        while reader.rest().first() == Some(&LABEL_TAG) {
            let (_, wire) = reader.tag()?;
            reader.bytes(wire)?;
        }
        let front = start.rest().get(..reader.at() - start.at()).unwrap_or_default();
        let mut labels = Cow::Borrowed(front);
        let (expected, what, missing) = value_of(kind);
        let (mut value, mut timestamp) = (None, 0);
        while !reader.is_empty() {
            let before = reader;
            match reader.tag()? {
                (6, wire) => timestamp = reader.int64(wire)?,
                (number, wire) if number == expected => {
                    let message = reader.message(wire, what)?;
                    if value.replace(message).is_some() {
                        return Err(before.error("has its value twice"));
                    }
                }
                (LABEL, wire) => {
                    reader.bytes(wire)?;
                    let field = before.rest().get(..reader.at() - before.at()).unwrap_or_default();
                    labels.to_mut().extend_from_slice(field);
                }
                (_, wire) => reader.skip(wire)?,
            }
        }
        let value = value.ok_or_else(|| start.error(missing))?;
        let timestamp = (timestamp != 0).then_some(timestamp);
        Ok(Self { labels, at: start.at(), family, kind, value, timestamp })
    }

    /// The bytes of the labels: in one family, equal bytes are equal labels.
    #[inline]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }
}

/// The field of `Metric` that a family's type asks for, what to call it, and what to say where it is missing.
fn value_of(kind: MetricKind) -> (u32, &'static str, &'static str) {
    match kind {
        MetricKind::Counter => (3, "a counter", "of a counter has no counter's value"),
        MetricKind::Summary => (4, "a summary", "of a summary has no summary's value"),
        MetricKind::Unknown => (5, "an untyped value", "of an untyped family has no untyped value"),
        MetricKind::Histogram | MetricKind::GaugeHistogram => {
            (7, "a histogram", "of a histogram has no histogram's value")
        }
        MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => {
            (2, "a gauge", "of a gauge has no gauge's value")
        }
    }
}
