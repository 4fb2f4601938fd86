//! Writes files series by series, a piece of bounded size at a time.

mod csv;
mod ndjson;
mod openmetrics;
mod parquet;

use metricsd_model::{LabelSet, MetricType, Millis, NativeHistogram};

use crate::FileError;
use crate::format::FileFormat;

/// Samples of one series, in order of time. Staleness markers are told by their bits, native histograms by their place.
#[derive(Debug, Clone, Copy)]
pub struct SeriesRows<'a> {
    /// Identity.
    pub labels: &'a LabelSet,
    /// Declared type.
    pub metric_type: MetricType,
    /// Unit.
    pub unit: Option<&'a str>,
    /// Help text.
    pub help: Option<&'a str>,
    /// Whether rows of this series were written before.
    pub goes_on: bool,
    /// Times.
    pub timestamps: &'a [Millis],
    /// One a time.
    pub values: &'a [f64],
    /// Each with the index of its time, ascending.
    pub histograms: &'a [(usize, NativeHistogram)],
}

/// What one row says.
pub(crate) enum Cell<'a> {
    Float(f64),
    Stale,
    Histogram(&'a NativeHistogram),
}

impl<'a> SeriesRows<'a> {
    /// Time and value of each row.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Millis, Cell<'a>)> {
        let mut histograms = self.histograms.iter().peekable();
        self.timestamps.iter().zip(self.values).enumerate().map(move |(index, (time, value))| {
            let cell = match histograms.next_if(|(at, _)| *at == index) {
                Some((_, histogram)) => Cell::Histogram(histogram),
                None if metricsd_model::is_stale(*value) => Cell::Stale,
                None => Cell::Float(*value),
            };
            (*time, cell)
        })
    }
}

/// Writes one file. What was written is taken by [`Self::take`] as it comes.
pub struct FileWriter {
    inner: Inner,
}

enum Inner {
    Csv(csv::CsvWriter),
    Ndjson(ndjson::NdjsonWriter),
    OpenMetrics(openmetrics::TextWriter),
    Parquet(Box<parquet::ParquetWriter>),
}

impl FileWriter {
    /// An empty file. There is no writer of Prometheus text: OpenMetrics says the same and more.
    pub fn new(format: FileFormat) -> Result<Self, FileError> {
        let inner = match format {
            FileFormat::Csv => Inner::Csv(csv::CsvWriter::new()),
            FileFormat::Ndjson => Inner::Ndjson(ndjson::NdjsonWriter::default()),
            FileFormat::OpenMetrics | FileFormat::Prometheus => {
                Inner::OpenMetrics(openmetrics::TextWriter::default())
            }
            FileFormat::Parquet => Inner::Parquet(Box::new(parquet::ParquetWriter::new()?)),
        };
        Ok(Self { inner })
    }

    /// Writes rows. For OpenMetrics series come ordered by [`base_of`] their name, those of one name together, and each in
    /// one go.
    pub fn write(&mut self, rows: &SeriesRows<'_>) -> Result<(), FileError> {
        match &mut self.inner {
            Inner::Csv(writer) => writer.write(rows),
            Inner::Ndjson(writer) => writer.write(rows),
            Inner::OpenMetrics(writer) => writer.write(rows),
            Inner::Parquet(writer) => return writer.write(rows),
        }
        Ok(())
    }

    /// Writes what ends the file.
    pub fn finish(&mut self) -> Result<(), FileError> {
        match &mut self.inner {
            Inner::Csv(_) | Inner::Ndjson(_) => {}
            Inner::OpenMetrics(writer) => writer.finish(),
            Inner::Parquet(writer) => writer.finish()?,
        }
        Ok(())
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        match &mut self.inner {
            Inner::Csv(writer) => std::mem::take(&mut writer.out),
            Inner::Ndjson(writer) => std::mem::take(&mut writer.out),
            Inner::OpenMetrics(writer) => std::mem::take(&mut writer.out),
            Inner::Parquet(writer) => writer.take(),
        }
    }
}

/// What the names of one family have in common, whatever its type.
pub fn base_of(name: &str) -> &str {
    let ends = ["_total", "_bucket", "_sum", "_count"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Labels beside the name as a JSON object.
pub(crate) fn labels_json(labels: &LabelSet, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in labels.without_name().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_json(name, out);
        out.push(b':');
        push_json(value, out);
    }
    out.push(b'}');
}

/// A text as JSON.
pub(crate) fn push_json(text: &str, out: &mut Vec<u8>) {
    // Writing a text into a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// A time as RFC 3339 in UTC, with milliseconds. Times that no calendar has are written as a number, which reads back.
pub(crate) fn push_time(millis: Millis, out: &mut Vec<u8>) {
    use chrono::{Datelike, Timelike};
    use std::io::Write;
    let time =
        chrono::DateTime::from_timestamp_millis(millis).filter(|time| (1..=9_999).contains(&time.year()));
    let _ = match time {
        Some(time) => write!(
            out,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.timestamp_subsec_millis(),
        ),
        None => write!(out, "{millis}"),
    };
}

#[cfg(test)]
mod tests;
