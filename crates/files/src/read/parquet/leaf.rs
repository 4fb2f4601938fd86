//! One column of values as it lies in the file, read some rows at a time.

use parquet::basic::{ConvertedType, Encoding, LogicalType, TimeUnit, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    Int96Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use metricsd_model::Millis;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Time(Millis),
    Bytes(&'a [u8]),
    /// Of a type that stands for nothing here.
    Other,
}

/// What whole numbers of a column stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sense {
    Plain,
    Unsigned,
    /// A time, so many of which are a millisecond.
    Parts(i64),
    Other,
}

impl Sense {
    fn of(column: &ColumnDescriptor) -> Self {
        match column.logical_type_ref() {
            Some(LogicalType::Timestamp(time)) => {
                return Self::Parts(match time.unit {
                    TimeUnit::MILLIS => 1,
                    TimeUnit::MICROS => 1_000,
                    TimeUnit::NANOS => 1_000_000,
                });
            }
            Some(LogicalType::Integer(int)) if !int.is_signed => return Self::Unsigned,
            Some(LogicalType::Float16 | LogicalType::Uuid) => return Self::Other,
            _ => {}
        }
        match column.converted_type() {
            ConvertedType::TIMESTAMP_MILLIS => Self::Parts(1),
            ConvertedType::TIMESTAMP_MICROS => Self::Parts(1_000),
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Self::Unsigned,
            ConvertedType::DATE
            | ConvertedType::TIME_MILLIS
            | ConvertedType::TIME_MICROS
            | ConvertedType::DECIMAL
            | ConvertedType::INTERVAL
            | ConvertedType::BSON => Self::Other,
            _ => Self::Plain,
        }
    }

    fn cell<'a>(self, number: i64, unsigned: u64) -> Cell<'a> {
        match self {
            Self::Plain => Cell::Int(number),
            Self::Unsigned => Cell::Unsigned(unsigned),
            Self::Parts(parts) => Cell::Time(number.div_euclid(parts)),
            Self::Other => Cell::Other,
        }
    }
}

/// Values of one physical type.
struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Typed<T> {
    fn new(reader: ColumnReaderImpl<T>) -> Self {
        Self { reader, values: Vec::new() }
    }

    fn fill(&mut self, rows: usize, definitions: &mut Vec<i16>, repetitions: &mut Vec<i16>) -> Result<usize> {
        self.values.clear();
        let read = self.reader.read_records(rows, Some(definitions), Some(repetitions), &mut self.values)?;
        Ok(read.0)
    }
}

enum Values {
    Bool(Typed<BoolType>),
    Int32(Typed<Int32Type>),
    Int64(Typed<Int64Type>),
    Int96(Typed<Int96Type>),
    Float(Typed<FloatType>),
    Double(Typed<DoubleType>),
    Bytes(Typed<ByteArrayType>),
    Fixed(Typed<FixedLenByteArrayType>),
}

impl Values {
    fn new(reader: ColumnReader) -> Self {
        match reader {
            ColumnReader::BoolColumnReader(reader) => Self::Bool(Typed::new(reader)),
            ColumnReader::Int32ColumnReader(reader) => Self::Int32(Typed::new(reader)),
            ColumnReader::Int64ColumnReader(reader) => Self::Int64(Typed::new(reader)),
            ColumnReader::Int96ColumnReader(reader) => Self::Int96(Typed::new(reader)),
            ColumnReader::FloatColumnReader(reader) => Self::Float(Typed::new(reader)),
            ColumnReader::DoubleColumnReader(reader) => Self::Double(Typed::new(reader)),
            ColumnReader::ByteArrayColumnReader(reader) => Self::Bytes(Typed::new(reader)),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => Self::Fixed(Typed::new(reader)),
        }
    }

    fn fill(&mut self, rows: usize, definitions: &mut Vec<i16>, repetitions: &mut Vec<i16>) -> Result<usize> {
        match self {
            Self::Bool(typed) => typed.fill(rows, definitions, repetitions),
            Self::Int32(typed) => typed.fill(rows, definitions, repetitions),
            Self::Int64(typed) => typed.fill(rows, definitions, repetitions),
            Self::Int96(typed) => typed.fill(rows, definitions, repetitions),
            Self::Float(typed) => typed.fill(rows, definitions, repetitions),
            Self::Double(typed) => typed.fill(rows, definitions, repetitions),
            Self::Bytes(typed) => typed.fill(rows, definitions, repetitions),
            Self::Fixed(typed) => typed.fill(rows, definitions, repetitions),
        }
    }

    fn cell(&self, at: usize, sense: Sense) -> Option<Cell<'_>> {
        let bytes = |bytes| if sense == Sense::Other { Cell::Other } else { Cell::Bytes(bytes) };
        Some(match self {
            Self::Bool(typed) => Cell::Bool(*typed.values.get(at)?),
            Self::Int32(typed) => {
                let number = *typed.values.get(at)?;
                sense.cell(i64::from(number), u64::from(number.cast_unsigned()))
            }
            Self::Int64(typed) => {
                let number = *typed.values.get(at)?;
                sense.cell(number, number.cast_unsigned())
            }
            Self::Int96(typed) => Cell::Time(typed.values.get(at)?.to_millis()),
            Self::Float(typed) => Cell::Float(f64::from(*typed.values.get(at)?)),
            Self::Double(typed) => Cell::Float(*typed.values.get(at)?),
            Self::Bytes(typed) => bytes(typed.values.get(at)?.data()),
            Self::Fixed(typed) => bytes(typed.values.get(at)?.data()),
        })
    }
}

/// A column, and the rows of it that wait.
pub(super) struct Leaf {
    values: Values,
    sense: Sense,
    /// Level of a value that is there.
    present: i16,
    /// Level of a place that is there, with a value or without.
    place: i16,
    repeated: bool,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    /// Where the next row begins, by levels and by values.
    level: usize,
    value: usize,
}

impl Leaf {
    /// A column of one row group. `place` is the level of definition of what repeats.
    pub(super) fn new(column: ColumnDescPtr, pages: Box<dyn PageReader>, place: i16) -> Self {
        let (present, repeated) = (column.max_def_level(), column.max_rep_level() > 0);
        let sense = Sense::of(&column);
        let pages = Box::new(Checked { pages, column: column.clone() });
        Self {
            values: Values::new(get_column_reader(column, pages)),
            sense,
            present,
            place,
            repeated,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            level: 0,
            value: 0,
        }
    }

    /// Reads so many rows; all before were taken.
    pub(super) fn fill(&mut self, rows: usize) -> Result<()> {
        self.definitions.clear();
        self.repetitions.clear();
        (self.level, self.value) = (0, 0);
        let read = self.values.fill(rows, &mut self.definitions, &mut self.repetitions)?;
        if read == rows { Ok(()) } else { Err(ends_early()) }
    }

    /// The value of the next row, of a column that does not repeat.
    pub(super) fn next(&mut self) -> Result<Cell<'_>> {
        if self.present > 0 {
            let level = self.definitions.get(self.level).ok_or_else(ends_early)?;
            self.level += 1;
            if *level < self.present {
                return Ok(Cell::Null);
            }
        }
        self.value += 1;
        self.values.cell(self.value - 1, self.sense).ok_or_else(ends_early)
    }

    /// The places of the next row, of a column that repeats: each with its value. What they are is asked of [`Self::at`].
    pub(super) fn next_places(&mut self) -> Places {
        let (first, value) = (self.level, self.value);
        while let Some(level) = self.definitions.get(self.level) {
            let begins = self.repeated && self.repetitions.get(self.level).is_none_or(|level| *level == 0);
            if self.level > first && begins {
                break;
            }
            self.value += usize::from(*level == self.present);
            self.level += 1;
        }
        Places { level: first, end: self.level, value }
    }

    /// The next of some places; `None` behind the last.
    pub(super) fn at(&self, places: &mut Places) -> Result<Option<Cell<'_>>> {
        while places.level < places.end {
            let level = *self.definitions.get(places.level).ok_or_else(ends_early)?;
            places.level += 1;
            if level == self.present {
                places.value += 1;
                let cell = self.values.cell(places.value - 1, self.sense).ok_or_else(ends_early)?;
                return Ok(Some(cell));
            }
            if level >= self.place {
                return Ok(Some(Cell::Null));
            }
        }
        Ok(None)
    }
}

/// Where the values of one row lie.
#[derive(Debug)]
pub(super) struct Places {
    level: usize,
    end: usize,
    value: usize,
}

fn ends_early() -> ParquetError {
    ParquetError::EOF("a column ends before its rows do".to_owned())
}

/// Looks at pages before they are decoded: lengths of texts are listed before the texts, under a number that the decoder
/// makes room for.
struct Checked {
    pages: Box<dyn PageReader>,
    column: ColumnDescPtr,
}

impl Checked {
    fn check(&self, page: &Page) -> Result<()> {
        if page.encoding() != Encoding::DELTA_LENGTH_BYTE_ARRAY {
            return Ok(());
        }
        let bytes = page.buffer().as_ref();
        let values = match page {
            Page::DataPage { num_values, def_level_encoding, rep_level_encoding, .. } => {
                let repetitions = (self.column.max_rep_level(), *rep_level_encoding);
                let definitions = (self.column.max_def_level(), *def_level_encoding);
                [repetitions, definitions].into_iter().try_fold(bytes, |bytes, (level, encoding)| {
                    let length = levels_length(level, encoding, *num_values, bytes)?;
                    bytes.get(length..)
                })
            }
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                let length = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                usize::try_from(length).ok().and_then(|length| bytes.get(length..))
            }
            Page::DictionaryPage { .. } => None,
        };
        match values.and_then(listed) {
            Some(listed) if listed <= u64::from(page.num_values()) => Ok(()),
            _ => Err(ParquetError::General("a page lists more lengths than it has values".to_owned())),
        }
    }
}

/// Bytes that the levels of a page take.
fn levels_length(level: i16, encoding: Encoding, values: u32, bytes: &[u8]) -> Option<usize> {
    if level == 0 {
        return Some(0);
    }
    if encoding == Encoding::RLE {
        let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
        return usize::try_from(length).ok()?.checked_add(4);
    }
    let bits = u64::from(u16::BITS - level.unsigned_abs().leading_zeros());
    usize::try_from((u64::from(values) * bits).div_ceil(8)).ok()
}

/// How many lengths are listed: the third number of the list's head.
fn listed(bytes: &[u8]) -> Option<u64> {
    let mut bytes = bytes.iter();
    let mut number = || {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes.next()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    };
    number()?;
    number()?;
    number()
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Checked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Whether times can be of a physical type.
pub(super) fn holds_times(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::INT64 | Type::INT96 | Type::BYTE_ARRAY)
}
