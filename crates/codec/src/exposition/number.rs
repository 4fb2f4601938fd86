//! Values and timestamps.

use metricsd_model::Millis;

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are floats exactly.
const MAX_EXACT: u64 = 1 << 53;

/// Reads a value: decimal floats, `Inf` and `Infinity` with or without sign, `NaN` without, in any case.
/// `None` for anything else: hexadecimal, underscores, and what is too large for a float.
#[inline]
pub(super) fn float(token: &str) -> Option<f64> {
    short_decimal(token.as_bytes()).or_else(|| any_float(token))
}

/// The common case, digits with perhaps a point, at a fraction of the general price. Both operands of the division
/// are exact, so the result is rounded once and correct.
#[inline]
fn short_decimal(token: &[u8]) -> Option<f64> {
    let (negative, digits) = match token.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, token),
    };
    if digits.len() > 19 {
        return None;
    }
    let mut number = 0u64;
    let mut point = None;
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(index),
            _ => return None,
        }
    }
    if number > MAX_EXACT || digits.len() == usize::from(point.is_some()) {
        return None;
    }
    let decimals = point.map_or(0, |point| digits.len() - point - 1);
    let value = if decimals == 0 { number as f64 } else { number as f64 / POWERS[decimals] };
    Some(if negative { -value } else { value })
}

/// The same where the digits end with the line, in one pass over them: the value, and the bytes up to the next line.
#[inline]
pub(super) fn short_decimal_line(rest: &[u8]) -> Option<(f64, usize)> {
    let negative = rest.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut number = 0u64;
    let mut point = None;
    // Twenty bytes are nineteen digits and a point: they do not overflow.
    for (index, byte) in rest.get(start..)?.iter().take(21).enumerate() {
        match byte {
            b'0'..=b'9' if index < 20 => {
                number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'))
            }
            b'.' if point.is_none() => point = Some(index),
            b'\n' => {
                let digits = index - usize::from(point.is_some());
                if number > MAX_EXACT || digits == 0 || digits > 19 {
                    return None;
                }
                let decimals = point.map_or(0, |point| index - point - 1);
                let value =
                    if decimals == 0 { number as f64 } else { number as f64 / POWERS.get(decimals)? };
                return Some((if negative { -value } else { value }, start + index + 1));
            }
            _ => return None,
        }
    }
    None
}

#[cold]
fn any_float(token: &str) -> Option<f64> {
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    let first = *unsigned.as_bytes().first()?;
    let value: f64 = token.parse().ok()?;
    let sign_before_nan = value.is_nan() && unsigned.len() != token.len();
    let too_large = value.is_infinite() && !first.eq_ignore_ascii_case(&b'i');
    (!sign_before_nan && !too_large).then_some(value)
}

/// Writes a number as OpenMetrics writes it, and Prometheus in `le` and `quantile` whatever the format: the fewest digits
/// that read back as it, with a point or an exponent in any case (`1.0`, `0.25`, `1e+06`, `+Inf`).
pub fn open_metrics_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// The value of a label `le` or `quantile` as [`open_metrics_float`] writes its number; as it is where it is none.
pub fn normal_bound(text: &str) -> std::borrow::Cow<'_, str> {
    match float(text).map(open_metrics_float) {
        Some(normal) if normal != text => normal.into(),
        _ => text.into(),
    }
}

/// Reads Prometheus text's timestamp: whole milliseconds.
pub(super) fn millis(token: &str) -> Option<Millis> {
    token.parse().ok()
}

/// Reads OpenMetrics' timestamp: decimal seconds, moved to milliseconds digit by digit so that nothing is rounded;
/// what is finer than a millisecond is cut off.
pub(super) fn seconds_as_millis(token: &str) -> Option<Millis> {
    let (negative, unsigned) = match token.as_bytes().first()? {
        b'-' => (true, &token[1..]),
        b'+' => (false, &token[1..]),
        _ => (false, token),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let wanted = i64::try_from(whole.len()).ok()? + exponent + 3;
    let digits = whole.bytes().chain(fraction.bytes()).map(|byte| i64::from(byte - b'0'));
    let mut millis = 0i64;
    let mut seen = 0i64;
    for digit in digits.take(usize::try_from(wanted).unwrap_or(0)) {
        millis = millis.checked_mul(10)?.checked_add(digit)?;
        seen += 1;
    }
    while seen < wanted && millis != 0 {
        millis = millis.checked_mul(10)?;
        seen += 1;
    }
    Some(if negative { -millis } else { millis })
}

/// An exponent; those that no timestamp can have are as good as the nearest that cannot overflow a sum.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = 1i64 << 40;
    let size = digits.parse::<i64>().unwrap_or(limit).min(limit);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_read_as_the_formats_say() {
        let check = |token: &str, expected: f64| {
            let value = float(token).unwrap_or_else(|| panic!("{token:?} was refused"));
            assert_eq!(value.to_bits(), expected.to_bits(), "{token:?}");
        };
        check("0", 0.0);
        check("-0", -0.0);
        check("+7", 7.0);
        check("0042", 42.0);
        check("12.47", 12.47);
        check("1.", 1.0);
        check(".5", 0.5);
        check("-.5", -0.5);
        check("9007199254740993", 9_007_199_254_740_992.0);
        check("18446744073709551616", 18_446_744_073_709_551_616.0);
        check("1e3", 1000.0);
        check("1.458255915E+9", 1_458_255_915.0);
        check("1e-400", 0.0);
        check("4.9e-324", f64::from_bits(1));
        for token in ["Inf", "+Inf", "inf", "+INF", "Infinity", "+infinity"] {
            check(token, f64::INFINITY);
        }
        for token in ["-Inf", "-inf", "-Infinity"] {
            check(token, f64::NEG_INFINITY);
        }
        for token in ["NaN", "nan", "NAN"] {
            assert!(float(token).unwrap().is_nan() && !metricsd_model::is_stale(float(token).unwrap()));
        }
    }

    #[test]
    fn what_is_not_a_float_is_refused() {
        for token in [
            "", "+", "-", ".", "-.", "1..2", "1.2.3", "1e", "e1", "1e+", "0x1p3", "0x10", "1_000", "+NaN",
            "-nan", "in", "infinit", "1e999", "-1e999", "1,5", "١", "1 ", "--1", "+-1",
        ] {
            assert_eq!(float(token), None, "{token:?}");
        }
    }

    #[test]
    fn bounds_are_written_in_one_way() {
        let check = |text: &str, expected: &str| assert_eq!(normal_bound(text), expected, "{text}");
        check("1", "1.0");
        check("1.0", "1.0");
        check("1.50", "1.5");
        check("-1", "-1.0");
        check("-0", "0.0");
        check("0.0001", "0.0001");
        check("0.00001", "1e-05");
        check("100000", "100000.0");
        check("1e3", "1000.0");
        check("1000000", "1e+06");
        check("123456789", "1.23456789e+08");
        check("100000000000000000000000", "1e+23");
        check("Inf", "+Inf");
        check("+Inf", "+Inf");
        check("-Inf", "-Inf");
        check("NaN", "NaN");
        check("5e-324", "5e-324");
        for other in ["", "abc", "0x10", "1,5", "1e999"] {
            check(other, other);
        }
    }

    #[test]
    fn timestamps_move_to_milliseconds_exactly() {
        let check =
            |token: &str, expected: Option<i64>| assert_eq!(seconds_as_millis(token), expected, "{token:?}");
        check("0", Some(0));
        check("1520879607.789", Some(1_520_879_607_789));
        check("1.001", Some(1_001));
        check("4.35", Some(4_350));
        check("1604676851.123456789", Some(1_604_676_851_123));
        check("1.9999", Some(1_999));
        check("-1.5", Some(-1_500));
        check("+2", Some(2_000));
        check(".5", Some(500));
        check("7.", Some(7_000));
        check("1.5e9", Some(1_500_000_000_000));
        check("1520879607789e-3", Some(1_520_879_607_789));
        check("1e-9", Some(0));
        check("0e99999999999999999999", Some(0));
        check("1e-99999999999999999999", Some(0));
        check("9223372036854775.807", Some(i64::MAX));
        check("9223372036854775.808", None);
        check("1e99999999999999999999", None);
        for token in ["", "+", "-", ".", "NaN", "Inf", "1e", "1e+", "e3", "1_0", "0x1", "1.5.5", "--1"] {
            check(token, None);
        }
    }

    proptest! {
        #[test]
        fn every_float_reads_as_it_is_printed(bits: u64, decimals in 0usize..8) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float(&value.to_string()).unwrap().to_bits(), bits);
            prop_assert_eq!(float(&format!("{value:e}")).unwrap().to_bits(), bits);
            let short = format!("{:.decimals$}", (bits % 1_000_000_000) as f64 / 1e4);
            prop_assert_eq!(float(&short).unwrap().to_bits(), short.parse::<f64>().unwrap().to_bits());
        }

        #[test]
        fn every_number_survives_as_a_bound(bits: u64) {
            let value = f64::from_bits(bits);
            let text = open_metrics_float(value);
            let back = float(&text).unwrap();
            prop_assert!(back == value || back.is_nan() && value.is_nan(), "{}", text);
            prop_assert_eq!(normal_bound(&text), text.as_str());
        }

        #[test]
        fn every_millisecond_survives_as_seconds(millis: i64) {
            let sign = if millis < 0 { "-" } else { "" };
            let size = millis.unsigned_abs();
            prop_assume!(size <= i64::MAX as u64);
            let text = format!("{sign}{}.{:03}", size / 1000, size % 1000);
            prop_assert_eq!(seconds_as_millis(&text), Some(millis));
        }
    }
}
