//! Binary values of rows, read in place: a frame's array is not turned into a `Vec` to pick three of its elements.

use sqlx::postgres::PgRow;
use sqlx::{Row, ValueRef};

use crate::error::{Fault, damaged};

/// A one-dimensional array without nulls, whose elements are `N` bytes each.
#[derive(Clone, Copy)]
pub(crate) struct Array<'a, const N: usize> {
    body: &'a [u8],
}

impl<'a, const N: usize> Array<'a, N> {
    /// Checks the form once, so that elements can be read without further checks. `None` where it is another.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (dimensions, nulls) = (word(0)?, word(4)?);
        if dimensions == 0 {
            return Some(Self { body: &[] });
        }
        let count = usize::try_from(word(12)?).ok()?;
        let body = bytes.get(20..)?;
        (dimensions == 1 && nulls == 0 && body.len() == count.checked_mul(4 + N)?).then_some(Self { body })
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.body.len() / (4 + N)
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = [u8; N]> + 'a {
        // Each has its length before it.
        let number = |element: &[u8]| element.last_chunk::<N>().copied().unwrap_or([0; N]);
        self.body.chunks_exact(4 + N).map(number)
    }
}

/// The bytes of a column; `None` where it is null.
pub(crate) fn bytes(row: &PgRow, column: usize) -> Result<Option<&[u8]>, Fault> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_bytes().map(Some).map_err(|error| Fault::Sql(sqlx::Error::Decode(error)))
}

/// A number of `N` bytes; `None` where it is null.
pub(crate) fn number<const N: usize>(row: &PgRow, column: usize) -> Result<Option<[u8; N]>, Fault> {
    let read = |bytes: &[u8]| bytes.try_into().map_err(|_| unexpected(column));
    bytes(row, column)?.map(read).transpose()
}

/// A number that is never null.
pub(crate) fn required<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], Fault> {
    number(row, column)?.ok_or_else(|| unexpected(column))
}

/// An array; `None` where it is null.
pub(crate) fn array<const N: usize>(row: &PgRow, column: usize) -> Result<Option<Array<'_, N>>, Fault> {
    let parse = |bytes| Array::parse(bytes).ok_or_else(|| unexpected(column));
    bytes(row, column)?.map(parse).transpose()
}

/// An array that is never null.
pub(crate) fn required_array<const N: usize>(row: &PgRow, column: usize) -> Result<Array<'_, N>, Fault> {
    array(row, column)?.ok_or_else(|| unexpected(column))
}

fn unexpected(column: usize) -> Fault {
    damaged(format!("unexpected form of column {column} in an answer of the database"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_arrays_are_refused() {
        assert!(Array::<8>::parse(&[]).is_none());
        assert_eq!(Array::<8>::parse(&[0; 12]).map(|array| array.iter().count()), Some(0));
        let mut one = Vec::new();
        for word in [1i32, 0, 701, 1, 1, 8, 0, 42] {
            one.extend_from_slice(&word.to_be_bytes());
        }
        let array = Array::<8>::parse(&one).unwrap();
        assert_eq!((array.len(), array.iter().map(i64::from_be_bytes).collect::<Vec<_>>()), (1, vec![42]));
        assert!(Array::<4>::parse(&one).is_none());
        assert!(Array::<8>::parse(&one[..one.len() - 1]).is_none());
        one[7] = 1;
        assert!(Array::<8>::parse(&one).is_none(), "nulls are not read");
    }
}
