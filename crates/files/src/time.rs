//! Timestamps as files write them.

use chrono::{DateTime, NaiveDateTime};
use metricsd_model::Millis;

/// Whole milliseconds since the epoch, RFC 3339, or a date and time as SQL writes it; without an offset it is UTC.
pub(crate) fn parse(text: &str) -> Result<Millis, String> {
    if let Ok(millis) = text.parse::<Millis>() {
        return Ok(millis);
    }
    let expected = || {
        let shown: String = text.chars().take(40).collect();
        format!("timestamp: expected RFC 3339 or whole milliseconds since the epoch, found {shown:?}")
    };
    if !text.is_ascii() || text.len() < 19 {
        return Err(expected());
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    for pattern in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, pattern) {
            return Ok(time.timestamp_millis());
        }
    }
    let plain = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
    plain.map(|time| time.and_utc().timestamp_millis()).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read() {
        let check = |text: &str, expected: Option<Millis>| assert_eq!(parse(text).ok(), expected, "{text}");
        check("1750500000000", Some(1_750_500_000_000));
        check("-5", Some(-5));
        check("2025-06-21T10:00:00Z", Some(1_750_500_000_000));
        check("2025-06-21T12:00:00.250+02:00", Some(1_750_500_000_250));
        check("2025-06-21 10:00:00", Some(1_750_500_000_000));
        check("2025-06-21 12:00:00.5+02", Some(1_750_500_000_500));
        check("2025-06-21T10:00:00", Some(1_750_500_000_000));
        check("2025-06-21", None);
        check("1.5", None);
        check("", None);
        check("ä", None);
    }
}
