//! One `TimeSeries`: its labels as they lie, then its samples, exemplars and histograms.

use std::borrow::Cow;

use metricsd_model::{MetricSource, Millis};

use super::histogram::HistogramBytes;
use crate::wire::{Reader, Wire, WireError};

/// Fields of `TimeSeries`.
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const EXEMPLARS: u32 = 3;
const HISTOGRAMS: u32 = 4;

/// A field that only our own bodies have: what kind of source a series has.
pub(super) const SOURCE: u32 = 15;

/// The same as they are written, each a length and so many bytes.
const LABELS_TAG: u8 = (LABELS as u8) << 3 | 2;
const SAMPLES_TAG: u8 = (SAMPLES as u8) << 3 | 2;

/// Fields of `Sample` as they are written.
const VALUE_TAG: u8 = 1 << 3 | 1;
const TIMESTAMP_TAG: u8 = 2 << 3;

/// A series as it stands in a request.
#[derive(Debug, Clone)]
pub struct TimeSeries<'a> {
    /// All label fields, framing included: a slice of the body, unless they do not stand together at the front.
    labels: Cow<'a, [u8]>,
    /// Where in the body the series begins.
    at: usize,
    rest: Reader<'a>,
}

/// One label. Texts are as they stand, UTF-8 or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLabel<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// What a series brings.
#[derive(Debug, Clone, Copy)]
pub enum SeriesItem<'a> {
    /// A float at a time.
    Sample {
        /// Milliseconds since the epoch.
        timestamp: Millis,
        /// The float; staleness markers are told by their bits.
        value: f64,
    },
    /// A native histogram, not yet taken apart.
    Histogram(HistogramBytes<'a>),
    /// An exemplar, not yet taken apart.
    Exemplar(ExemplarBytes<'a>),
}

impl<'a> TimeSeries<'a> {
    /// Passes over the labels that stand at the front: every sender that is known to us writes them there.
    #[inline]
    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let start = reader;
        reader.skip_short(LABELS_TAG);
        while reader.rest().first() == Some(&LABELS_TAG) {
            let (_, wire) = reader.tag()?;
            reader.bytes(wire)?;
        }
        let front = start.rest().get(..reader.at() - start.at()).unwrap_or_default();
        let mut series = Self { labels: Cow::Borrowed(front), at: start.at(), rest: reader };
        // A series that holds more than floats is looked at again; so is one whose labels are spread out.
        let mut ahead = reader;
        ahead.skip_short(SAMPLES_TAG);
        while ahead.rest().first() == Some(&SAMPLES_TAG) {
            let (_, wire) = ahead.tag()?;
            ahead.bytes(wire)?;
        }
        if !ahead.is_empty() {
            series.gather_labels(ahead)?;
        }
        Ok(series)
    }

    /// Appends labels that stand behind other fields.
    fn gather_labels(&mut self, mut reader: Reader<'a>) -> Result<(), WireError> {
        while !reader.is_empty() {
            let start = reader;
            let (number, wire) = reader.tag()?;
            reader.skip(wire)?;
            if number == LABELS && wire == Wire::Bytes {
                let field = start.rest().get(..reader.at() - start.at()).unwrap_or_default();
                self.labels.to_mut().extend_from_slice(field);
            }
        }
        Ok(())
    }

    /// The labels' bytes: equal bytes are equal labels.
    #[inline]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Takes the labels apart. Of more than `max` only one more is read, by which the caller sees that there are more.
    pub fn parse_labels(&self, max: usize) -> Result<Vec<RawLabel<'_>>, WireError> {
        parse_labels(&self.labels, max).map_err(|error| WireError { at: error.at + self.at, ..error })
    }

    /// Time and value where the series brings one float and nothing else.
    #[inline]
    pub fn only_float(&self) -> Option<(Millis, f64)> {
        if let Some(sample) = usual_sample(self.rest.rest()) {
            return Some(sample);
        }
        let mut items = self.items();
        match (items.next_item(), items.next_item()) {
            (Ok(Some(SeriesItem::Sample { timestamp, value })), Ok(None)) => Some((timestamp, value)),
            _ => None,
        }
    }

    /// What kind of source the series has, where it is another than that of the body.
    pub fn source(&self) -> Option<MetricSource> {
        let mut reader = self.rest;
        while !reader.is_empty() {
            match reader.tag().ok()? {
                (SOURCE, wire) => {
                    return MetricSource::ALL.get(reader.uint32(wire).ok()? as usize).copied();
                }
                (_, wire) => reader.skip(wire).ok()?,
            }
        }
        None
    }

    /// What the series brings, in the order of the body.
    #[inline]
    pub fn items(&self) -> SeriesItems<'a> {
        SeriesItems { reader: self.rest }
    }
}

/// Walks what a series brings.
#[derive(Debug, Clone)]
pub struct SeriesItems<'a> {
    reader: Reader<'a>,
}

impl<'a> SeriesItems<'a> {
    /// The next item; `None` at the end.
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<SeriesItem<'a>>, WireError> {
        while !self.reader.is_empty() {
            match self.reader.tag()? {
                (SAMPLES, wire) => return sample(self.reader.message(wire, "a sample")?).map(Some),
                (HISTOGRAMS, wire) => {
                    let histogram = self.reader.message(wire, "a histogram")?;
                    return Ok(Some(SeriesItem::Histogram(HistogramBytes::new(histogram))));
                }
                (EXEMPLARS, wire) => {
                    let exemplar = self.reader.message(wire, "an exemplar")?;
                    return Ok(Some(SeriesItem::Exemplar(ExemplarBytes(exemplar))));
                }
                (LABELS, wire) => self.reader.message(wire, "a label").map(drop)?,
                (_, wire) => self.reader.skip(wire)?,
            }
        }
        Ok(None)
    }
}

/// A sample as every sender writes it that is known to us, where it is all that is left: value, then time.
#[inline]
fn usual_sample(bytes: &[u8]) -> Option<(Millis, f64)> {
    let (&[SAMPLES_TAG, length, VALUE_TAG], rest) = bytes.split_first_chunk()? else { return None };
    let (value, rest) = rest.split_first_chunk::<8>()?;
    let (&TIMESTAMP_TAG, time) = rest.split_first()? else { return None };
    // Nine bytes of seven bits each are more than any time takes that is not before the epoch.
    if usize::from(length) + 2 != bytes.len() || time.len() > 9 {
        return None;
    }
    let (last, others) = time.split_last()?;
    let mut timestamp = u64::from(*last);
    for byte in others.iter().rev() {
        timestamp = timestamp << 7 | u64::from(byte & 0x7f);
    }
    let whole = *last < 0x80 && others.iter().all(|byte| *byte >= 0x80);
    whole.then(|| (timestamp.cast_signed(), f64::from_le_bytes(*value)))
}

#[inline]
fn sample(mut reader: Reader<'_>) -> Result<SeriesItem<'_>, WireError> {
    let (mut timestamp, mut value) = (0, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => value = reader.double(wire)?,
            (2, wire) => timestamp = reader.int64(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(SeriesItem::Sample { timestamp, value })
}

/// An exemplar that has not been taken apart.
#[derive(Debug, Clone, Copy)]
pub struct ExemplarBytes<'a>(Reader<'a>);

/// Characters of an exemplar's labels, names and values together, beyond which it is not stored: what OpenMetrics allows.
pub const MAX_EXEMPLAR_CHARACTERS: usize = 128;

/// An exemplar.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarEntry<'a> {
    /// What names the observation.
    pub labels: Vec<RawLabel<'a>>,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: Millis,
}

impl<'a> ExemplarBytes<'a> {
    /// Takes it apart. Of more than `max_labels` labels one more is kept, by which the caller sees that there are more.
    pub fn decode(self, max_labels: usize) -> Result<ExemplarEntry<'a>, WireError> {
        let mut reader = self.0;
        let mut exemplar = ExemplarEntry { labels: Vec::new(), value: 0.0, timestamp: 0 };
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) => {
                    let label = label(reader.message(wire, "a label")?)?;
                    if exemplar.labels.len() <= max_labels {
                        exemplar.labels.push(label);
                    }
                }
                (2, wire) => exemplar.value = reader.double(wire)?,
                (3, wire) => exemplar.timestamp = reader.int64(wire)?,
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(exemplar)
    }
}

fn parse_labels(bytes: &[u8], max: usize) -> Result<Vec<RawLabel<'_>>, WireError> {
    let mut labels = Vec::new();
    let mut reader = Reader::new(bytes, "a list of labels");
    while !reader.is_empty() && labels.len() <= max {
        let (_, wire) = reader.tag()?;
        labels.push(label(reader.message(wire, "a label")?)?);
    }
    Ok(labels)
}

fn label(mut reader: Reader<'_>) -> Result<RawLabel<'_>, WireError> {
    let mut label = RawLabel { name: b"", value: b"" };
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => label.name = reader.bytes(wire)?,
            (2, wire) => label.value = reader.bytes(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(label)
}
