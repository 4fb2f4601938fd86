//! Puts rows into parts: bodies for the door that begin and end at the same rows however often a file is read.

use std::collections::HashSet;

use bytes::Bytes;
use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::BodyWriter;
use metricsd_model::{METRIC_NAME, Millis, Refusal};

use crate::labels::Labels;
use crate::row::{Row, RowFault, RowValue, Step};
use crate::{FileError, RowReader};

/// How large a part is. Both are counted over the rows, so that a file has the same parts each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartBounds {
    /// Rows, bad ones included.
    pub rows: u64,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Default for PartBounds {
    fn default() -> Self {
        Self { rows: 20_000, bytes: 8 << 20 }
    }
}

/// What gives rows.
pub trait Rows {
    /// Reads on, into `row`.
    fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError>;
}

/// Faults that a part describes; all are counted.
pub const MAX_FAULTS: usize = 100;

/// Some rows of a file as a body of remote write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// Its place in the file, from 0.
    pub number: u64,
    /// The body; empty where no row was good.
    pub body: Bytes,
    /// Rows so far, those of this part and all before.
    pub rows: u64,
    /// Samples in the body.
    pub samples: u64,
    /// Bytes of the packed file that were read so far.
    pub position: u64,
    /// Rows of this part that could not be read.
    pub bad: u64,
    /// The first of them.
    pub faults: Vec<RowFault>,
    /// Place of the first sample of each series of the body in `samples_at`.
    starts: Vec<usize>,
    /// Time and line of each sample.
    samples_at: Vec<(Millis, u64)>,
}

impl Part {
    /// The line of a sample that was refused: of the series at this place of the body, the sample of which the message
    /// tells the time, else the first.
    pub fn line_of(&self, series: usize, message: &str) -> u64 {
        let start = self.starts.get(series).copied().unwrap_or(0);
        let end = self.starts.get(series + 1).copied().unwrap_or(self.samples_at.len());
        let of_series = self.samples_at.get(start..end).unwrap_or_default();
        let told = of_series.iter().find(|(time, _)| message.contains(&format!(" at {time}: ")));
        told.or(of_series.first()).map_or(0, |(_, line)| *line)
    }
}

/// A file as parts.
pub struct Parts<R = RowReader> {
    rows: R,
    bounds: PartBounds,
    /// What samples without a time are taken for.
    now: Millis,
    row: Row,
    read: u64,
    number: u64,
    ended: bool,
}

/// The series that rows are being added to.
#[derive(Default)]
struct Open {
    name: String,
    labels: Labels,
    samples: Vec<(Millis, RowValue)>,
    /// Bytes that the samples take.
    size: usize,
}

impl<R: Rows> Parts<R> {
    /// The parts of a file. Samples without a time get `now`, which must be the same each time the file is read.
    pub fn new(rows: R, bounds: PartBounds, now: Millis) -> Self {
        Self { rows, bounds, now, row: Row::default(), read: 0, number: 0, ended: false }
    }

    /// Reads over parts that are done; `rows` is [`Part::rows`] of the last of them.
    pub fn skip(&mut self, parts: u64, rows: u64) -> Result<(), FileError> {
        while self.read < rows && !self.ended {
            match self.rows.next_row(&mut self.row)? {
                Step::End => self.ended = true,
                Step::Row | Step::Fault(_) => self.read += 1,
            }
        }
        self.number = parts;
        Ok(())
    }

    /// The next part; `None` at the end of the file. Its position is left for the caller to fill in.
    pub fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        if self.ended {
            return Ok(None);
        }
        let mut part = Part { number: self.number, ..Part::default() };
        let mut body = BodyWriter::new();
        let (mut open, mut said) = (Open::default(), HashSet::new());
        let mut rows = 0;
        while rows < self.bounds.rows && body.len() < self.bounds.bytes {
            match self.rows.next_row(&mut self.row)? {
                Step::End => {
                    self.ended = true;
                    break;
                }
                Step::Fault(fault) => {
                    part.bad += 1;
                    if part.faults.len() < MAX_FAULTS {
                        part.faults.push(fault);
                    }
                }
                Step::Row => self.take(&mut part, &mut body, &mut open, &mut said),
            }
            rows += 1;
        }
        open.close(&mut body);
        if rows == 0 {
            return Ok(None);
        }
        self.read += rows;
        self.number += 1;
        part.rows = self.read;
        part.body = Bytes::from(body.into_bytes());
        Ok(Some(part))
    }

    fn take(&mut self, part: &mut Part, body: &mut BodyWriter, open: &mut Open, said: &mut HashSet<String>) {
        let row = &mut self.row;
        if row.labels.iter().any(|(name, _)| name == METRIC_NAME) {
            part.bad += 1;
            if part.faults.len() < MAX_FAULTS {
                let message = "__name__ cannot be a label beside the name";
                part.faults.push(RowFault::new(row.line, Refusal::InvalidLabel, message));
            }
            return;
        }
        let same = open.name == row.name && open.labels == row.labels && !open.samples.is_empty();
        // A series that goes on for long is written in pieces, so that the bound on bytes sees it.
        if !same || open.samples.len() >= MAX_OPEN || open.size >= MAX_OPEN_BYTES {
            open.close(body);
            std::mem::swap(&mut open.name, &mut row.name);
            std::mem::swap(&mut open.labels, &mut row.labels);
            row.name.clone_from(&open.name);
            row.labels.clone_from(&open.labels);
            part.starts.push(part.samples_at.len());
            describe(row, body, said);
        }
        let time = row.timestamp.unwrap_or(self.now);
        open.size += size(&row.value);
        open.samples.push((time, std::mem::take(&mut row.value)));
        part.samples_at.push((time, row.line));
        part.samples += 1;
    }
}

/// Samples of one series that wait to be written, and bytes that they take.
const MAX_OPEN: usize = 1_024;
const MAX_OPEN_BYTES: usize = 1 << 20;

/// Bytes that a value takes, about.
fn size(value: &RowValue) -> usize {
    match value {
        RowValue::Stale | RowValue::Float(_) => 16,
        RowValue::Histogram(histogram) => {
            let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
            let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
            100 + 8 * (buckets + spans + histogram.custom_values.len())
        }
    }
}

impl Open {
    fn close(&mut self, body: &mut BodyWriter) {
        self.size = 0;
        if self.samples.is_empty() {
            return;
        }
        let mut series = body.series();
        series.label(METRIC_NAME, &self.name);
        for (name, value) in self.labels.iter() {
            series.label(name, value);
        }
        for (time, value) in self.samples.drain(..) {
            match value {
                RowValue::Float(value) => series.sample(time, value),
                RowValue::Stale => series.sample(time, metricsd_model::stale_marker()),
                RowValue::Histogram(histogram) => series.histogram(time, &histogram),
            };
        }
    }
}

/// Says what a row knows of its family, once a part.
fn describe(row: &Row, body: &mut BodyWriter, said: &mut HashSet<String>) {
    if row.kind == MetricKind::Unknown && row.help.is_empty() && row.unit.is_empty() {
        return;
    }
    let family = row.family();
    if !said.contains(family) {
        said.insert(family.to_owned());
        body.metadata(row.kind, family, &row.help, &row.unit);
    }
}

impl Parts<RowReader> {
    /// The same with the position in the file.
    pub fn next_placed(&mut self) -> Result<Option<Part>, FileError> {
        let part = self.next_part()?;
        let position = self.rows.position();
        Ok(part.map(|part| Part { position, ..part }))
    }
}
