//! Names of metrics and labels.

use std::borrow::Cow;

use super::Translation;

/// What a metric's name is told of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    /// A monotonic sum: `_total`.
    Total,
    /// A gauge: `_ratio` where its unit is 1.
    Ratio,
    /// Nothing.
    None,
}

/// The name under which a metric is stored; empty where nothing is left of it.
pub(super) fn metric_name(translation: Translation, name: &str, unit: &str, suffix: Suffix) -> String {
    match (translation.escapes(), translation.adds_suffixes()) {
        (true, true) => escaped_with_suffixes(name, unit, suffix),
        (true, false) => escaped(name),
        (false, true) => with_suffixes(name, unit, suffix),
        (false, false) => name.to_owned(),
    }
}

/// What may stand in a name of old; a letter or digit of any other script may not.
fn is_legacy(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, ':' | '_')
}

fn escaped_with_suffixes(name: &str, unit: &str, suffix: Suffix) -> String {
    let mut tokens: Vec<&str> = name.split(|c| !is_legacy(c) || c == '_').filter(|t| !t.is_empty()).collect();
    if tokens.is_empty() {
        return String::new();
    }
    let words = UnitWords::of(unit);
    let (main, per) = (cleaned(&words.main), cleaned(&words.per));
    if !main.is_empty() && !tokens.contains(&main.as_str()) {
        tokens.push(&main);
    }
    if !per.is_empty() && !tokens.contains(&per.as_str()) {
        tokens.extend(["per", &per]);
    }
    if let Some(word) = words.type_suffix(suffix) {
        tokens.retain(|token| *token != word);
        tokens.push(word);
    }
    not_a_digit_first(tokens.join("_"))
}

/// Runs of characters that may not be become one underscore.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut gap = false;
    for character in name.chars() {
        let legacy = is_legacy(character);
        if legacy || !gap {
            out.push(if legacy { character } else { '_' });
        }
        gap = !legacy;
    }
    if out.bytes().all(|byte| byte == b'_') { String::new() } else { not_a_digit_first(out) }
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn with_suffixes(name: &str, unit: &str, suffix: Suffix) -> String {
    let words = UnitWords::of(unit);
    let word = words.type_suffix(suffix);
    let mut out = word.map_or(name, |word| without_suffix(name, word)).to_owned();
    for part in [words.main.as_ref(), words.per_words().as_str()] {
        if !part.is_empty() && !out.ends_with(part) {
            out.push('_');
            out.push_str(part);
        }
    }
    if let Some(word) = word {
        out.push('_');
        out.push_str(word);
    }
    out
}

/// A name without a word at its end and what joins the two.
fn without_suffix<'n>(name: &'n str, word: &str) -> &'n str {
    match name.strip_suffix(word) {
        Some(rest) if rest.ends_with(['_', '.', '/', '-']) && rest.len() > 1 => {
            rest.get(..rest.len() - 1).unwrap_or(rest)
        }
        _ => name,
    }
}

/// A unit as metadata says it: `seconds`, `bytes_per_second`.
pub(super) fn unit_words(unit: &str) -> String {
    let words = UnitWords::of(unit);
    let (main, per) = (cleaned(&words.main), cleaned(&words.per));
    match (main.as_str(), per.as_str()) {
        (_, "") => main,
        ("", per) => format!("per_{per}"),
        (main, per) => format!("{main}_per_{per}"),
    }
}

/// A unit in words.
struct UnitWords<'u> {
    main: Cow<'u, str>,
    per: Cow<'u, str>,
    /// The unit is 1, which says nothing but of a gauge.
    is_one: bool,
}

impl<'u> UnitWords<'u> {
    fn of(unit: &'u str) -> Self {
        let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
        let (main, per) = (without_annotations(main), without_annotations(per));
        let word = |unit: Cow<'u, str>, table: &[(&str, &'static str)]| {
            let known = table.iter().find(|(short, _)| *short == unit).map(|(_, word)| *word);
            known.map_or(unit, Cow::Borrowed)
        };
        Self { is_one: unit.trim() == "1", main: word(main, &UNITS), per: word(per, &PER_UNITS) }
    }

    fn per_words(&self) -> String {
        if self.per.is_empty() { String::new() } else { format!("per_{}", self.per) }
    }

    fn type_suffix(&self, suffix: Suffix) -> Option<&'static str> {
        match suffix {
            Suffix::Total => Some("total"),
            Suffix::Ratio if self.is_one => Some("ratio"),
            _ => None,
        }
    }
}

/// A unit without what stands in braces, which is no unit but what is counted.
fn without_annotations(unit: &str) -> Cow<'_, str> {
    if !unit.contains(['{', '}']) {
        return Cow::Borrowed(unit.trim());
    }
    let mut out = String::new();
    let mut depth = 0usize;
    for character in unit.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(character),
            _ => {}
        }
    }
    Cow::Owned(out.trim().to_owned())
}

/// A unit as part of a name.
fn cleaned(unit: &str) -> String {
    escaped(unit).trim_matches('_').to_owned()
}

/// Units of UCUM as Prometheus' conventions write them out.
const UNITS: [(&str, &str); 35] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("bit", "bits"),
    ("Kibit", "kibibits"),
    ("Mibit", "mebibits"),
    ("kbit", "kilobits"),
    ("Mbit", "megabits"),
    ("Gbit", "gigabits"),
    ("m", "meters"),
    ("km", "kilometers"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("kg", "kilograms"),
    ("Cel", "celsius"),
    ("K", "kelvin"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// The same behind a stroke, where they stand for one.
const PER_UNITS: [(&str, &str); 9] = [
    ("s", "second"),
    ("ms", "millisecond"),
    ("m", "minute"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The label of an attribute.
pub(super) fn label_name(translation: Translation, key: &str) -> Cow<'_, str> {
    if !translation.escapes() {
        return Cow::Borrowed(key);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // Two underscores at the begin are left to those who mean them.
    let begins_well = match key.as_bytes() {
        [b'_', b'_', ..] | [] => true,
        [first, ..] => first.is_ascii_alphabetic(),
    };
    if begins_well && key.bytes().all(plain) {
        return Cow::Borrowed(key);
    }
    let mapped = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = key.chars().map(mapped).collect();
    let prefix = match name.as_bytes() {
        [first, ..] if first.is_ascii_digit() => "key_",
        [b'_', b'_', ..] => "",
        [b'_', ..] => "key",
        _ => "",
    };
    Cow::Owned(format!("{prefix}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Translation::*;

    #[test]
    fn metrics_are_named_as_each_strategy_has_it() {
        let check = |name, unit, suffix, expected: [&str; 4]| {
            let found = Translation::ALL.map(|strategy| metric_name(strategy, name, unit, suffix));
            assert_eq!(found, expected, "{name} in {unit}");
        };
        let (total, ratio, none) = (Suffix::Total, Suffix::Ratio, Suffix::None);
        check(
            "http.server.duration",
            "s",
            none,
            [
                "http_server_duration_seconds",
                "http_server_duration",
                "http.server.duration_seconds",
                "http.server.duration",
            ],
        );
        check(
            "system.io",
            "By",
            total,
            ["system_io_bytes_total", "system_io", "system.io_bytes_total", "system.io"],
        );
        check(
            "requests.total",
            "{request}",
            total,
            ["requests_total", "requests_total", "requests_total", "requests.total"],
        );
        check("used", "1", ratio, ["used_ratio", "used", "used_ratio", "used"]);
        check("used", "1", none, ["used"; 4]);
        check("ratio", "1", ratio, ["ratio", "ratio", "ratio_ratio", "ratio"]);
        check(
            "disk.speed",
            "By/s",
            ratio,
            ["disk_speed_bytes_per_second", "disk_speed", "disk.speed_bytes_per_second", "disk.speed"],
        );
        check(
            "seconds_busy",
            "s",
            none,
            ["seconds_busy", "seconds_busy", "seconds_busy_seconds", "seconds_busy"],
        );
        check("_a__b.", "", none, ["a_b", "_a__b_", "_a__b.", "_a__b."]);
        check("2xx", "%", ratio, ["_2xx_percent", "_2xx", "2xx_percent", "2xx"]);
        check("größe", "", none, ["gr_e", "gr_e", "größe", "größe"]);
        check("日本", "s", total, ["", "", "日本_seconds_total", "日本"]);
        check("a", "widgets per.box", none, ["a_widgets_per_box", "a", "a_widgets per.box", "a"]);
        check("rate", "{packet}/s", ratio, ["rate_per_second", "rate", "rate_per_second", "rate"]);
    }

    #[test]
    fn labels_are_named() {
        let check = |key, escaped, as_it_is| {
            assert_eq!(label_name(UnderscoreEscapingWithSuffixes, key), escaped);
            assert_eq!(label_name(UnderscoreEscapingWithoutSuffixes, key), escaped);
            assert_eq!(label_name(NoUtf8EscapingWithSuffixes, key), as_it_is);
            assert_eq!(label_name(NoTranslation, key), as_it_is);
        };
        check("http.method", "http_method", "http.method");
        check("plain_1", "plain_1", "plain_1");
        check("0day", "key_0day", "0day");
        check("_private", "key_private", "_private");
        check(".private", "key_private", ".private");
        check("ß", "key_", "ß");
        check("__meta", "__meta", "__meta");
        check("a..b", "a__b", "a..b");
        check("größe", "gr__e", "größe");
    }

    #[test]
    fn units_are_written_out() {
        for (unit, words) in [
            ("ms", "milliseconds"),
            ("By/s", "bytes_per_second"),
            ("{request}", ""),
            ("1", ""),
            ("{packet}/min", "per_minute"),
            ("", ""),
            ("m/s", "meters_per_second"),
            ("Cel", "celsius"),
            ("furlong", "furlong"),
        ] {
            assert_eq!(unit_words(unit), words, "{unit}");
        }
    }
}
