//! Counts of native histograms as protobuf carries them, in remote write and in pages alike.

use metricsd_model::Span;

use crate::wire::{Reader, WireError};

/// `BucketSpan`.
pub(crate) fn span(mut reader: Reader<'_>) -> Result<Span, WireError> {
    let mut span = Span::default();
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => span.offset = reader.sint32(wire)?,
            (2, wire) => span.length = reader.uint32(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(span)
}

/// Buckets of one sign as they are sent: differences from bucket to bucket, or counts.
#[derive(Default)]
pub(crate) struct Buckets {
    pub(crate) deltas: Vec<i64>,
    pub(crate) counts: Vec<f64>,
}

impl Buckets {
    /// Absolute counts. Sums that no counter reaches stay at the largest number, and do not pass validation.
    pub(crate) fn absolute(self, integer: bool) -> Vec<f64> {
        if !integer {
            return self.counts;
        }
        let running = |count: &mut i64, delta: i64| {
            *count = count.saturating_add(delta);
            Some(*count as f64)
        };
        self.deltas.into_iter().scan(0i64, running).collect()
    }
}
