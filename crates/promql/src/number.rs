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
