//! CSV: a header that names the columns, then a line a sample.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder};
use metricsd_codec::exposition::MetricKind;
use metricsd_model::{MetricType, Refusal};

use super::{MAX_LINE, json};
use crate::row::{Row, RowFault, RowValue, Step, kind_from, kind_of};
use crate::{FileError, histogram, time, unpack::Unpacked, value};

/// Columns of a file; a table of more is no table of samples.
const MAX_COLUMNS: usize = 1_024;

/// Bytes of a column's name, which every row that has a value in it carries as a label's.
const MAX_COLUMN_NAME: usize = 1_024;

/// What a column means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Column {
    Timestamp,
    Name,
    Value,
    Type,
    Labels,
    Histogram,
    Stale,
    Unit,
    Help,
    /// Known, and no part of a series.
    Ignored,
    /// Any other is a label.
    Label(String),
}

impl Column {
    /// By its name in a header.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "timestamp" | "time" => Self::Timestamp,
            "metric_name" | "name" | "__name__" => Self::Name,
            "value" => Self::Value,
            "metric_type" | "type" => Self::Type,
            "labels" => Self::Labels,
            "histogram" => Self::Histogram,
            "stale" => Self::Stale,
            "unit" => Self::Unit,
            "help" | "help_text" => Self::Help,
            "source" | "target_id" => Self::Ignored,
            label => Self::Label(label.to_owned()),
        }
    }

    /// Checks a whole header.
    pub(super) fn check(columns: &[Self]) -> Result<(), String> {
        if columns.len() > MAX_COLUMNS {
            return Err(format!("there are more than {MAX_COLUMNS} columns"));
        }
        let long = |column: &&Self| matches!(column, Self::Label(name) if name.len() > MAX_COLUMN_NAME);
        if let Some(Self::Label(name)) = columns.iter().find(long) {
            let begin: String = name.chars().take(40).collect();
            let length = name.len();
            return Err(format!(
                "the name of the column {begin:?}... has {length} bytes; at most {MAX_COLUMN_NAME} may be"
            ));
        }
        for (needed, name) in [(Self::Name, "metric_name"), (Self::Value, "value")] {
            if !columns.contains(&needed) {
                return Err(format!("there is no column {name}; expected at least metric_name and value"));
            }
        }
        let twice = |column: &Self| {
            *column != Self::Ignored && columns.iter().filter(|other| *other == column).count() > 1
        };
        match columns.iter().find(|column| twice(column)) {
            Some(column) => Err(format!("the column {column:?} is there twice")),
            None => Ok(()),
        }
    }
}

/// Lets so many bytes pass for one record: a quote that is never closed would hold the rest of the file.
struct Metered<'a> {
    inner: Unpacked<'a>,
    left: Rc<Cell<usize>>,
}

impl Read for Metered<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            let message = format!("a record is longer than {MAX_LINE} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let most = left.min(into.len());
        let read = self.inner.read(into.get_mut(..most).unwrap_or_default())?;
        self.left.set(left - read);
        Ok(read)
    }
}

/// Reads CSV.
pub(super) struct CsvRows<'a> {
    reader: Reader<Metered<'a>>,
    left: Rc<Cell<usize>>,
    columns: Vec<Column>,
    record: ByteRecord,
}

impl<'a> CsvRows<'a> {
    /// Reads the header.
    pub(super) fn open(unpacked: Unpacked<'a>) -> Result<Self, FileError> {
        let left = Rc::new(Cell::new(MAX_LINE));
        let metered = Metered { inner: unpacked, left: left.clone() };
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // The reader's own notion of line ends counts lines of CRLF one too few.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(256 << 10)
            .from_reader(metered);
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(damaged)? {
            return Err(FileError::at(1, "the file is empty; expected a header"));
        }
        let mut columns = Vec::new();
        for (place, field) in record.iter().enumerate() {
            let field = if place == 0 { field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field) } else { field };
            let field = field.strip_suffix(b"\r").unwrap_or(field);
            let name = std::str::from_utf8(field).map_err(|_| FileError::at(1, "the header is not UTF-8"))?;
            columns.push(Column::named(name.trim()));
        }
        Column::check(&columns).map_err(|message| FileError::at(1, message))?;
        Ok(Self { reader, left, columns, record })
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        self.left.set(MAX_LINE);
        if !self.reader.read_byte_record(&mut self.record).map_err(damaged)? {
            return Ok(Step::End);
        }
        row.line = self.record.position().map_or(0, csv::Position::line);
        Ok(match self.read(row) {
            Ok(()) => Step::Row,
            Err((reason, message)) => Step::Fault(RowFault::new(row.line, reason, message)),
        })
    }

    fn read(&self, row: &mut Row) -> Result<(), (Refusal, String)> {
        let wrong = |message: String| (Refusal::InvalidValue, message);
        if self.record.len() != self.columns.len() {
            let message = format!(
                "expected {} fields as in the header, found {}",
                self.columns.len(),
                self.record.len()
            );
            return Err(wrong(message));
        }
        let (mut value_text, mut histogram_text, mut stale) = ("", "", false);
        let last = self.columns.len() - 1;
        for (place, (column, field)) in self.columns.iter().zip(&self.record).enumerate() {
            let field = if place == last { field.strip_suffix(b"\r").unwrap_or(field) } else { field };
            let Ok(field) = std::str::from_utf8(field) else {
                return Err(wrong("the line is not UTF-8".to_owned()));
            };
            match column {
                Column::Timestamp if field.is_empty() => {}
                Column::Timestamp => row.timestamp = Some(time::parse(field).map_err(wrong)?),
                Column::Name => row.name.push_str(field),
                Column::Value => value_text = field,
                Column::Type => row.kind = quick_kind(field).map_err(wrong)?,
                Column::Labels => json::add_labels(field, &mut row.labels)
                    .map_err(|message| (Refusal::InvalidLabel, message))?,
                Column::Histogram => histogram_text = field,
                Column::Stale => stale = stale_from(field).map_err(wrong)?,
                Column::Unit => row.unit.push_str(field),
                Column::Help => row.help.push_str(field),
                Column::Ignored => {}
                Column::Label(name) => row.labels.push(name, field),
            }
        }
        if row.name.is_empty() {
            return Err((Refusal::InvalidName, "metric_name: missing".to_owned()));
        }
        if let Some(name) = row.labels.repeated() {
            return Err((Refusal::InvalidLabel, format!("the label {name} is given more than once")));
        }
        row.value = match (stale, value_text, histogram_text) {
            (true, ..) => RowValue::Stale,
            (false, "", "") => return Err(wrong("value: missing".to_owned())),
            (false, "", text) => RowValue::Histogram(Box::new(histogram::from_json(text).map_err(wrong)?)),
            (false, text, "") => value::parse(text).map_err(wrong)?.map_or(RowValue::Stale, RowValue::Float),
            _ => return Err(wrong("value and histogram: expected one of them".to_owned())),
        };
        Ok(())
    }
}

/// Reads whether a series ended.
fn stale_from(text: &str) -> Result<bool, String> {
    match text {
        "" | "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        _ => Err("stale: expected true or false".to_owned()),
    }
}

fn quick_kind(text: &str) -> Result<MetricKind, String> {
    MetricType::from_name(text).map_or_else(|| kind_from(text), |known| Ok(kind_of(known)))
}

fn damaged(error: csv::Error) -> FileError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => FileError::at(line, format!("{other:?}")),
    }
}
