//! Whole numbers in as few bits as the largest of them needs: flat, by their steps, by the steps that are not 0, or by
//! runs of steps. Of some hundred numbers, as an hour has, no general packer leaves less: its own header takes more than
//! what it finds.
//!
//! After the tag: scale and form in one byte, the number of values, then what the form says. Numbers are varints, signed
//! ones zigzag; bits begin with the lowest of each byte and end with a whole byte.

use super::series::take_varint;
use super::whole::{self, EXACT, whole_numbers};
use super::{BITS, MAX_VALUES, PackError};
use crate::remote_write::push_varint;

/// Steps of a run.
const RUN: usize = 30;

/// Widest numbers: what two steps between numbers that are exact as floats may differ by.
const MAX_WIDTH: u8 = 56;

const FLAT: u8 = 0;
const STEPS: u8 = 1;
const SELDOM: u8 = 2;
const RUNS: u8 = 3;

/// The smallest form of these values; `None` where they are not whole multiples of one step.
pub(super) fn pack(values: &[f64]) -> Option<Vec<u8>> {
    let (scale, numbers) = whole_numbers(values)?;
    let (first, rest) = numbers.split_first()?;
    let steps: Vec<i64> = numbers.iter().zip(rest).map(|(before, after)| after - before).collect();
    let code = whole::code(scale)? << 2;
    let forms = [FLAT, STEPS, SELDOM, RUNS].into_iter().map(|form| {
        let mut blob = vec![BITS, code | form];
        push_varint(&mut blob, numbers.len() as u64);
        match form {
            FLAT => put_block(&mut blob, &numbers),
            _ => put_signed(&mut blob, *first),
        }
        match form {
            STEPS => put_block(&mut blob, &steps),
            SELDOM => put_seldom(&mut blob, &steps),
            RUNS => steps.chunks(RUN).for_each(|run| put_block(&mut blob, run)),
            _ => {}
        }
        blob
    });
    forms.min_by_key(Vec::len)
}

/// Reads [`pack`] back, without the tag.
pub(super) fn unpack(mut bytes: &[u8]) -> Result<Vec<f64>, PackError> {
    let input = &mut bytes;
    let head = take_byte(input)?;
    let scale = whole::scale(head >> 2).ok_or(PackError::Damaged)?;
    let count = take_varint(input)?;
    if count > MAX_VALUES as u64 {
        return Err(PackError::TooMany);
    }
    let count = count as usize;
    let numbers = match head & 3 {
        FLAT => take_block(input, count)?,
        form => {
            let first = take_signed(input)?;
            let left = count.checked_sub(1).ok_or(PackError::Damaged)?;
            let steps = match form {
                STEPS => take_block(input, left)?,
                SELDOM => take_seldom(input, left)?,
                _ => take_runs(input, left)?,
            };
            sums(first, &steps)?
        }
    };
    match input.is_empty() {
        true => Ok(numbers.into_iter().map(|number| number as f64 / scale).collect()),
        false => Err(PackError::Damaged),
    }
}

fn sums(first: i64, steps: &[i64]) -> Result<Vec<i64>, PackError> {
    let mut numbers = Vec::with_capacity(steps.len() + 1);
    let mut number = first;
    numbers.push(number);
    for step in steps {
        number = number.checked_add(*step).ok_or(PackError::Damaged)?;
        numbers.push(number);
    }
    let exact = EXACT as u64;
    numbers.iter().all(|number| number.unsigned_abs() <= exact).then_some(numbers).ok_or(PackError::Damaged)
}

/// The least number, the width of what the others are above it, and that.
fn put_block(blob: &mut Vec<u8>, numbers: &[i64]) {
    let least = numbers.iter().copied().min().unwrap_or(0);
    let above = |number: i64| number.wrapping_sub(least).cast_unsigned();
    let width = numbers.iter().map(|number| 64 - above(*number).leading_zeros()).max().unwrap_or(0);
    put_signed(blob, least);
    blob.push(width as u8);
    put_bits(blob, width, numbers.iter().map(|number| above(*number)));
}

fn take_block(input: &mut &[u8], count: usize) -> Result<Vec<i64>, PackError> {
    let least = take_signed(input)?;
    let width = take_byte(input)?;
    if width > MAX_WIDTH {
        return Err(PackError::Damaged);
    }
    let above = take_bits(input, u32::from(width), count)?;
    let sum = |above: u64| least.checked_add(above.cast_signed());
    above.into_iter().map(sum).collect::<Option<_>>().ok_or(PackError::Damaged)
}

/// A bit for each step, and those that are not 0.
fn put_seldom(blob: &mut Vec<u8>, steps: &[i64]) {
    put_bits(blob, 1, steps.iter().map(|step| u64::from(*step != 0)));
    let some: Vec<i64> = steps.iter().copied().filter(|step| *step != 0).collect();
    put_block(blob, &some);
}

fn take_seldom(input: &mut &[u8], count: usize) -> Result<Vec<i64>, PackError> {
    let is_some = take_bits(input, 1, count)?;
    let some = take_block(input, is_some.iter().filter(|bit| **bit == 1).count())?;
    let mut some = some.into_iter();
    Ok(is_some.into_iter().map(|bit| if bit == 1 { some.next().unwrap_or(0) } else { 0 }).collect())
}

fn take_runs(input: &mut &[u8], count: usize) -> Result<Vec<i64>, PackError> {
    let mut steps = Vec::new();
    while steps.len() < count {
        steps.extend(take_block(input, RUN.min(count - steps.len()))?);
    }
    Ok(steps)
}

fn put_bits(blob: &mut Vec<u8>, width: u32, numbers: impl Iterator<Item = u64>) {
    let (mut waiting, mut bits) = (0u128, 0);
    for number in numbers {
        waiting |= u128::from(number) << bits;
        bits += width;
        while bits >= 8 {
            blob.push(waiting as u8);
            waiting >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        blob.push(waiting as u8);
    }
}

fn take_bits(input: &mut &[u8], width: u32, count: usize) -> Result<Vec<u64>, PackError> {
    let length = (count * width as usize).div_ceil(8);
    let (bytes, rest) = input.split_at_checked(length).ok_or(PackError::Damaged)?;
    *input = rest;
    let mut bytes = bytes.iter();
    let (mut waiting, mut bits) = (0u128, 0);
    let mask = (1u128 << width) - 1;
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        while bits < width {
            waiting |= u128::from(*bytes.next().ok_or(PackError::Damaged)?) << bits;
            bits += 8;
        }
        numbers.push((waiting & mask) as u64);
        waiting >>= width;
        bits -= width;
    }
    Ok(numbers)
}

fn put_signed(blob: &mut Vec<u8>, number: i64) {
    push_varint(blob, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn take_signed(input: &mut &[u8]) -> Result<i64, PackError> {
    let coded = take_varint(input)?;
    Ok((coded >> 1).cast_signed() ^ -((coded & 1).cast_signed()))
}

fn take_byte(input: &mut &[u8]) -> Result<u8, PackError> {
    let (byte, rest) = input.split_first().ok_or(PackError::Damaged)?;
    *input = rest;
    Ok(*byte)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(values: &[f64]) -> Vec<u8> {
        let blob = pack(values).expect("whole numbers");
        assert_eq!(blob[0], BITS);
        let read = unpack(&blob[1..]).expect("read back");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(values));
        blob
    }

    /// If one of these fails, stored segments read otherwise. Do not change the bytes.
    #[test]
    fn bytes_are_pinned() {
        let gauge: Vec<f64> = (0..9).map(|n| f64::from(n * 7 % 4)).collect();
        assert_eq!(check(&gauge), [4, 0, 9, 0, 2, 0b0110_1100, 0b0110_1100, 0]);
        let counter: Vec<f64> = (0..9).map(|n| f64::from(1000 * n + n % 2) / 100.0).collect();
        assert_eq!(check(&counter), [4, 9, 9, 0, 206, 15, 2, 0b0010_0010, 0b0010_0010]);
        let mut seldom = vec![5.0; 40];
        seldom[33..].fill(9_000_005.0);
        assert_eq!(check(&seldom), [4, 2, 40, 10, 0, 0, 0, 0, 1, 128, 209, 202, 8, 0]);
        let idle: Vec<f64> =
            (0..70u32).map(|n| if n < 33 { 4096.0 } else { f64::from(n * n) * 4096.0 }).collect();
        assert_eq!(check(&idle)[..3], [4, (21 << 2) | 3, 70]);
    }

    #[test]
    fn damage_is_told() {
        let whole = check(&(0..240).map(|n| f64::from(n * n % 91)).collect::<Vec<_>>());
        for end in 1..whole.len() {
            assert_eq!(unpack(&whole[1..end]), Err(PackError::Damaged), "{end}");
        }
        assert_eq!(unpack(&[whole[1..].to_vec(), vec![0]].concat()), Err(PackError::Damaged), "too long");
        assert_eq!(unpack(&[255, 1, 0, 0]), Err(PackError::Damaged), "no such scale");
        assert_eq!(unpack(&[0, 1, 0, 57, 0, 0, 0, 0, 0, 0, 0]), Err(PackError::Damaged), "too wide");
        assert_eq!(unpack(&[0, 255, 255, 255, 255, 15, 0, 0]), Err(PackError::TooMany));
        assert_eq!(unpack(&[1, 0, 0, 0, 0]), Err(PackError::Damaged), "steps of nothing");
    }

    proptest! {
        #[test]
        fn whole_multiples_survive(
            start in -(1i64 << 53)..(1i64 << 53),
            steps in vec(prop_oneof![5 => Just(0i64), 5 => -9i64..9, 3 => 0i64..5_000_000, 1 => any::<i64>()], 0..200),
            scale in prop_oneof![Just(1.0), Just(100.0), Just(1e9), Just(1.0 / 4096.0)],
        ) {
            let mut at = start;
            let mut values = vec![start as f64 / scale];
            for step in steps {
                at = at.saturating_add(step).clamp(-(1 << 53), 1 << 53);
                values.push(at as f64 / scale);
            }
            if whole_numbers(&values).is_some() {
                check(&values);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(blob in vec(any::<u8>(), 0..100), head in 0u8..=255, count in 0u8..100) {
            let _ = unpack(&blob);
            let _ = unpack(&[vec![head, count], blob].concat());
        }
    }
}
