//! Arrays of different lengths as slices of one, which a statement takes apart again: `($1::int8[])[first:last]`.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// An element of `N` bytes on the wire.
pub(super) trait Element<const N: usize>: Copy {
    /// The type's object id; fixed in every PostgreSQL.
    const OID: u32;

    fn wire(self) -> [u8; N];
}

impl Element<8> for i64 {
    const OID: u32 = 20;

    fn wire(self) -> [u8; 8] {
        self.to_be_bytes()
    }
}

impl Element<4> for i32 {
    const OID: u32 = 23;

    fn wire(self) -> [u8; 4] {
        self.to_be_bytes()
    }
}

/// As bits, so the NaN that is a staleness marker arrives as it left.
impl Element<8> for f64 {
    const OID: u32 = 701;

    fn wire(self) -> [u8; 8] {
        self.to_bits().to_be_bytes()
    }
}

/// Slices that are sent as one array.
#[derive(Debug, Clone)]
pub(super) struct Slices<'a, T, const N: usize> {
    slices: Vec<&'a [T]>,
    /// Where each begins and ends in the array, counted from 1; nothing for what is null.
    pub(super) first: Vec<Option<i32>>,
    pub(super) last: Vec<Option<i32>>,
    length: i32,
}

impl<T, const N: usize> Default for Slices<'_, T, N> {
    fn default() -> Self {
        Self { slices: Vec::new(), first: Vec::new(), last: Vec::new(), length: 0 }
    }
}

impl<'a, T, const N: usize> Slices<'a, T, N> {
    /// Adds a slice, or a null.
    pub(super) fn push(&mut self, slice: Option<&'a [T]>) {
        let first = self.length + 1;
        if let Some(slice) = slice {
            self.length += slice.len() as i32;
            self.slices.push(slice);
        }
        self.first.push(slice.map(|_| first));
        self.last.push(slice.map(|_| self.length));
    }

    /// Bytes of all elements.
    pub(super) fn bytes(&self) -> usize {
        self.length as usize * N
    }
}

impl<T, const N: usize> Type<Postgres> for Slices<'_, T, N>
where
    Vec<T>: Type<Postgres>,
{
    fn type_info() -> PgTypeInfo {
        Vec::<T>::type_info()
    }
}

/// One dimension, no nulls: a header of 20 bytes, then length and bits of each element.
impl<T: Element<N>, const N: usize> Encode<'_, Postgres> for &Slices<'_, T, N> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        for header in [1, 0, T::OID, self.length as u32, 1] {
            buffer.extend_from_slice(&header.to_be_bytes());
        }
        let width = (N as i32).to_be_bytes();
        let mut start = buffer.len();
        buffer.resize(start + self.length as usize * (4 + N), 0);
        for slice in &self.slices {
            let end = start + slice.len() * (4 + N);
            for (slot, item) in buffer[start..end].chunks_exact_mut(4 + N).zip(*slice) {
                slot[..4].copy_from_slice(&width);
                slot[4..].copy_from_slice(&item.wire());
            }
            start = end;
        }
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::Array;

    #[test]
    fn slices_become_one_array_with_bounds() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let mut slices = Slices::<f64, 8>::default();
        let first = [1.5, stale];
        slices.push(Some(&first));
        slices.push(None);
        slices.push(Some(&[-0.0]));
        assert_eq!(slices.first, [Some(1), None, Some(3)]);
        assert_eq!(slices.last, [Some(2), None, Some(3)]);
        assert_eq!(slices.bytes(), 24);
        let mut buffer = PgArgumentBuffer::default();
        let _ = (&slices).encode_by_ref(&mut buffer).unwrap();
        let array = Array::<8>::parse(&buffer).unwrap();
        let bits: Vec<u64> = array.iter().map(u64::from_be_bytes).collect();
        assert_eq!(bits, [1.5f64.to_bits(), stale.to_bits(), (-0.0f64).to_bits()]);
    }

    #[test]
    fn nothing_becomes_an_array_without_elements() {
        let mut buffer = PgArgumentBuffer::default();
        let _ = (&Slices::<i32, 4>::default()).encode_by_ref(&mut buffer).unwrap();
        assert_eq!(Array::<4>::parse(&buffer).map(|array| array.len()), Some(0));
    }
}
