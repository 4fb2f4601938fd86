//! Reads the parameters of an address: each is known, and given once unless it may repeat.

use metricsd_model::{Millis, parse_duration};

use crate::problem::{FieldError, Problem};

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

/// The first and the last millisecond that an answer can write: the years 1 to 9999.
const TIMES: std::ops::RangeInclusive<Millis> = -62_135_596_800_000..=253_402_300_799_999;

impl Params {
    /// Reads a query string.
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self { pairs, known: Vec::new(), errors: Vec::new() }
    }

    /// Notes what is wrong with a parameter.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError { field: name.to_owned(), message: message.into() });
    }

    /// Whether something was found wrong with a parameter already.
    pub(crate) fn is_wrong(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.field == name)
    }

    /// All values of a parameter that may repeat.
    pub(crate) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        let (bad, good): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|(_, value)| value).partition(|value| value.contains('\0'));
        // No store can hold one, so nothing could be found.
        if !bad.is_empty() {
            self.error(name, "holds a NUL character");
        }
        good
    }

    /// The value of a parameter that may be given once; an empty one counts as absent.
    pub(crate) fn one(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.error(name, "is given more than once");
        }
        values.pop().filter(|value| !value.is_empty())
    }

    /// The value as `parse` reads it; its error says what was expected.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.one(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(name, message);
                None
            }
        }
    }

    /// A number of entries, between 1 and `max`.
    pub(crate) fn limit(&mut self, default: usize, max: usize) -> usize {
        let parse = |text: &str| match text.parse::<usize>() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            _ => Err(format!("expected a number from 1 to {max}")),
        };
        self.parsed("limit", parse).unwrap_or(default)
    }

    /// A moment: RFC 3339, or seconds since the epoch.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Millis> {
        self.parsed(name, parse_time)
    }

    /// A step: a duration such as `30s`, or seconds; the answer is in whole milliseconds, at least one.
    pub(crate) fn step(&mut self, name: &'static str) -> Option<std::time::Duration> {
        self.parsed(name, |text| {
            let millis = match text.parse::<f64>() {
                Ok(seconds) => (seconds * 1e3).round(),
                Err(_) => parse_duration(text).map_err(|error| error.to_string())?.as_secs_f64() * 1e3,
            };
            if (1.0..=1e15).contains(&millis) {
                Ok(std::time::Duration::from_millis(millis as u64))
            } else {
                Err("expected a duration such as 30s, or seconds, of at least a millisecond".to_owned())
            }
        })
    }

    /// Refuses what was not asked for, and reports all that was wrong.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let known = self.known.join(", ");
        let unknown: Vec<FieldError> = self
            .pairs
            .iter()
            .map(|(name, _)| FieldError {
                field: name.chars().take(60).collect(),
                message: if known.is_empty() {
                    "is not known: there are no parameters here".to_owned()
                } else {
                    format!("is not known here; known are {known}")
                },
            })
            .collect();
        self.errors.extend(unknown);
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::parameters(self.errors)) }
    }
}

/// Reads a moment: RFC 3339, or seconds since the epoch with decimals.
pub(crate) fn parse_time(text: &str) -> Result<Millis, String> {
    let expected = || "expected RFC 3339 such as 2025-06-21T10:00:00Z, or seconds since the epoch".to_owned();
    let millis = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => (seconds * 1e3).round() as Millis,
        Ok(_) => return Err(expected()),
        // A plus sign that was not escaped arrives as a blank; no RFC 3339 time holds one where its offset begins.
        Err(_) => chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
            .map_err(|_| expected())?
            .timestamp_millis(),
    };
    if TIMES.contains(&millis) {
        Ok(millis)
    } else {
        Err("the time is outside the years 1 to 9999".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read() {
        let check =
            |text: &str, expected: Option<Millis>| assert_eq!(parse_time(text).ok(), expected, "{text}");
        check("1750500000", Some(1_750_500_000_000));
        check("1750500000.25", Some(1_750_500_000_250));
        check("-1", Some(-1_000));
        check("2025-06-21T10:00:00Z", Some(1_750_500_000_000));
        check("2025-06-21T12:00:00.5+02:00", Some(1_750_500_000_500));
        check("2025-06-21T12:00:00 02:00", Some(1_750_500_000_000));
        check("2025-06-21", None);
        check("inf", None);
        check("1e300", None);
        check("999999999999", None);
        check("", None);
    }
}
