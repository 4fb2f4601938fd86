//! Scalars: what their texts mean.

use metricsd_model::{PromDuration, parse_duration};

/// Characters of a wrong value that a message shows.
const SHOWN: usize = 60;

/// A text cut to what a message can show.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

/// `true` or `false`, in the spellings of YAML 1.1, which Prometheus reads.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err(format!("{} is neither true nor false", shown(text))),
    }
}

/// A whole number.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| format!("{} is not a whole number of 0 or more", shown(text)))
}

/// A number.
pub(super) fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(format!("{} is not a number of 0 or more", shown(text))),
    }
}

/// A duration.
pub(super) fn duration(text: &str) -> Result<PromDuration, String> {
    parse_duration(text).map(PromDuration).map_err(|error| error.to_string())
}

/// Port of TCP.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{} is not a port; ports are 1 to 65535", shown(text))),
    }
}

/// Units of sizes; all are powers of 1024 as Prometheus reads them, with or without an `i`.
const UNITS: [(&str, u32); 13] = [
    ("B", 0),
    ("KB", 1),
    ("KiB", 1),
    ("MB", 2),
    ("MiB", 2),
    ("GB", 3),
    ("GiB", 3),
    ("TB", 4),
    ("TiB", 4),
    ("PB", 5),
    ("PiB", 5),
    ("EB", 6),
    ("EiB", 6),
];

/// Bytes: `10MB`, `1.5GiB`, `1GB512MB`, and 0 without a unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is not a size; write it like 512KB, 10MB or 1GB (0 is no limit)", shown(text));
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total) = (text, 0.0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (_, power) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total += number * 1024_f64.powi(i32::try_from(*power).unwrap_or(0));
        rest = tail;
    }
    // Beyond 2^63 Prometheus' number overflows; nothing so large can be scraped.
    if text.is_empty() || total >= 9_223_372_036_854_775_808.0 { Err(wrong()) } else { Ok(total as u64) }
}

/// The name among `names` that is most like `wrong`, where one is alike enough to be what was meant.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names of fields are short; a long text is no typing mistake, and comparing it costs its length.
    if wrong.len() > 64 {
        return None;
    }
    let near = (wrong.chars().count() / 3).max(2);
    let is_part = |name: &str| {
        let begins = |long: &str, short: &str| short.len() >= 4 && long.starts_with(short);
        begins(name, wrong) || begins(wrong, name)
    };
    let far = names.map(|name| (strsim::damerau_levenshtein(wrong, name), name));
    let mut alike: Vec<_> = far.filter(|(far, name)| *far <= near || is_part(name)).collect();
    alike.sort_unstable();
    alike.first().map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text}");
        check("0", Some(0));
        check("512B", Some(512));
        check("1KB", Some(1 << 10));
        check("10MB", Some(10 << 20));
        check("10MiB", Some(10 << 20));
        check("1.5GB", Some(3 << 29));
        check("1GB512MB", Some(3 << 29));
        check("1EB", Some(1 << 60));
        for wrong in ["", "10", "MB", "10mb", "-1MB", "1..5MB", "1 MB", "100EB", "10M"] {
            check(wrong, None);
        }
    }

    #[test]
    fn flags_and_numbers() {
        assert_eq!((flag("true"), flag("Off")), (Ok(true), Ok(false)));
        assert!(flag("1").is_err() && flag("").is_err());
        assert_eq!(count("1_000"), Ok(1_000));
        assert!(count("-1").is_err() && count("1.5").is_err());
        assert_eq!(number("1.1"), Ok(1.1));
        assert!(number("NaN").is_err() && number("-1").is_err());
        assert!(port("0").is_err() && port("65536").is_err() && port("80") == Ok(80));
    }

    #[test]
    fn the_nearest_name() {
        let names = ["scrape_interval", "scrape_timeout", "job_name"];
        let check =
            |wrong: &str, expected| assert_eq!(nearest(wrong, names.into_iter()), expected, "{wrong}");
        check("scrape_intervall", Some("scrape_interval"));
        check("jobname", Some("job_name"));
        check("scrape_time", Some("scrape_timeout"));
        check("x", None);
        check(&"x".repeat(100_000), None);
    }
}
