//! Parquet: the same columns as CSV; labels as a map, as JSON, or as columns of their own.
//!
//! Rows are read through the crate's record reader, a page a column at a time. What its decoders would take on trust is
//! checked before (`pages`), and a panic inside of them is an error of the file.

mod pages;

use std::cell::Cell;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use metricsd_model::{Millis, Refusal};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as Record};

use super::csv::Column;
use super::json;
use crate::row::{Row, RowFault, RowValue, Step, kind_from};
use crate::source::{Source, SourceReader};
use crate::{FileError, histogram, time, value};

/// Bytes of what the file says of itself at its end.
const MAX_FOOTER: u64 = 32 << 20;

/// A source as the decoders read it.
#[derive(Clone)]
struct Chunks {
    source: Arc<dyn Source>,
    read: Arc<AtomicU64>,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.source.size()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::with_capacity(4 << 10, SourceReader::new(self.source.clone(), start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.source.size());
        if end.is_none() {
            return Err(ParquetError::EOF("a page lies behind the end of the file".to_owned()));
        }
        let mut bytes = vec![0; length];
        SourceReader::new(self.source.clone(), start).read_exact(&mut bytes)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(Bytes::from(bytes))
    }
}

/// Reads Parquet.
pub(super) struct ParquetRows {
    rows: RowIter<'static>,
    columns: Vec<Column>,
    /// Whether whole numbers of the column of times are nanoseconds.
    nanos: bool,
    number: u64,
    read: Arc<AtomicU64>,
    position: Rc<Cell<u64>>,
    broken: bool,
}

impl ParquetRows {
    pub(super) fn open(source: Arc<dyn Source>) -> Result<Self, FileError> {
        check_footer(&*source)?;
        let read = Arc::new(AtomicU64::new(0));
        let chunks = Chunks { source: source.clone(), read: read.clone() };
        let reader = guarded(|| SerializedFileReader::new(chunks).map_err(damaged))?;
        let metadata = reader.metadata();
        let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
        let columns: Vec<Column> =
            schema.get_fields().iter().map(|field| Column::named(field.name())).collect();
        Column::check(&columns).map_err(FileError::Damaged)?;
        let leaves = metadata.file_metadata().schema_descr().columns();
        let nanos = leaves.iter().any(|leaf| {
            Column::named(leaf.name()) == Column::Timestamp
                && leaf
                    .logical_type_ref()
                    .is_some_and(|kind| format!("{kind:?}").to_uppercase().contains("NANO"))
        });
        pages::check(&source, metadata)?;
        let rows = guarded(|| Ok(RowIter::from_file_into(Box::new(reader))))?;
        let position = Rc::new(Cell::new(0));
        Ok(Self { rows, columns, nanos, number: 0, read, position, broken: false })
    }

    pub(super) fn position(&self) -> Rc<Cell<u64>> {
        self.position.clone()
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        if self.broken {
            return Ok(Step::End);
        }
        self.number += 1;
        let next = guarded(|| self.rows.next().transpose().map_err(damaged));
        self.broken = next.is_err();
        let record = next.map_err(|error| match error {
            FileError::Damaged(message) => FileError::Damaged(format!("row {}: {message}", self.number)),
            other => other,
        })?;
        self.position.set(self.read.load(Ordering::Relaxed));
        let Some(record) = record else { return Ok(Step::End) };
        row.line = self.number;
        Ok(match self.read(&record, row) {
            Ok(()) => Step::Row,
            Err((reason, message)) => Step::Fault(RowFault::new(self.number, reason, message)),
        })
    }

    fn read(&self, record: &Record, row: &mut Row) -> Result<(), (Refusal, String)> {
        let wrong = |message: String| (Refusal::InvalidValue, message);
        let (mut number, mut packed, mut stale) = (None, None, false);
        for (column, (_, field)) in self.columns.iter().zip(record.get_column_iter()) {
            match column {
                Column::Timestamp => row.timestamp = time_of(field, self.nanos).map_err(wrong)?,
                Column::Name => row.name.push_str(text_of(field).map_err(wrong)?.unwrap_or_default()),
                Column::Value => number = value_of(field).map_err(wrong)?,
                Column::Type => {
                    let text = text_of(field).map_err(wrong)?.unwrap_or_default();
                    row.kind = kind_from(text).map_err(wrong)?;
                }
                Column::Labels => {
                    add_labels(field, row).map_err(|message| (Refusal::InvalidLabel, message))?
                }
                Column::Histogram => packed = text_of(field).map_err(wrong)?.filter(|text| !text.is_empty()),
                Column::Stale => stale = matches!(field, Field::Bool(true)),
                Column::Unit => row.unit.push_str(text_of(field).map_err(wrong)?.unwrap_or_default()),
                Column::Help => row.help.push_str(text_of(field).map_err(wrong)?.unwrap_or_default()),
                Column::Ignored => {}
                Column::Label(name) => {
                    let value = label_of(field).map_err(|message| (Refusal::InvalidLabel, message))?;
                    row.labels.push(name, &value);
                }
            }
        }
        if row.name.is_empty() {
            return Err((Refusal::InvalidName, "metric_name: missing".to_owned()));
        }
        if let Some(name) = row.labels.repeated() {
            return Err((Refusal::InvalidLabel, format!("the label {name} is given more than once")));
        }
        row.value = match (stale, number, packed) {
            (true, ..) => RowValue::Stale,
            (false, Some(value), None) => value,
            (false, None, Some(text)) => {
                RowValue::Histogram(Box::new(histogram::from_json(text).map_err(wrong)?))
            }
            (false, None, None) => return Err(wrong("value: missing".to_owned())),
            _ => return Err(wrong("value and histogram: expected one of them".to_owned())),
        };
        Ok(())
    }
}

/// The length of the footer stands in the last eight bytes; a large one would be read into memory as it is.
fn check_footer(source: &dyn Source) -> Result<(), FileError> {
    let none = || FileError::Damaged("the file is no Parquet file, or not whole".to_owned());
    let mut tail = [0; 8];
    let at = source.size().checked_sub(8).ok_or_else(none)?;
    let mut read = 0;
    while let Some(rest) = tail.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read_at(at + read as u64, rest)? {
            0 => return Err(none()),
            some => read += some,
        }
    }
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    match &magic {
        b"PAR1" if length <= MAX_FOOTER => Ok(()),
        b"PAR1" => Err(FileError::TooLarge(format!("the footer is larger than {MAX_FOOTER} bytes"))),
        b"PARE" => Err(FileError::Damaged("the file is encrypted".to_owned())),
        _ => Err(none()),
    }
}

/// Runs the decoders. One that panics has met bytes that it did not expect.
fn guarded<T>(work: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(FileError::Damaged("the file does not decode".to_owned())))
}

fn damaged(error: ParquetError) -> FileError {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => (*error).into(),
            Err(error) => FileError::Damaged(error.to_string()),
        },
        error => FileError::Damaged(error.to_string()),
    }
}

fn found(field: &Field) -> String {
    field.to_string().chars().take(40).collect()
}

fn text_of(field: &Field) -> Result<Option<&str>, String> {
    match field {
        Field::Null => Ok(None),
        Field::Str(text) => Ok(Some(text)),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map(Some).map_err(|_| "expected UTF-8 text".to_owned())
        }
        other => Err(format!("expected a text, found {}", found(other))),
    }
}

/// Labels are texts; a whole number or a truth is as good as one.
fn label_of(field: &Field) -> Result<String, String> {
    Ok(match field {
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        field => text_of(field)?.unwrap_or_default().to_owned(),
    })
}

fn time_of(field: &Field, nanos: bool) -> Result<Option<Millis>, String> {
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::TimestampMillis(millis) => *millis,
        Field::TimestampMicros(micros) => micros.div_euclid(1_000),
        Field::Long(number) if nanos => number.div_euclid(1_000_000),
        Field::Long(millis) => *millis,
        Field::Str(text) => time::parse(text)?,
        other => return Err(format!("timestamp: expected a timestamp, found {}", found(other))),
    }))
}

fn value_of(field: &Field) -> Result<Option<RowValue>, String> {
    let float =
        |value: f64| if metricsd_model::is_stale(value) { RowValue::Stale } else { RowValue::Float(value) };
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Double(value) => float(*value),
        Field::Float(value) => float(f64::from(*value)),
        Field::Byte(value) => float(f64::from(*value)),
        Field::Short(value) => float(f64::from(*value)),
        Field::Int(value) => float(f64::from(*value)),
        Field::Long(value) => float(*value as f64),
        Field::UByte(value) => float(f64::from(*value)),
        Field::UShort(value) => float(f64::from(*value)),
        Field::UInt(value) => float(f64::from(*value)),
        Field::ULong(value) => float(*value as f64),
        Field::Str(text) => value::parse(text)?.map_or(RowValue::Stale, RowValue::Float),
        other => return Err(format!("value: expected a number, found {}", found(other))),
    }))
}

fn add_labels(field: &Field, row: &mut Row) -> Result<(), String> {
    match field {
        Field::MapInternal(map) => {
            for (name, value) in map.entries() {
                let name = text_of(name)?.ok_or("labels: a label has no name")?;
                row.labels.push(name, &label_of(value)?);
            }
            Ok(())
        }
        Field::Group(record) => {
            for (name, value) in record.get_column_iter() {
                row.labels.push(name, &label_of(value)?);
            }
            Ok(())
        }
        field => json::add_labels(text_of(field)?.unwrap_or_default(), &mut row.labels),
    }
}
