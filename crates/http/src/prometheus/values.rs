//! Reads the values of parameters, with the messages that clients of Prometheus know.

use std::time::Duration;

use metricsd_model::{Matcher, Millis, parse_duration};

use super::error::ApiError;
use super::form::Form;
use crate::partial;

/// The first and the last millisecond that a store and an RFC 3339 time can hold: the years 1 to 9999.
pub(crate) const FIRST: Millis = -62_135_596_800_000;
/// See [`FIRST`].
pub(crate) const LAST: Millis = 253_402_300_799_999;

/// What Prometheus' clients send for "since ever" and "for ever". No parser of times reads them, as the years have
/// more than four digits.
const EVER: [(&str, Millis); 2] =
    [("-292273086-05-16T16:47:06Z", FIRST), ("292277025-08-18T07:12:54.999999999Z", LAST)];

/// A number of entries; `None` where none or 0 was asked for, which both mean no limit.
pub(crate) fn limit(form: &Form) -> Result<Option<usize>, ApiError> {
    match number(form.first("limit")).map_err(|error| ApiError::invalid("limit", error))? {
        Some(limit) if limit < 0 => Err(ApiError::invalid("limit", "limit must be non-negative")),
        limit => Ok(limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0)),
    }
}

/// A whole number; `None` for an empty text. The error is worded as Go does.
pub(crate) fn number(text: &str) -> Result<Option<i64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<i64>().map(Some).map_err(|error| {
        let what = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {what}")
    })
}

/// A moment that must be given.
pub(crate) fn time(form: &Form, name: &str) -> Result<Millis, ApiError> {
    parse_time(form.first(name)).map_err(|error| ApiError::invalid(name, error))
}

/// A moment that may be left out.
pub(crate) fn time_or(form: &Form, name: &str, default: Millis) -> Result<Millis, ApiError> {
    let text = form.first(name);
    if text.is_empty() {
        return Ok(default);
    }
    parse_time(text)
        .map_err(|error| ApiError::invalid(name, format!("invalid time value for '{name}': {error}")))
}

/// Seconds since the epoch, or RFC 3339; to the millisecond.
fn parse_time(text: &str) -> Result<Millis, String> {
    let refused = || format!("cannot parse {text:?} to a valid timestamp");
    if let Some((_, time)) = EVER.iter().find(|(known, _)| *known == text) {
        return Ok(*time);
    }
    let millis = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => {
            // Whole seconds apart from the fraction, so that large times keep their milliseconds.
            let whole = seconds.trunc();
            if whole.abs() > 1e15 {
                return Err(out_of_range(text));
            }
            whole as Millis * 1_000 + ((seconds - whole) * 1e3).round() as Millis
        }
        Ok(_) => return Err(refused()),
        Err(_) => chrono::DateTime::parse_from_rfc3339(text).map_err(|_| refused())?.timestamp_millis(),
    };
    if (FIRST..=LAST).contains(&millis) { Ok(millis) } else { Err(out_of_range(text)) }
}

fn out_of_range(text: &str) -> String {
    format!("cannot parse {text:?} to a valid timestamp. It is outside of the years 1 to 9999")
}

/// A duration in nanoseconds, which may be negative: seconds, or such as `5m`.
pub(crate) fn parse_nanos(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * 1e9;
        // What is no number is no positive one, and is refused as such.
        if nanos.abs() >= i64::MAX as f64 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok(if nanos.is_nan() { i64::MIN } else { nanos as i64 });
    }
    parse_duration(text)
        .ok()
        .and_then(|duration| i64::try_from(duration.as_nanos()).ok())
        .ok_or_else(|| format!("cannot parse {text:?} to a valid duration"))
}

/// A duration that may be left out; one of zero or less counts as zero.
pub(crate) fn duration(form: &Form, name: &str) -> Result<Option<Duration>, String> {
    let text = form.first(name);
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = parse_nanos(text)?;
    Ok(Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
}

/// Most selectors of one request: each is a look-up of its own.
pub(crate) const MAX_SELECTORS: usize = 100;

/// What a selector must have, in the words of the language's reader.
const NON_EMPTY: &str = "at least one non-empty matcher";

/// The selectors of a parameter that may repeat.
pub(crate) fn selectors(form: &Form, name: &'static str) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let mut sets = Vec::new();
    for text in form.all(name) {
        if sets.len() == MAX_SELECTORS {
            return Err(ApiError::invalid(name, format!("more than {MAX_SELECTORS} selectors")));
        }
        let matches_all = || ApiError::invalid(name, format!("{name} must contain {NON_EMPTY}"));
        let matchers = match metricsd_promql::parse_selector(text) {
            Ok(matchers) if matchers.iter().all(Matcher::matches_empty) => return Err(matches_all()),
            Ok(matchers) => matchers,
            // Of a selector that stands alone this is said without its place.
            Err(error) if error.message.ends_with(NON_EMPTY) => return Err(matches_all()),
            Err(error) => return Err(ApiError::invalid(name, error)),
        };
        sets.push(matchers);
    }
    Ok(sets)
}

/// Whether the answer may leave out shards that do not answer.
pub(super) fn partial(form: &Form) -> Result<bool, ApiError> {
    let mut allowed = false;
    for name in partial::NAMES {
        allowed |= partial::parse(form.first(name)).map_err(|error| ApiError::invalid(name, error))?;
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read() {
        let check =
            |text: &str, expected: Option<Millis>| assert_eq!(parse_time(text).ok(), expected, "{text}");
        check("1435781430.781", Some(1_435_781_430_781));
        check("1435781430", Some(1_435_781_430_000));
        check("-1.5", Some(-1_500));
        check("1.4357814307815e9", Some(1_435_781_430_782));
        check("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781));
        check("2015-07-01T22:10:30.781+02:00", Some(1_435_781_430_781));
        check("-292273086-05-16T16:47:06Z", Some(FIRST));
        check("292277025-08-18T07:12:54.999999999Z", Some(LAST));
        check("0001-01-01T00:00:00Z", Some(FIRST));
        check("3000-01-01T00:00:00Z", Some(32_503_680_000_000));
        for wrong in ["", "x", "NaN", "+Inf", "1e300", "-1e13", "2015-07-01", "10000-01-01T00:00:00Z"] {
            check(wrong, None);
        }
        let error = parse_time("x").unwrap_err();
        assert_eq!(error, "cannot parse \"x\" to a valid timestamp");
    }

    #[test]
    fn durations_read() {
        let check = |text: &str, expected: Result<i64, &str>| {
            assert_eq!(parse_nanos(text), expected.map_err(str::to_owned), "{text}");
        };
        check("15", Ok(15_000_000_000));
        check("0.5", Ok(500_000_000));
        check("-1", Ok(-1_000_000_000));
        check("5m", Ok(300_000_000_000));
        check("1h30m", Ok(5_400_000_000_000));
        check("0", Ok(0));
        check("", Err("cannot parse \"\" to a valid duration"));
        check("x", Err("cannot parse \"x\" to a valid duration"));
        check("5 m", Err("cannot parse \"5 m\" to a valid duration"));
        check("900y", Err("cannot parse \"900y\" to a valid duration"));
        check("1e10", Err("cannot parse \"1e10\" to a valid duration. It overflows int64"));
        check("NaN", Ok(i64::MIN));
        check("Inf", Err("cannot parse \"Inf\" to a valid duration. It overflows int64"));
    }

    #[test]
    fn numbers_read() {
        assert_eq!(number("7"), Ok(Some(7)));
        assert_eq!(number(""), Ok(None));
        assert_eq!(number("x").unwrap_err(), "strconv.Atoi: parsing \"x\": invalid syntax");
        let large = "99999999999999999999";
        assert_eq!(
            number(large).unwrap_err(),
            format!("strconv.Atoi: parsing \"{large}\": value out of range")
        );
    }
}
