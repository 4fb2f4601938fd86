//! Values of one series over time. Many never change, and many more are counts.

use super::whole::EXACT;
use super::{CONSTANT, MAX_VALUES, PackError, WHOLE, bits, pack_floats};
use crate::remote_write::push_varint;

/// Beyond so many values pco is smaller than differences in whole bytes, or nearly so.
const MAX_FOR_WHOLE: usize = 64;

/// Fewer values are packed as if they were no multiples of one step: saying of which takes more than it saves.
const MIN_FOR_BITS: usize = 3;

/// Up to so many values bits are smaller than pco wherever they can be had.
const MAX_FOR_BITS: usize = 512;

/// Packs the values of one series: as [`pack_floats`] does, or smaller where they are all the same, or whole multiples of
/// one step.
pub fn pack_series(values: &[f64]) -> Vec<u8> {
    let Some((first, rest)) = values.split_first() else { return pack_floats(values) };
    if !rest.is_empty() && rest.iter().all(|value| value.to_bits() == first.to_bits()) {
        return pack_constant(*first, values.len());
    }
    let whole = if values.len() <= MAX_FOR_WHOLE { pack_whole(values) } else { None };
    let bits = if values.len() >= MIN_FOR_BITS { bits::pack(values) } else { None };
    let packed = match &bits {
        Some(_) if values.len() <= MAX_FOR_BITS => None,
        _ => Some(pack_floats(values)),
    };
    [whole, bits, packed].into_iter().flatten().min_by_key(Vec::len).unwrap_or_default()
}

/// The number of values, then the float's bytes from the highest on, without the zeros at its end.
fn pack_constant(value: f64, count: usize) -> Vec<u8> {
    let mut blob = vec![CONSTANT];
    push_varint(&mut blob, count as u64);
    let bytes = value.to_be_bytes();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    blob.extend_from_slice(&bytes[..used]);
    blob
}

/// Reads [`pack_constant`] back.
pub(super) fn constant(mut bytes: &[u8]) -> Result<Vec<f64>, PackError> {
    let count = take_varint(&mut bytes)?;
    if count > MAX_VALUES as u64 {
        return Err(PackError::TooMany);
    }
    let mut float = [0; 8];
    float.get_mut(..bytes.len()).ok_or(PackError::Damaged)?.copy_from_slice(bytes);
    Ok(vec![f64::from_be_bytes(float); count as usize])
}

/// Differences, each to the value before, the first to 0. `None` where a value is not whole, or too large.
fn pack_whole(values: &[f64]) -> Option<Vec<u8>> {
    let mut blob = vec![WHOLE];
    let mut before = 0i64;
    for value in values {
        let number = *value as i64;
        if value.abs() > EXACT || (number as f64).to_bits() != value.to_bits() {
            return None;
        }
        let difference = number - before;
        push_varint(&mut blob, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
        before = number;
    }
    Some(blob)
}

/// Reads [`pack_whole`] back.
pub(super) fn whole(mut bytes: &[u8]) -> Result<Vec<f64>, PackError> {
    let mut values = Vec::with_capacity(bytes.len().min(MAX_FOR_WHOLE));
    let mut number = 0i64;
    while !bytes.is_empty() {
        let coded = take_varint(&mut bytes)?;
        let difference = (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed());
        number = number.checked_add(difference).ok_or(PackError::Damaged)?;
        if values.len() == MAX_VALUES {
            return Err(PackError::TooMany);
        }
        values.push(number as f64);
    }
    Ok(values)
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> Result<u64, PackError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(PackError::Damaged)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(PackError::Damaged)
}

#[cfg(test)]
mod tests {
    use metricsd_model::STALE_NAN_BITS;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::pack::unpack_floats;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[track_caller]
    fn check(values: &[f64]) -> Vec<u8> {
        let blob = pack_series(values);
        assert_eq!(bits(&unpack_floats(&blob).unwrap()), bits(values));
        blob
    }

    /// If one of these fails, stored segments read otherwise. Do not change the bytes.
    #[test]
    fn bytes_are_pinned() {
        assert_eq!(check(&[]), [0]);
        assert_eq!(check(&[0.0; 240]), [2, 240, 1]);
        assert_eq!(check(&[1.0; 240]), [2, 240, 1, 0x3f, 0xf0]);
        assert_eq!(check(&[-0.0; 2]), [2, 2, 0x80]);
        let stale = [f64::from_bits(STALE_NAN_BITS); 3];
        assert_eq!(check(&stale), [2, 3, 0x7f, 0xf0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(check(&[3.0]), [3, 6]);
        assert_eq!(check(&[100.0, 101.0, 99.0, -1.0]), [3, 200, 1, 2, 3, 199, 1]);
        assert_eq!(check(&[0.5, 0.25]), [0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0, 0, 0, 0, 0, 0, 0xd0, 0x3f]);
        let long: Vec<f64> = (0..240).map(|at| f64::from(at) * 15.0 + 1e6).collect();
        assert_eq!(check(&long)[0], 4);
        let odd: Vec<f64> = long.iter().map(|value| value.sqrt()).collect();
        assert_eq!(check(&odd)[0], 1);
    }

    /// pco writes versions of its format into its blobs and reads all that came before.
    #[test]
    fn what_pco_wrote_once_reads_forever() {
        let expected: Vec<f64> = (0..80).map(|at| f64::from(at * at)).collect();
        assert_eq!(bits(&unpack_floats(&GOLDEN_PCO).unwrap()), bits(&expected));
    }

    const GOLDEN_PCO: [u8; 64] = [
        1, 112, 99, 111, 33, 3, 0, 6, 20, 4, 1, 6, 79, 0, 0, 2, 0, 0, 0, 0, 0, 0, 255, 27, 2, 1, 0, 1, 0, 0,
        0, 0, 0, 0, 64, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 128, 1, 0, 0, 0, 0, 0, 0, 0,
        0,
    ];

    #[test]
    fn what_is_not_whole_or_too_large_is_no_difference() {
        for odd in [0.5, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, EXACT * 2.0, f64::MAX] {
            assert_eq!(check(&[1.0, odd])[0], 0, "{odd}");
        }
        assert_eq!(check(&[EXACT, EXACT - 1.0, EXACT])[0], 3);
    }

    #[test]
    fn damaged_blobs_are_refused() {
        for blob in [&[2][..], &[2, 128], &[2, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[3, 128], &[3; 12]] {
            let damaged = unpack_floats(blob);
            assert!(blob == [3; 12] || damaged == Err(PackError::Damaged), "{blob:?}");
        }
        assert_eq!(unpack_floats(&[2, 255, 255, 255, 255, 15]), Err(PackError::TooMany));
        let overflow = [vec![3], vec![0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1], vec![2]].concat();
        assert_eq!(unpack_floats(&overflow), Err(PackError::Damaged));
    }

    proptest! {
        #[test]
        fn all_bits_survive(values in vec(any::<u64>(), 0..300)) {
            check(&values.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<f64>>());
        }

        #[test]
        fn series_survive(values in vec(prop_oneof![
            (-9i32..9).prop_map(f64::from),
            Just(1.0), Just(f64::NAN), Just(-0.0), Just(f64::from_bits(STALE_NAN_BITS)),
            (-2.0 * EXACT..2.0 * EXACT).prop_map(f64::trunc),
        ], 0..100)) {
            check(&values);
            let same: Vec<f64> = values.iter().map(|_| values[0]).collect();
            check(&same);
        }

        #[test]
        fn no_bytes_make_it_panic(mut blob in vec(any::<u8>(), 0..100), tag in 2u8..5) {
            blob.insert(0, tag);
            let _ = unpack_floats(&blob);
        }
    }
}
