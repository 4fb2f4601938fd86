//! Values as files write them.

use metricsd_model::is_stale;

/// How a staleness marker is written where a value is a text.
pub(crate) const STALE: &str = "StaleNaN";

/// Reads a value; `None` is a staleness marker.
pub(crate) fn parse(text: &str) -> Result<Option<f64>, String> {
    match text.trim() {
        STALE => Ok(None),
        "NaN" | "nan" => Ok(Some(f64::NAN)),
        "+Inf" | "Inf" | "inf" | "+inf" | "Infinity" => Ok(Some(f64::INFINITY)),
        "-Inf" | "-inf" | "-Infinity" => Ok(Some(f64::NEG_INFINITY)),
        number => match number.parse::<f64>() {
            // A number that is too large is not what was measured.
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(format!("value: expected a number, NaN, +Inf or -Inf, found {shown:?}"))
            }
        },
    }
}

/// Writes a value: the fewest digits that read back as it.
pub(crate) fn push(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes());
    } else {
        out.extend_from_slice(special(value).as_bytes());
    }
}

/// The name of a value that is no number.
pub(crate) fn special(value: f64) -> &'static str {
    if is_stale(value) {
        STALE
    } else if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}
