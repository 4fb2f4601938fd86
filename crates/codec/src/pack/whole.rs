//! Floats that are whole multiples of one step: counts, hundredths, nanoseconds, pages.

/// Powers of ten that a value may be a whole multiple of the inverse of: whole numbers down to billionths.
const SCALES: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Whole numbers up to here, and sums of two of them that are no larger, are exact as floats.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53

/// Most bits that whole numbers may have in common as zeros at their end.
const MAX_ZEROS: u32 = 52;

/// The scale and the numbers such that each value is, bit for bit, its number divided by the scale: a power of ten, or one
/// of two that is not above 1. `None` where there is none.
pub fn whole_numbers(values: &[f64]) -> Option<(f64, Vec<i64>)> {
    let mut scales = SCALES.iter();
    let mut scale = *scales.next()?;
    for value in values {
        while times(*value, scale).is_none() {
            scale = *scales.next()?;
        }
    }
    // Those that passed with a smaller scale might be too large by this one.
    let mut numbers = values.iter().map(|value| times(*value, scale)).collect::<Option<Vec<i64>>>()?;
    if scale == 1.0 {
        let zeros = numbers.iter().fold(0, |all, number| all | number).trailing_zeros().min(MAX_ZEROS);
        numbers.iter_mut().for_each(|number| *number >>= zeros);
        scale = power_of_two(zeros);
    }
    Some((scale, numbers))
}

fn times(value: f64, scale: f64) -> Option<i64> {
    let number = (value * scale).round();
    let whole = number as i64;
    // A negative zero has no whole number.
    (number.abs() <= EXACT && (whole as f64 / scale).to_bits() == value.to_bits()).then_some(whole)
}

fn power_of_two(zeros: u32) -> f64 {
    1.0 / (1u64 << zeros) as f64
}

/// A scale as a number below 64.
pub(super) fn code(scale: f64) -> Option<u8> {
    if let Some(place) = SCALES.iter().position(|known| *known == scale) {
        return u8::try_from(place).ok();
    }
    let zeros = (1..=MAX_ZEROS).find(|zeros| power_of_two(*zeros) == scale)?;
    u8::try_from(SCALES.len() as u32 + zeros - 1).ok()
}

/// Reads [`code`] back.
pub(super) fn scale(code: u8) -> Option<f64> {
    let code = usize::from(code);
    match code.checked_sub(SCALES.len()) {
        None => SCALES.get(code).copied(),
        Some(zeros) => (zeros < MAX_ZEROS as usize).then(|| power_of_two(zeros as u32 + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_has_a_code() {
        for code in 0..64 {
            match scale(code) {
                Some(scale) => assert_eq!(super::code(scale), Some(code)),
                None => assert!(code >= 62, "{code}"),
            }
        }
        assert_eq!(code(3.0), None);
    }

    #[test]
    fn numbers_are_as_small_as_their_step_allows() {
        assert_eq!(whole_numbers(&[0.25, 1.5]), Some((100.0, vec![25, 150])));
        assert_eq!(whole_numbers(&[8192.0, -4096.0]), Some((1.0 / 4096.0, vec![2, -1])));
        assert_eq!(whole_numbers(&[3.0, 4.0]), Some((1.0, vec![3, 4])));
        assert_eq!(whole_numbers(&[0.0, 0.0]), Some((power_of_two(52), vec![0, 0])));
        assert_eq!(whole_numbers(&[EXACT, 0.5]), None, "too large by the scale of the other");
        for odd in [-0.0, f64::NAN, f64::INFINITY, 1.0 / 3.0, EXACT * 4.0, 1e-10] {
            assert_eq!(whole_numbers(&[1.0, odd]), None, "{odd}");
        }
    }
}
