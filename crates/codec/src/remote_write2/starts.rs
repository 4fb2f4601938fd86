//! When series began: a sample of nothing at that time says that what is counted began then.

use metricsd_model::{Millis, NativeHistogram, ResetHint};

use crate::remote_write::{BodyWriter, HistogramBytes};
use crate::wire::{Reader, WireError};

/// Beginnings of series, found while a request is read: those of the samples that the caller did not know of.
pub struct Starts<'a> {
    /// Asked for each series and beginning, whether it is new: the series' labels as they stand in the body.
    unknown: &'a mut dyn FnMut(&[u8], Millis) -> bool,
    found: Vec<Start>,
    body: BodyWriter,
}

/// A beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The labels of the series, as [`crate::remote_write::label_bytes`] writes them.
    pub labels: Vec<u8>,
    /// When it began.
    pub at: Millis,
}

/// Beginnings of one request, so that what is kept of them is bounded.
const MAX_STARTS: usize = 1_000_000;

/// Bytes of the body that tells of them, which are mostly labels: those are written out for every sample.
const MAX_BYTES: usize = 64 << 20;

impl<'a> Starts<'a> {
    /// Asks `unknown` for each series and beginning whether it is to be told.
    pub fn new(unknown: &'a mut dyn FnMut(&[u8], Millis) -> bool) -> Self {
        Self { unknown, found: Vec::new(), body: BodyWriter::new() }
    }

    /// What was found, and a body of remote write 1.0 with a sample of nothing for each.
    pub fn finish(self) -> (Vec<Start>, Vec<u8>) {
        (self.found, self.body.into_bytes())
    }

    /// Whether this beginning is to be told.
    fn wants(&mut self, labels: &[u8], start: Millis, at: Millis) -> bool {
        start != 0
            && start < at
            && self.found.len() < MAX_STARTS
            && self.body.len() + labels.len() <= MAX_BYTES
            && self.found.last().is_none_or(|last| last.at != start || last.labels != labels)
            && (self.unknown)(labels, start)
    }

    pub(super) fn float(&mut self, labels: &[u8], start: Millis, at: Millis) {
        if self.wants(labels, start, at) {
            self.body.series().raw_labels(labels).sample(start, 0.0);
            self.found.push(Start { labels: labels.to_vec(), at: start });
        }
    }

    /// A histogram of the same resolution that observed nothing. One that is a gauge has no beginning.
    pub(super) fn histogram(
        &mut self,
        labels: &[u8],
        created: Millis,
        message: Reader<'_>,
    ) -> Result<(), WireError> {
        let start = start_of_histogram(message)?;
        let start = if start == 0 { created } else { start };
        if start == 0 {
            return Ok(());
        }
        let sample = HistogramBytes::new(message).decode()?;
        let of = sample.histogram;
        if of.reset_hint != ResetHint::Gauge && self.wants(labels, start, sample.timestamp) {
            let nothing = NativeHistogram {
                schema: of.schema,
                zero_threshold: of.zero_threshold,
                custom_values: of.custom_values,
                ..NativeHistogram::default()
            };
            self.body.series().raw_labels(labels).histogram(start, &nothing);
            self.found.push(Start { labels: labels.to_vec(), at: start });
        }
        Ok(())
    }
}

/// `Histogram.start_timestamp`; 0 where it is not said.
fn start_of_histogram(mut reader: Reader<'_>) -> Result<Millis, WireError> {
    let mut start = 0;
    while !reader.is_empty() {
        match reader.tag()? {
            (17, wire) => start = reader.int64(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(start)
}
