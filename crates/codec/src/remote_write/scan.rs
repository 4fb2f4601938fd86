//! The outer message, `WriteRequest`.

use super::series::TimeSeries;
use crate::exposition::MetricKind;
use crate::wire::{Reader, WireError};

/// `WriteRequest.timeseries` and `WriteRequest.metadata`.
const TIMESERIES: u32 = 1;
const METADATA: u32 = 3;

/// What a sender says of a metric family (`MetricMetadata`). Texts are as they stand, UTF-8 or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataEntry<'a> {
    /// Declared type.
    pub kind: MetricKind,
    /// The family's name.
    pub family: &'a [u8],
    /// Empty: none.
    pub help: &'a [u8],
    /// Empty: none.
    pub unit: &'a [u8],
}

/// What a request holds, found without looking into its series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Time series; each may have any number of samples.
    pub series: usize,
    /// What is said of families, in order; of more than were asked for only the first.
    pub metadata: Vec<MetadataEntry<'a>>,
}

/// Counts the series and reads the metadata, which stand behind the series that they describe; at most `max_metadata`.
pub fn outline(body: &[u8], max_metadata: usize) -> Result<Outline<'_>, WireError> {
    let mut outline = Outline::default();
    let mut reader = Reader::new(body, "the write request");
    while !reader.is_empty() {
        match reader.tag()? {
            (TIMESERIES, wire) => {
                reader.bytes(wire)?;
                outline.series += 1;
            }
            (METADATA, wire) => {
                let entry = metadata(reader.message(wire, "a metadata entry")?)?;
                if outline.metadata.len() < max_metadata {
                    outline.metadata.push(entry);
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(outline)
}

fn metadata(mut reader: Reader<'_>) -> Result<MetadataEntry<'_>, WireError> {
    let mut entry = MetadataEntry { kind: MetricKind::Unknown, family: b"", help: b"", unit: b"" };
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => entry.kind = kind_of(reader.uint32(wire)?),
            (2, wire) => entry.family = reader.bytes(wire)?,
            (4, wire) => entry.help = reader.bytes(wire)?,
            (5, wire) => entry.unit = reader.bytes(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(entry)
}

/// `MetricMetadata.MetricType`; what later versions may add is unknown.
pub(crate) fn kind_of(number: u32) -> MetricKind {
    match number {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}

/// Walks the series of a request.
#[derive(Debug, Clone)]
pub struct WriteScanner<'a> {
    reader: Reader<'a>,
}

impl<'a> WriteScanner<'a> {
    /// At the start of an unpacked body.
    pub fn new(body: &'a [u8]) -> Self {
        Self { reader: Reader::new(body, "the write request") }
    }

    /// The next series; `None` at the end. After an error there is nothing more to be had.
    #[inline]
    pub fn next_series(&mut self) -> Result<Option<TimeSeries<'a>>, WireError> {
        while !self.reader.is_empty() {
            match self.reader.tag()? {
                (TIMESERIES, wire) => {
                    let series = self.reader.message(wire, "a time series")?;
                    return TimeSeries::read(series).map(Some);
                }
                (METADATA, wire) => self.reader.message(wire, "a metadata entry").map(drop)?,
                (_, wire) => self.reader.skip(wire)?,
            }
        }
        Ok(None)
    }
}
