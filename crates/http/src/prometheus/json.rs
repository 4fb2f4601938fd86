//! Writes JSON straight into a buffer: an answer may hold millions of samples.

use metricsd_model::{LabelSet, Millis};

/// What answers are.
pub(crate) const CONTENT_TYPE: &str = "application/json";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A text in quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(other >> 4)]);
                out.push(HEX[usize::from(other & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// A list of texts.
pub(crate) fn strings(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
}

/// Labels as an object.
pub(crate) fn labels(out: &mut Vec<u8>, labels: &LabelSet) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// A moment as a number of seconds: whole, or with three decimals.
pub(crate) fn timestamp(out: &mut Vec<u8>, at: Millis) {
    if at < 0 {
        out.push(b'-');
    }
    let at = at.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(at / 1_000).as_bytes());
    let rest = at % 1_000;
    if rest != 0 {
        let digit = |value: u64| b'0' + (value % 10) as u8;
        out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

/// Whole numbers below this have as many digits as they have places, so that they can be written as integers.
const MAX_WHOLE: f64 = 1e15;

/// A value without quotes, as [`metricsd_promql::number::json`] writes it.
pub(crate) fn bare_value(out: &mut Vec<u8>, value: f64) {
    if value.abs() < MAX_WHOLE && value.trunc() == value && (value != 0.0 || value.is_sign_positive()) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(value as i64).as_bytes());
        return;
    }
    if value.is_finite() {
        let mut digits = zmij::Buffer::new();
        let text = digits.format_finite(value);
        // What would have an exponent there need not have one here.
        if !text.contains('e') {
            out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
            return;
        }
    }
    out.extend_from_slice(metricsd_promql::number::json(value).as_bytes());
}

/// A value in quotes.
pub(crate) fn value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    bare_value(out, value);
    out.push(b'"');
}

/// `[seconds,"value"]`
pub(crate) fn point(out: &mut Vec<u8>, at: Millis, number: f64) {
    out.push(b'[');
    timestamp(out, at);
    out.push(b',');
    value(out, number);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_prometheus_does() {
        let check = |number: f64, expected: &str| {
            assert_eq!(written(|out| bare_value(out, number)), expected);
            assert_eq!(metricsd_promql::number::json(number), expected);
        };
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-7.0, "-7");
        check(0.1, "0.1");
        check(1e-6, "0.000001");
        check(1.5e-7, "1.5e-07");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(123_456_789.125, "123456789.125");
        check(9_007_199_254_740_993.0, "9007199254740992");
        check(f64::MAX, "1.7976931348623157e+308");
        check(5e-324, "5e-324");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    /// The fast way and the plain one agree on every magnitude; where two shortest texts are equally near, either may
    /// be written.
    #[test]
    fn values_agree_with_the_plain_writer() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..50_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for value in [f64::from_bits(seed), (seed >> 40) as f64 / 1024.0, (seed >> 11) as f64 * 1e-9] {
                let plain = metricsd_promql::number::json(value);
                let fast = written(|out| bare_value(out, value));
                let same_value = || fast.len() == plain.len() && fast.parse() == plain.parse::<f64>();
                assert!(fast == plain || same_value(), "{fast} {plain}");
            }
        }
    }

    #[test]
    fn moments_are_written_as_prometheus_does() {
        let check = |at: Millis, expected: &str| assert_eq!(written(|out| timestamp(out, at)), expected);
        check(1_435_781_430_781, "1435781430.781");
        check(1_435_781_430_000, "1435781430");
        check(1_435_781_430_050, "1435781430.050");
        check(7, "0.007");
        check(0, "0");
        check(-1_500, "-1.500");
        check(Millis::MIN, "-9223372036854775.808");
    }

    #[test]
    fn texts_read_back() {
        for text in ["", "plain", "a\"b\\c", "\n\r\t\u{0}\u{1f}\u{7f}", "ä€😀\u{2028}"] {
            let written = written(|out| string(out, text));
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text, "{written}");
        }
    }
}
