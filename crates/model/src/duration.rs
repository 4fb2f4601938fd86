//! Prometheus' durations: `15s`, `1m30s`, `250ms`, `1d`.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Units from the largest to the smallest, in milliseconds; each at most once and in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration that is accepted: a thousand years keeps every later sum far from overflow.
const MAX_MILLIS: u64 = 1_000 * 365 * 24 * 3_600_000;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration; write it like 15s, 1m30s or 250ms")]
pub struct DurationError {
    text: String,
}

/// Reads a Prometheus duration. `0` alone needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    parse_millis(text)
        .map(Duration::from_millis)
        .ok_or_else(|| DurationError { text: text.chars().take(40).collect() })
}

fn parse_millis(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(end);
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(count.checked_mul(*millis)?)?;
        rest = tail;
    }
    (!text.is_empty() && total <= MAX_MILLIS).then_some(total)
}

/// Writes a duration the way Prometheus does, to the millisecond: weeks and years only where they fit exactly.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, size) in UNITS {
        let exact_only = matches!(unit, "y" | "w");
        if exact_only && !millis.is_multiple_of(size) {
            continue;
        }
        if millis >= size {
            let _ = write!(out, "{}{unit}", millis / size);
            millis %= size;
        }
    }
    out
}

/// A duration that reads and writes itself as Prometheus does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromDuration(pub Duration);

impl PromDuration {
    /// The duration in whole milliseconds.
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

impl fmt::Debug for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PromDuration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        let check = |text: &str, millis: u64, back: &str| {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(duration), back, "{text}");
        };
        check("0", 0, "0s");
        check("15s", 15_000, "15s");
        check("1m30s", 90_000, "1m30s");
        check("250ms", 250, "250ms");
        check("90s", 90_000, "1m30s");
        check("1w", 604_800_000, "1w");
        check("8d", 691_200_000, "8d");
        check("1h500ms", 3_600_500, "1h500ms");
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "15", "s", "1s1m", "1m1m", "-1s", "1.5s", "1 s", "99999999999999999999s", "5000y", "1x"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
