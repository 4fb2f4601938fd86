//! Values of a segment as its row holds them: floats, one value for all, or whole numbers beside a line.

use metricsd_store::compact::{Line, Width};
use sqlx::postgres::PgRow;

use crate::binary::{Array, array, number, required};
use crate::error::{Fault, damaged};

/// What a row says of its values.
pub(crate) enum Values<'r> {
    Floats(Array<'r, 8>),
    Constant(f64),
    Whole(Line, Low<'r>, Option<Array<'r, 1>>),
}

/// Numbers, or their lower bytes where there is a byte above.
pub(crate) enum Low<'r> {
    One(Array<'r, 1>),
    Two(Array<'r, 2>),
    Four(Array<'r, 4>),
}

impl<'r> Values<'r> {
    /// Reads the floats' column, and those of level, slope, scale, low1, low2, low4 and high, which follow each other.
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
        let low = match (array::<1>(row, base + 3)?, array::<2>(row, base + 4)?, array::<4>(row, base + 5)?) {
            (Some(ones), None, None) => Low::One(ones),
            (None, Some(twos), None) => Low::Two(twos),
            (None, None, Some(fours)) => Low::Four(fours),
            (None, None, None) => return Err(damaged("a segment without values")),
            _ => return Err(damaged("a segment with values in two forms")),
        };
        let high = array::<1>(row, base + 6)?;
        match high.is_none_or(|high| high.len() == low.len()) {
            true => Ok(Self::Whole(line, low, high)),
            false => Err(damaged("a segment with parts of some values")),
        }
    }

    /// How many there are; `None` where there is one for as many timestamps as the segment has.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Floats(floats) => Some(floats.len()),
            Self::Constant(_) => None,
            Self::Whole(_, low, _) => Some(low.len()),
        }
    }

    /// Reads `count` of them; the first stands at `place` of its segment.
    pub(crate) fn read(&self, place: usize, count: usize, into: &mut Vec<f64>) -> Result<(), Fault> {
        into.clear();
        match self {
            Self::Floats(floats) => into.extend(floats.iter().map(f64::from_be_bytes)),
            Self::Constant(value) => into.resize(count, *value),
            Self::Whole(line, low, high) => {
                low.read(into);
                if let Some(high) = high {
                    let unit = low.width().unit();
                    for (number, high) in into.iter_mut().zip(high.iter()) {
                        *number += f64::from(i8::from_be_bytes(high)) * unit;
                    }
                }
                (place..)
                    .zip(into.iter_mut())
                    .for_each(|(place, number)| *number = line.value(place, *number));
            }
        }
        match into.len() == count {
            true => Ok(()),
            false => Err(damaged("a segment has not one value a timestamp")),
        }
    }
}

impl Low<'_> {
    fn len(&self) -> usize {
        match self {
            Self::One(numbers) => numbers.len(),
            Self::Two(numbers) => numbers.len(),
            Self::Four(numbers) => numbers.len(),
        }
    }

    fn width(&self) -> Width {
        match self {
            Self::One(_) => Width::One,
            Self::Two(_) => Width::Two,
            Self::Four(_) => Width::Four,
        }
    }

    fn read(&self, into: &mut Vec<f64>) {
        match self {
            Self::One(numbers) => {
                into.extend(numbers.iter().map(|number| f64::from(i8::from_be_bytes(number))))
            }
            Self::Two(numbers) => {
                into.extend(numbers.iter().map(|number| f64::from(i16::from_be_bytes(number))))
            }
            Self::Four(numbers) => {
                into.extend(numbers.iter().map(|number| f64::from(i32::from_be_bytes(number))))
            }
        }
    }
}
