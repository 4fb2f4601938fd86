//! Values of a segment as its row holds them: floats, one value for all, or whole numbers beside a line.

use metricsd_store::compact::Line;
use sqlx::postgres::PgRow;

use crate::binary::{Array, array, number, required};
use crate::error::{Fault, damaged};

/// What a row says of its values.
pub(crate) enum Values<'r> {
    Floats(Array<'r, 8>),
    Constant(f64),
    Short(Line, Array<'r, 2>),
    Long(Line, Array<'r, 4>),
}

impl<'r> Values<'r> {
    /// Reads the floats' column, and those of base, slope, scale, shorts and longs, which follow each other.
    pub(crate) fn of(row: &'r PgRow, floats: usize, base: usize) -> Result<Self, Fault> {
        if let Some(floats) = array::<8>(row, floats)? {
            return Ok(Self::Floats(floats));
        }
        let start = f64::from_be_bytes(required(row, base)?);
        let Some(scale) = number(row, base + 2)?.map(f64::from_be_bytes) else {
            return Ok(Self::Constant(start));
        };
        let slope = f64::from_be_bytes(required(row, base + 1)?);
        let line = Line { base: start, slope, scale };
        if let Some(shorts) = array::<2>(row, base + 3)? {
            return Ok(Self::Short(line, shorts));
        }
        let longs = array::<4>(row, base + 4)?;
        Ok(Self::Long(line, longs.ok_or_else(|| damaged("a segment without values"))?))
    }

    /// How many there are; `None` where there is one for as many timestamps as the segment has.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Floats(floats) => Some(floats.len()),
            Self::Constant(_) => None,
            Self::Short(_, numbers) => Some(numbers.len()),
            Self::Long(_, numbers) => Some(numbers.len()),
        }
    }

    /// Reads `count` of them; the first stands at `place` of its segment.
    pub(crate) fn read(&self, place: usize, count: usize, into: &mut Vec<f64>) -> Result<(), Fault> {
        into.clear();
        match self {
            Self::Floats(floats) => into.extend(floats.iter().map(f64::from_be_bytes)),
            Self::Constant(value) => into.resize(count, *value),
            Self::Short(line, numbers) => {
                let numbers = numbers.iter().map(|number| f64::from(i16::from_be_bytes(number)));
                into.extend((place..).zip(numbers).map(|(place, number)| line.value(place, number)));
            }
            Self::Long(line, numbers) => {
                let numbers = numbers.iter().map(|number| f64::from(i32::from_be_bytes(number)));
                into.extend((place..).zip(numbers).map(|(place, number)| line.value(place, number)));
            }
        }
        match into.len() == count {
            true => Ok(()),
            false => Err(damaged("a segment has not one value a timestamp")),
        }
    }
}
