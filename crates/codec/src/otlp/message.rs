//! Data points as they lie in a request. The lists that they bring are put where the caller keeps room for them.

use metricsd_model::hex::hex;

use super::value::{Attribute, attribute};
use crate::wire::{Reader, Wire, WireError};

/// `DataPointFlags`: the series ends here.
const NO_RECORDED_VALUE: u32 = 1;

/// Attributes of one data point that are read; no series has as many labels.
const MAX_ATTRIBUTES: usize = 1_024;

/// Exemplars of one data point that are read.
const MAX_EXEMPLARS: usize = 1_024;

/// Quantiles of one summary that are read.
const MAX_QUANTILES: usize = 1_024;

/// What every kind of data point has.
#[derive(Debug, Clone, Default)]
pub(super) struct Point<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
    /// More than are read.
    pub(super) too_many: bool,
    /// Nanoseconds since the epoch; 0 where nobody says.
    pub(super) start: u64,
    /// Nanoseconds since the epoch.
    pub(super) time: u64,
    pub(super) exemplars: Vec<Reader<'a>>,
    flags: u32,
}

impl<'a> Point<'a> {
    /// Empties it, for the next.
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.exemplars.clear();
        (self.too_many, self.start, self.time, self.flags) = (false, 0, 0, 0);
    }

    /// Whether it says that there is nothing to say.
    pub(super) fn ends(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    fn attribute(&mut self, reader: &mut Reader<'a>, wire: Wire) -> Result<(), WireError> {
        let message = reader.message(wire, "an attribute")?;
        if self.attributes.len() == MAX_ATTRIBUTES {
            self.too_many = true;
        } else {
            self.attributes.push(attribute(message)?);
        }
        Ok(())
    }

    fn exemplar(&mut self, reader: &mut Reader<'a>, wire: Wire) -> Result<(), WireError> {
        let message = reader.message(wire, "an exemplar")?;
        if self.exemplars.len() < MAX_EXEMPLARS {
            self.exemplars.push(message);
        }
        Ok(())
    }
}

/// `NumberDataPoint`; answers its value.
pub(super) fn number<'a>(mut reader: Reader<'a>, point: &mut Point<'a>) -> Result<Option<f64>, WireError> {
    point.clear();
    let mut value = None;
    while !reader.is_empty() {
        match reader.tag()? {
            (7, wire) => point.attribute(&mut reader, wire)?,
            (2, wire) => point.start = reader.fixed64(wire)?,
            (3, wire) => point.time = reader.fixed64(wire)?,
            (4, wire) => value = Some(reader.double(wire)?),
            (6, wire) => value = Some(reader.sfixed64(wire)? as f64),
            (5, wire) => point.exemplar(&mut reader, wire)?,
            (8, wire) => point.flags = reader.uint32(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(value)
}

/// What a histogram with bounds says.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// Of each bucket by itself; one more than there are bounds, or none at all.
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
}

/// `HistogramDataPoint`.
pub(super) fn histogram<'a>(
    mut reader: Reader<'a>,
    point: &mut Point<'a>,
    histogram: &mut Histogram,
) -> Result<(), WireError> {
    point.clear();
    histogram.counts.clear();
    histogram.bounds.clear();
    (histogram.count, histogram.sum) = (0, None);
    while !reader.is_empty() {
        match reader.tag()? {
            (9, wire) => point.attribute(&mut reader, wire)?,
            (2, wire) => point.start = reader.fixed64(wire)?,
            (3, wire) => point.time = reader.fixed64(wire)?,
            (4, wire) => histogram.count = reader.fixed64(wire)?,
            (5, wire) => histogram.sum = Some(reader.double(wire)?),
            (6, wire) => reader.repeated(wire, Wire::Fixed64, &mut histogram.counts, Reader::fixed64)?,
            (7, wire) => reader.repeated(wire, Wire::Fixed64, &mut histogram.bounds, Reader::double)?,
            (8, wire) => point.exemplar(&mut reader, wire)?,
            (10, wire) => point.flags = reader.uint32(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}

/// Buckets of one sign of an exponential histogram: dense, from an offset on.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// What an exponential histogram says.
#[derive(Debug, Clone, Default)]
pub(super) struct Exponential {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
}

/// `ExponentialHistogramDataPoint`.
pub(super) fn exponential<'a>(
    mut reader: Reader<'a>,
    point: &mut Point<'a>,
) -> Result<Exponential, WireError> {
    point.clear();
    let mut histogram = Exponential::default();
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => point.attribute(&mut reader, wire)?,
            (2, wire) => point.start = reader.fixed64(wire)?,
            (3, wire) => point.time = reader.fixed64(wire)?,
            (4, wire) => histogram.count = reader.fixed64(wire)?,
            (5, wire) => histogram.sum = Some(reader.double(wire)?),
            (6, wire) => histogram.scale = reader.sint32(wire)?,
            (7, wire) => histogram.zero_count = reader.fixed64(wire)?,
            (8, wire) => buckets(reader.message(wire, "buckets")?, &mut histogram.positive)?,
            (9, wire) => buckets(reader.message(wire, "buckets")?, &mut histogram.negative)?,
            (10, wire) => point.flags = reader.uint32(wire)?,
            (11, wire) => point.exemplar(&mut reader, wire)?,
            (14, wire) => histogram.zero_threshold = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(histogram)
}

fn buckets(mut reader: Reader<'_>, into: &mut Buckets) -> Result<(), WireError> {
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => into.offset = reader.sint32(wire)?,
            (2, wire) => reader.repeated(wire, Wire::Varint, &mut into.counts, Reader::uint64)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}

/// What a summary says.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Each quantile and its value.
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// `SummaryDataPoint`.
pub(super) fn summary<'a>(mut reader: Reader<'a>, point: &mut Point<'a>) -> Result<Summary, WireError> {
    point.clear();
    let mut summary = Summary::default();
    while !reader.is_empty() {
        match reader.tag()? {
            (7, wire) => point.attribute(&mut reader, wire)?,
            (2, wire) => point.start = reader.fixed64(wire)?,
            (3, wire) => point.time = reader.fixed64(wire)?,
            (4, wire) => summary.count = reader.fixed64(wire)?,
            (5, wire) => summary.sum = reader.double(wire)?,
            (6, wire) => {
                let quantile = quantile(reader.message(wire, "a quantile")?)?;
                if summary.quantiles.len() == MAX_QUANTILES {
                    return Err(reader.error("has more than 1024 quantiles"));
                }
                summary.quantiles.push(quantile);
            }
            (8, wire) => point.flags = reader.uint32(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(summary)
}

fn quantile(mut reader: Reader<'_>) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => quantile = reader.double(wire)?,
            (2, wire) => value = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((quantile, value))
}

/// What an exemplar says.
#[derive(Debug, Clone, Default)]
pub(super) struct Exemplar<'a> {
    pub(super) value: f64,
    /// Nanoseconds since the epoch; 0 where nobody says.
    pub(super) time: u64,
    /// As digits; empty where there is none.
    pub(super) trace_id: String,
    /// As digits; empty where there is none.
    pub(super) span_id: String,
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// Bytes of an id that are read.
const MAX_ID: usize = 32;

/// `Exemplar`.
pub(super) fn exemplar<'a>(mut reader: Reader<'a>) -> Result<Exemplar<'a>, WireError> {
    let mut exemplar = Exemplar::default();
    let id = |bytes: &[u8]| hex(bytes.get(..MAX_ID).unwrap_or(bytes));
    while !reader.is_empty() {
        match reader.tag()? {
            (2, wire) => exemplar.time = reader.fixed64(wire)?,
            (3, wire) => exemplar.value = reader.double(wire)?,
            (6, wire) => exemplar.value = reader.sfixed64(wire)? as f64,
            (4, wire) => exemplar.span_id = id(reader.bytes(wire)?),
            (5, wire) => exemplar.trace_id = id(reader.bytes(wire)?),
            (7, wire) => {
                let message = reader.message(wire, "an attribute")?;
                if exemplar.attributes.len() < MAX_ATTRIBUTES {
                    exemplar.attributes.push(attribute(message)?);
                }
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(exemplar)
}
