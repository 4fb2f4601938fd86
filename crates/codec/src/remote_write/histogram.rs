//! `Histogram`: a native histogram, of integers or of floats.

use metricsd_model::{Millis, NativeHistogram, ResetHint};

use crate::buckets::{Buckets, span};
use crate::wire::{Reader, Wire, WireError};

/// A native histogram that has not been taken apart.
#[derive(Debug, Clone, Copy)]
pub struct HistogramBytes<'a>(Reader<'a>);

/// A native histogram at a time. Its counts are absolute floats, whatever it was sent as; nothing of it was validated.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since the epoch.
    pub timestamp: Millis,
    /// The histogram.
    pub histogram: NativeHistogram,
    /// It was sent with integer counts, so that its buckets must add up exactly.
    pub integer: bool,
}

/// A count of either kind: the last of the two that stands in the message is the one that counts.
#[derive(Clone, Copy)]
enum Count {
    Integer(u64),
    Float(f64),
}

impl Count {
    fn as_float(self) -> f64 {
        match self {
            Self::Integer(count) => count as f64,
            Self::Float(count) => count,
        }
    }
}

impl<'a> HistogramBytes<'a> {
    pub(crate) fn new(reader: Reader<'a>) -> Self {
        Self(reader)
    }

    /// Takes it apart.
    pub fn decode(self) -> Result<HistogramSample, WireError> {
        let mut reader = self.0;
        let (mut histogram, mut timestamp) = (NativeHistogram::default(), 0);
        let (mut count, mut zero_count) = (Count::Integer(0), Count::Integer(0));
        let (mut positive, mut negative) = (Buckets::default(), Buckets::default());
        while !reader.is_empty() {
            let (number, wire) = reader.tag()?;
            match number {
                1 => count = Count::Integer(reader.uint64(wire)?),
                2 => count = Count::Float(reader.double(wire)?),
                3 => histogram.sum = reader.double(wire)?,
                4 => histogram.schema = reader.sint32(wire)?,
                5 => histogram.zero_threshold = reader.double(wire)?,
                6 => zero_count = Count::Integer(reader.uint64(wire)?),
                7 => zero_count = Count::Float(reader.double(wire)?),
                8 => histogram.negative_spans.push(span(reader.message(wire, "a span of buckets")?)?),
                9 => reader.repeated(wire, Wire::Varint, &mut negative.deltas, Reader::sint64)?,
                10 => reader.repeated(wire, Wire::Fixed64, &mut negative.counts, Reader::double)?,
                11 => histogram.positive_spans.push(span(reader.message(wire, "a span of buckets")?)?),
                12 => reader.repeated(wire, Wire::Varint, &mut positive.deltas, Reader::sint64)?,
                13 => reader.repeated(wire, Wire::Fixed64, &mut positive.counts, Reader::double)?,
                14 => histogram.reset_hint = reset_hint(reader.uint32(wire)?),
                15 => timestamp = reader.int64(wire)?,
                16 => reader.repeated(wire, Wire::Fixed64, &mut histogram.custom_values, Reader::double)?,
                _ => reader.skip(wire)?,
            }
        }
        let integer = matches!(count, Count::Integer(_));
        histogram.count = count.as_float();
        histogram.zero_count = zero_count.as_float();
        histogram.positive_buckets = positive.absolute(integer);
        histogram.negative_buckets = negative.absolute(integer);
        Ok(HistogramSample { timestamp, histogram, integer })
    }
}

/// `Histogram.ResetHint`; what later versions may add says nothing.
fn reset_hint(number: u32) -> ResetHint {
    match number {
        1 => ResetHint::Yes,
        2 => ResetHint::No,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}
