//! Numbers as text, in the three ways that Prometheus writes them.

/// As Go's `%v` and `%g` write a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6
/// on; used in messages and in formatted queries.
pub fn format(value: f64) -> String {
    with_exponent(value, -4, 6)
}

/// As label values and sample values are written: the shortest digits that read back, never with an exponent.
pub fn plain(value: f64) -> String {
    special(value).unwrap_or_else(|| format!("{value}"))
}

/// As the HTTP API writes sample values: like [`plain`], with an exponent below 1e-6 and from 1e21 on.
pub fn json(value: f64) -> String {
    with_exponent(value, -6, 21)
}

/// With two significant digits, as Go's `%.2g` writes a float.
pub fn two_digits(value: f64) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let rounded = format!("{value:.1e}");
    let Some((digits, exponent)) = rounded.split_once('e') else { return rounded };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        return rounded.parse().map_or(rounded, |value: f64| format!("{value}"));
    }
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".to_owned())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
    } else {
        None
    }
}

fn with_exponent(value: f64, lowest: i32, highest: i32) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (lowest..highest).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_begin_where_each_way_has_them() {
        let check = |value: f64, format_: &str, plain_: &str, json_: &str| {
            assert_eq!((&*format(value), &*plain(value), &*json(value)), (format_, plain_, json_));
        };
        check(0.0, "0", "0", "0");
        check(-0.0, "-0", "-0", "-0");
        check(100_000.0, "100000", "100000", "100000");
        check(1e6, "1e+06", "1000000", "1000000");
        check(1.5e-5, "1.5e-05", "0.000015", "0.000015");
        check(1.5e-7, "1.5e-07", "0.00000015", "1.5e-07");
        check(1e21, "1e+21", "1000000000000000000000", "1e+21");
        check(f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf");
        check(f64::NAN, "NaN", "NaN", "NaN");
    }

    #[test]
    fn two_digits_are_rounded() {
        let cases = [
            (25.0, "25"),
            (0.017, "0.017"),
            (0.01666, "0.017"),
            (126.0, "1.3e+02"),
            (3.0, "3"),
            (1e-7, "1e-07"),
        ];
        for (value, text) in cases {
            assert_eq!(two_digits(value), text);
        }
    }
}
