//! Parquet: the same columns as CSV; labels as a map, as JSON, or as columns of their own.
//!
//! Columns are read some rows at a time, a page of each in memory (`leaf`). What the crate's decoders would take on trust is
//! checked before (`footer`, `pages`), and a panic inside of them is an error of the file.

mod footer;
mod leaf;
mod pages;
mod thrift;

use std::borrow::Cow;
use std::cell::Cell as Shared;
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
use parquet::schema::types::{SchemaDescriptor, Type};

use super::csv::Column;
use super::{MAX_LINE, json};
use crate::row::{Row, RowFault, RowValue, Step, kind_from};
use crate::source::{Source, SourceReader};
use crate::{FileError, histogram, time, value};
use leaf::{Cell, Leaf};

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

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq)]
enum Role {
    /// One a row.
    Flat(Column),
    /// Names of labels, so many a row.
    Names,
    /// The values of those names.
    Values,
}

/// A column that is read: its place, its role, and the level of definition of what repeats in it.
struct Planned {
    place: usize,
    role: Role,
    level: i16,
}

/// Reads Parquet.
pub(super) struct ParquetRows {
    file: SerializedFileReader<Chunks>,
    plan: Vec<Planned>,
    /// The columns of the row group that is being read, as planned.
    leaves: Vec<Leaf>,
    group: usize,
    /// Rows of it that were not filled in yet, and that were.
    left: usize,
    ready: usize,
    /// Rows that are filled in at once.
    batch: usize,
    number: u64,
    read: Arc<AtomicU64>,
    position: Rc<Shared<u64>>,
    broken: bool,
}

impl ParquetRows {
    /// Opens a file. `limit` bounds the bytes to which it unfolds.
    pub(super) fn open(source: Arc<dyn Source>, limit: u64) -> Result<Self, FileError> {
        footer::check(&source)?;
        let read = Arc::new(AtomicU64::new(0));
        let chunks = Chunks { source: source.clone(), read: read.clone() };
        let file = guarded(|| SerializedFileReader::new(chunks).map_err(damaged))?;
        let metadata = file.metadata();
        let plan = plan(metadata.file_metadata().schema_descr())?;
        let places: Vec<usize> = plan.iter().map(|planned| planned.place).collect();
        let batch = pages::check(&source, metadata, &places, limit)?;
        let position = Rc::new(Shared::new(0));
        let (leaves, broken) = (Vec::new(), false);
        Ok(Self { file, plan, leaves, group: 0, left: 0, ready: 0, batch, number: 0, read, position, broken })
    }

    pub(super) fn position(&self) -> Rc<Shared<u64>> {
        self.position.clone()
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        if self.broken {
            return Ok(Step::End);
        }
        self.number += 1;
        row.line = self.number;
        let next = guarded(|| self.advance(row).map_err(damaged));
        self.broken = next.is_err();
        self.position.set(self.read.load(Ordering::Relaxed));
        Ok(match next.map_err(|error| self.placed(error))? {
            None => Step::End,
            Some(Ok(())) => Step::Row,
            Some(Err((reason, message))) => Step::Fault(RowFault::new(self.number, reason, message)),
        })
    }

    fn placed(&self, error: FileError) -> FileError {
        match error {
            FileError::Damaged(message) => FileError::Damaged(format!("row {}: {message}", self.number)),
            other => other,
        }
    }

    /// Reads the next row; what is wrong with it alone is said inside.
    fn advance(&mut self, row: &mut Row) -> parquet::errors::Result<Option<Result<(), Fault>>> {
        while self.ready == 0 {
            if self.left > 0 {
                self.ready = self.left.min(self.batch);
                self.left -= self.ready;
                self.leaves.iter_mut().try_for_each(|leaf| leaf.fill(self.ready))?;
            } else if self.group < self.file.num_row_groups() {
                let group = self.file.get_row_group(self.group)?;
                self.group += 1;
                self.left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
                self.leaves.clear();
                for planned in &self.plan {
                    let column = group.metadata().schema_descr().column(planned.place);
                    let pages = group.get_column_page_reader(planned.place)?;
                    self.leaves.push(Leaf::new(column, pages, planned.level));
                }
            } else {
                return Ok(None);
            }
        }
        self.ready -= 1;
        let mut taken = Taken::default();
        let mut ended = Ok(());
        // A row that is bad is read to its end all the same: its neighbours begin behind it.
        let mut names = None;
        for (index, planned) in self.plan.iter().enumerate() {
            let took = match &planned.role {
                Role::Flat(column) => match self.leaves.get_mut(index) {
                    Some(leaf) => taken.take(column, leaf.next()?, row),
                    None => Ok(()),
                },
                Role::Names => {
                    names = Some(index);
                    Ok(())
                }
                Role::Values => match names.take() {
                    Some(names) => add_pairs(&mut self.leaves, names, index, row)?,
                    None => Ok(()),
                },
            };
            ended = ended.and(took);
        }
        Ok(Some(ended.and_then(|()| taken.into_row(row))))
    }
}

/// What is wrong with a row.
type Fault = (Refusal, String);

fn wrong(message: String) -> Fault {
    (Refusal::InvalidValue, message)
}

/// Which columns are read, and what they are.
fn plan(schema: &SchemaDescriptor) -> Result<Vec<Planned>, FileError> {
    let fields = schema.root_schema().get_fields();
    let columns: Vec<Column> = fields.iter().map(|field| Column::named(field.name())).collect();
    Column::check(&columns).map_err(FileError::Damaged)?;
    let mut plan = Vec::new();
    for (place, leaf) in schema.columns().iter().enumerate() {
        let root = schema.get_column_root_idx(place);
        let (Some(column), Some(field)) = (columns.get(root), fields.get(root)) else { continue };
        let path = leaf.path().parts();
        let nested = || {
            let name: String = field.name().chars().take(40).collect();
            FileError::Damaged(format!(
                "the column {name} has columns inside: expected one value a row, or labels as a map or as a group"
            ))
        };
        let (role, level) = match (column, leaf.max_rep_level(), path) {
            (Column::Ignored, ..) => continue,
            (Column::Timestamp, 0, [_]) if !leaf::holds_times(leaf) => {
                return Err(FileError::Damaged("timestamp: expected a column of timestamps".to_owned()));
            }
            (column, 0, [_]) => (Role::Flat(column.clone()), 0),
            (Column::Labels, 0, [_, name]) => (Role::Flat(Column::Label(name.clone())), 0),
            (Column::Labels, 1, [_, _, name]) => map_role(field, name).ok_or_else(nested)?,
            _ => return Err(nested()),
        };
        plan.push(Planned { place, role, level });
    }
    Ok(plan)
}

/// Whether a column inside of a map has its names or its values, and the level of definition of an entry.
fn map_role(map: &Type, name: &str) -> Option<(Role, i16)> {
    let [entry] = map.get_fields() else { return None };
    let [names, values] = entry.get_fields() else { return None };
    let level = 1 + i16::from(map.is_optional());
    match name {
        name if name == names.name() => Some((Role::Names, level)),
        name if name == values.name() => Some((Role::Values, level)),
        _ => None,
    }
}

/// What a row says of its value.
#[derive(Default)]
struct Taken {
    number: Option<RowValue>,
    packed: Option<String>,
    stale: bool,
}

impl Taken {
    fn take(&mut self, column: &Column, cell: Cell<'_>, row: &mut Row) -> Result<(), Fault> {
        let text = || text_of(cell).map(Option::unwrap_or_default).map_err(wrong);
        match column {
            Column::Timestamp => row.timestamp = time_of(cell).map_err(wrong)?,
            Column::Name => row.name.push_str(text()?),
            Column::Value => self.number = value_of(cell).map_err(wrong)?,
            Column::Type => row.kind = kind_from(text()?).map_err(wrong)?,
            Column::Labels => json::add_labels(text()?, &mut row.labels).map_err(bad_label)?,
            Column::Histogram => {
                self.packed = Some(text()?).filter(|text| !text.is_empty()).map(str::to_owned)
            }
            Column::Stale => self.stale = cell == Cell::Bool(true),
            Column::Unit => row.unit.push_str(text()?),
            Column::Help => row.help.push_str(text()?),
            Column::Ignored => {}
            Column::Label(name) => add_label(name, cell, row)?,
        }
        Ok(())
    }

    fn into_row(self, row: &mut Row) -> Result<(), Fault> {
        if row.name.is_empty() {
            return Err((Refusal::InvalidName, "metric_name: missing".to_owned()));
        }
        if let Some(name) = row.labels.repeated() {
            return Err(bad_label(format!("the label {name} is given more than once")));
        }
        row.value = match (self.stale, self.number, self.packed) {
            (true, ..) => RowValue::Stale,
            (false, Some(value), None) => value,
            (false, None, Some(text)) => {
                RowValue::Histogram(Box::new(histogram::from_json(&text).map_err(wrong)?))
            }
            (false, None, None) => return Err(wrong("value: missing".to_owned())),
            _ => return Err(wrong("value and histogram: expected one of them".to_owned())),
        };
        Ok(())
    }
}

fn bad_label(message: String) -> Fault {
    (Refusal::InvalidLabel, message)
}

/// Adds the entries of a map; names and values lie in columns of their own.
fn add_pairs(
    leaves: &mut [Leaf],
    names: usize,
    values: usize,
    row: &mut Row,
) -> parquet::errors::Result<Result<(), Fault>> {
    let Ok([names, values]) = leaves.get_disjoint_mut([names, values]) else { return Ok(Ok(())) };
    let (mut places, mut others) = (names.next_places(), values.next_places());
    let mut ended = Ok(());
    loop {
        let pair = match (names.at(&mut places)?, values.at(&mut others)?) {
            (None, None) => return Ok(ended),
            (Some(name), Some(value)) => (name, value),
            _ => return Err(ParquetError::General("a map has more names than values, or fewer".to_owned())),
        };
        if ended.is_ok() {
            ended = match text_of(pair.0) {
                Ok(Some(name)) => add_label(name, pair.1, row),
                Ok(None) => Err(bad_label("labels: a label has no name".to_owned())),
                Err(message) => Err(bad_label(message)),
            };
        }
    }
}

/// Adds a label. Values of a dictionary cost nothing in the file, however often a row has them, and flags and numbers that
/// come again next to nothing.
fn add_label(name: &str, cell: Cell<'_>, row: &mut Row) -> Result<(), Fault> {
    let text = match cell {
        Cell::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Cell::Int(value) => Cow::Owned(value.to_string()),
        Cell::Unsigned(value) => Cow::Owned(value.to_string()),
        cell => Cow::Borrowed(text_of(cell).map_err(bad_label)?.unwrap_or_default()),
    };
    if row.labels.size() + name.len() + text.len() > MAX_LINE {
        return Err(bad_label(format!("the labels are longer than {MAX_LINE} bytes")));
    }
    row.labels.push(name, &text);
    Ok(())
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

fn found(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "nothing".to_owned(),
        Cell::Bool(value) => value.to_string(),
        Cell::Int(value) | Cell::Time(value) => value.to_string(),
        Cell::Unsigned(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Bytes(bytes) => String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes)).into_owned(),
        Cell::Other => "another type".to_owned(),
    }
}

fn text_of(cell: Cell<'_>) -> Result<Option<&str>, String> {
    match cell {
        Cell::Null => Ok(None),
        Cell::Bytes(bytes) if bytes.len() > MAX_LINE => {
            Err(format!("a text is longer than {MAX_LINE} bytes"))
        }
        Cell::Bytes(bytes) => {
            std::str::from_utf8(bytes).map(Some).map_err(|_| "expected UTF-8 text".to_owned())
        }
        other => Err(format!("expected a text, found {}", found(other))),
    }
}

fn time_of(cell: Cell<'_>) -> Result<Option<Millis>, String> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Time(millis) | Cell::Int(millis) => millis,
        cell @ Cell::Bytes(_) => time::parse(text_of(cell)?.unwrap_or_default())?,
        other => return Err(format!("timestamp: expected a timestamp, found {}", found(other))),
    }))
}

fn value_of(cell: Cell<'_>) -> Result<Option<RowValue>, String> {
    let value = match cell {
        Cell::Null => return Ok(None),
        Cell::Float(value) => value,
        Cell::Int(value) => value as f64,
        Cell::Unsigned(value) => value as f64,
        cell @ Cell::Bytes(_) => {
            let text = text_of(cell)?.unwrap_or_default();
            return Ok(Some(value::parse(text)?.map_or(RowValue::Stale, RowValue::Float)));
        }
        other => return Err(format!("value: expected a number, found {}", found(other))),
    };
    let stale = metricsd_model::is_stale(value);
    Ok(Some(if stale { RowValue::Stale } else { RowValue::Float(value) }))
}

#[cfg(test)]
mod tests;
