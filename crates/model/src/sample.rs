//! Samples: one value at one timestamp of one series.

use crate::{Millis, NativeHistogram};

/// The bits of the NaN that says "this series ended here" (Prometheus' `StaleNaN`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The bits of the NaN that stands in a frame's value column where the sample is a native histogram.
pub const HISTOGRAM_MARKER_BITS: u64 = 0x7ff0_0000_0000_0003;

/// The staleness marker as a float.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the staleness marker and not an ordinary NaN.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// What a sample says.
#[derive(Debug, Clone)]
pub enum SampleValue {
    /// An ordinary float, infinities and NaN included.
    Float(f64),
    /// A native histogram.
    Histogram(Box<NativeHistogram>),
    /// The series ended here.
    Stale,
}

impl SampleValue {
    /// Reads a stored float, in which the staleness marker is a NaN of its own.
    pub fn from_float(value: f64) -> Self {
        if is_stale(value) { Self::Stale } else { Self::Float(value) }
    }

    /// The float of an ordinary sample.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }
}

impl PartialEq for SampleValue {
    /// Bit for bit, so that a NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            (Self::Stale, Self::Stale) => true,
            _ => false,
        }
    }
}

/// One value at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub timestamp: Millis,
    /// What was measured.
    pub value: SampleValue,
}

impl Sample {
    /// A float sample.
    pub fn float(timestamp: Millis, value: f64) -> Self {
        Self { timestamp, value: SampleValue::Float(value) }
    }

    /// The end of a series.
    pub fn stale(timestamp: Millis) -> Self {
        Self { timestamp, value: SampleValue::Stale }
    }
}
