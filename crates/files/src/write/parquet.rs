//! Parquet: the columns of the view `metrics_ts` where it has them, labels as a map, zstd.

use std::io::{self, Write};
use std::sync::Arc;

use metricsd_model::Millis;
use parking_lot::Mutex;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{Cell, SeriesRows};
use crate::{FileError, histogram};

/// Rows of a row group, and bytes of its texts: both are in memory until it is written.
const GROUP: usize = 100_000;
const GROUP_TEXTS: usize = 16 << 20;

/// Rows that are handed to a column at once.
const BATCH: usize = 4_096;

const SCHEMA: &str = "message metrics {
    required int64 timestamp (TIMESTAMP(MILLIS, true));
    required binary metric_name (STRING);
    required binary metric_type (STRING);
    optional double value;
    required group labels (MAP) {
        repeated group key_value {
            required binary key (STRING);
            required binary value (STRING);
        }
    }
    optional binary histogram (STRING);
    required boolean stale;
    optional binary unit (STRING);
    optional binary help (STRING);
}";

/// Where the file is written to: it is taken out as it grows.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all rows of a series have in common.
struct Described {
    name: ByteArray,
    metric_type: ByteArray,
    labels: Vec<(ByteArray, ByteArray)>,
    unit: Option<ByteArray>,
    help: Option<ByteArray>,
}

/// Rows of the group that is being gathered.
#[derive(Default)]
struct Group {
    series: Vec<Described>,
    /// The series of each row.
    of: Vec<usize>,
    timestamps: Vec<Millis>,
    values: Vec<Option<f64>>,
    histograms: Vec<Option<ByteArray>>,
    stale: Vec<bool>,
    /// Bytes of all texts.
    texts: usize,
}

/// Writes Parquet.
pub(super) struct ParquetWriter {
    shared: Shared,
    writer: SerializedFileWriter<Shared>,
    group: Group,
}

fn failed(error: ParquetError) -> FileError {
    FileError::Io(io::Error::other(error))
}

impl ParquetWriter {
    pub(super) fn new() -> Result<Self, FileError> {
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(failed)?);
        let level = ZstdLevel::try_new(1).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by("metricsd".to_owned())
            .build();
        let shared = Shared::default();
        let writer =
            SerializedFileWriter::new(shared.clone(), schema, Arc::new(properties)).map_err(failed)?;
        Ok(Self { shared, writer, group: Group::default() })
    }

    pub(super) fn write(&mut self, rows: &SeriesRows<'_>) -> Result<(), FileError> {
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let optional = |text: Option<&str>| {
            text.filter(|text| !text.is_empty()).map(|text| ByteArray::from(text.as_bytes().to_vec()))
        };
        let describe = || Described {
            name: text(rows.labels.metric_name()),
            metric_type: text(rows.metric_type.as_str()),
            labels: rows.labels.without_name().map(|(name, value)| (text(name), text(value))).collect(),
            unit: optional(rows.unit),
            help: optional(rows.help),
        };
        self.group.describe(describe());
        for (time, cell) in rows.cells() {
            if self.group.of.len() == GROUP || self.group.texts >= GROUP_TEXTS {
                self.flush()?;
                self.group.describe(describe());
            }
            let group = &mut self.group;
            group.of.push(group.series.len() - 1);
            group.timestamps.push(time);
            group.values.push(if let Cell::Float(value) = cell { Some(value) } else { None });
            let histogram = match cell {
                Cell::Histogram(histogram) => Some(text(&histogram::to_json(histogram))),
                _ => None,
            };
            group.texts += histogram.as_ref().map_or(0, ByteArray::len);
            group.histograms.push(histogram);
            group.stale.push(matches!(cell, Cell::Stale));
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), FileError> {
        self.flush()?;
        self.writer.finish().map_err(failed)?;
        Ok(())
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.shared.0.lock())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let group = std::mem::take(&mut self.group);
        if group.of.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.next_row_group().map_err(failed)?;
        group.write(&mut writer).map_err(failed)?;
        writer.close().map_err(failed)?;
        Ok(())
    }
}

impl Group {
    fn describe(&mut self, series: Described) {
        let optional = |text: &Option<ByteArray>| text.as_ref().map_or(0, ByteArray::len);
        let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.texts += series.name.len() + labels + optional(&series.unit) + optional(&series.help);
        self.series.push(series);
    }

    fn write(&self, out: &mut SerializedRowGroupWriter<'_, Shared>) -> Result<(), ParquetError> {
        let described = |row: usize| self.of.get(row).and_then(|series| self.series.get(*series));
        let rows = self.of.len();
        required::<Int64Type>(out, rows, |row| self.timestamps.get(row).copied())?;
        required::<ByteArrayType>(out, rows, |row| described(row).map(|series| series.name.clone()))?;
        required::<ByteArrayType>(out, rows, |row| described(row).map(|series| series.metric_type.clone()))?;
        optional::<DoubleType>(out, rows, |row| self.values.get(row).copied().flatten())?;
        self.labels(out, |(name, _)| name)?;
        self.labels(out, |(_, value)| value)?;
        optional::<ByteArrayType>(out, rows, |row| self.histograms.get(row).cloned().flatten())?;
        required::<BoolType>(out, rows, |row| self.stale.get(row).copied())?;
        optional::<ByteArrayType>(out, rows, |row| described(row)?.unit.clone())?;
        optional::<ByteArrayType>(out, rows, |row| described(row)?.help.clone())
    }

    /// Names or values of the labels. A row without labels has one entry that defines nothing; all entries of a row but the
    /// first repeat.
    fn labels(
        &self,
        out: &mut SerializedRowGroupWriter<'_, Shared>,
        half: impl Fn(&(ByteArray, ByteArray)) -> &ByteArray,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = out.next_column()? else { return Ok(()) };
        for rows in self.of.chunks(BATCH) {
            let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
            for series in rows.iter().filter_map(|series| self.series.get(*series)) {
                if series.labels.is_empty() {
                    definitions.push(0);
                    repetitions.push(0);
                }
                for (place, pair) in series.labels.iter().enumerate() {
                    values.push(half(pair).clone());
                    definitions.push(1);
                    repetitions.push(i16::from(place > 0));
                }
            }
            column.typed::<ByteArrayType>().write_batch(&values, Some(&definitions), Some(&repetitions))?;
        }
        column.close()
    }
}

fn required<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, Shared>,
    rows: usize,
    value: impl Fn(usize) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let Some(mut column) = out.next_column()? else { return Ok(()) };
    for start in (0..rows).step_by(BATCH) {
        let values: Vec<T::T> = (start..rows.min(start + BATCH)).filter_map(&value).collect();
        column.typed::<T>().write_batch(&values, None, None)?;
    }
    column.close()
}

fn optional<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, Shared>,
    rows: usize,
    value: impl Fn(usize) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let Some(mut column) = out.next_column()? else { return Ok(()) };
    for start in (0..rows).step_by(BATCH) {
        let cells: Vec<Option<T::T>> = (start..rows.min(start + BATCH)).map(&value).collect();
        let definitions: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
        let values: Vec<T::T> = cells.into_iter().flatten().collect();
        column.typed::<T>().write_batch(&values, Some(&definitions), None)?;
    }
    column.close()
}
