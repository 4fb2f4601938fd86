//! Times on the command line: `now`, `1h` (that long ago), RFC 3339, or seconds since the epoch.

use chrono::DateTime;
use metricsd_model::{Millis, parse_duration};

/// Reads a time.
pub(super) fn parse(text: &str, now: Millis) -> Result<Millis, String> {
    if text == "now" {
        return Ok(now);
    }
    if let Ok(ago) = parse_duration(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(now - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.abs() < 1e12 => Ok((seconds * 1e3).round() as Millis),
        _ => Err(format!(
            "{text:?} is no time; write now, 1h (that long ago), 2026-01-31T12:00:00Z or seconds since the epoch"
        )),
    }
}

/// Writes a time the way the server reads it: seconds, to the millisecond.
pub(super) fn seconds(time: Millis) -> String {
    let sign = if time < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", time.unsigned_abs() / 1_000, time.unsigned_abs() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let now = 1_750_500_000_000;
        let check =
            |text: &str, expected: Option<Millis>| assert_eq!(parse(text, now).ok(), expected, "{text}");
        check("now", Some(now));
        check("1h", Some(now - 3_600_000));
        check("-1m30s", Some(now - 90_000));
        check("2025-06-21T10:00:00Z", Some(now));
        check("2025-06-21T12:00:00.250+02:00", Some(now + 250));
        check("1750500000.25", Some(now + 250));
        check("yesterday", None);
        check("NaN", None);
        assert_eq!(seconds(now + 50), "1750500000.050");
        assert_eq!(seconds(-1_500), "-1.500");
    }
}
