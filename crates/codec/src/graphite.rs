//! Graphite plaintext: `path value timestamp`, one sample a line, with tags as `path;tag=value`.
//!
//! Seconds may have a fraction; a timestamp of `-1`, or none, is the time of arrival. NaN is no sample.

use metricsd_model::{METRIC_NAME, Millis};

use crate::line_names::{Mapped, Names, Rules};
use crate::remote_write::BodyWriter;

/// A line that reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphiteLine<'a> {
    /// Without its tags.
    pub path: &'a str,
    /// As they stand: `tag=value;tag=value`.
    tags: &'a str,
    /// Value; never NaN.
    pub value: f64,
    /// Where the line has one.
    pub timestamp: Option<Millis>,
}

impl<'a> GraphiteLine<'a> {
    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub fn parse(line: &'a str) -> Result<Self, &'static str> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().ok_or("the line is empty")?;
        let value = words.next().ok_or("there is no value")?;
        let value: f64 = value.parse().map_err(|_| "the value is not a number")?;
        if value.is_nan() {
            return Err("the value is not a number");
        }
        let timestamp = words.next().map_or(Ok(None), timestamp)?;
        if words.next().is_some() {
            return Err("there is more than a path, a value and a timestamp");
        }
        let (path, tags) = name.split_once(';').unwrap_or((name, ""));
        if path.is_empty() {
            return Err("the path is empty");
        }
        let line = Self { path, tags, value, timestamp };
        let whole = |tag: Option<(&str, &str)>| {
            tag.is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        };
        match line.pairs().all(whole) {
            true => Ok(line),
            false => Err("a tag is not written as tag=value"),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = Option<(&'a str, &'a str)>> {
        // A path may end with a semicolon.
        self.tags.split(';').filter(|tag| !tag.is_empty()).map(|tag| tag.split_once('='))
    }

    /// Names and values of the tags, in the order of the line.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs().flatten()
    }
}

/// Seconds since the epoch.
fn timestamp(text: &str) -> Result<Option<Millis>, &'static str> {
    const WRONG: &str = "the timestamp is not a number of seconds since the epoch";
    if let Ok(seconds) = text.parse::<i64>() {
        return match seconds {
            -1 => Ok(None),
            seconds => seconds.checked_mul(1_000).map(Some).ok_or(WRONG),
        };
    }
    let seconds: f64 = text.parse().map_err(|_| WRONG)?;
    if seconds == -1.0 {
        return Ok(None);
    }
    let millis = (seconds * 1_000.0).round();
    // What a float can count exactly.
    if millis.abs() < 9e15 { Ok(Some(millis as Millis)) } else { Err(WRONG) }
}

/// From lines to series.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    /// What becomes of names.
    pub names: Names,
    /// What becomes of paths; those that no rule matches are names as a whole.
    pub rules: Rules,
}

impl Mapping {
    /// Writes a line's sample into a body; answers whether a rule lets it be.
    pub fn write(&self, line: &GraphiteLine<'_>, received_at: Millis, body: &mut BodyWriter) -> bool {
        let (path, labels) = match self.rules.apply(line.path) {
            Mapped::Dropped => return false,
            Mapped::Unmatched => (None, Vec::new()),
            Mapped::Named { name, labels } => (name, labels),
        };
        let mut name = String::with_capacity(line.path.len());
        self.names.push_metric(&mut name, path.as_deref().unwrap_or(line.path));
        let mut series = body.series();
        series.label(METRIC_NAME, &name);
        for (tag, value) in line.tags() {
            name.clear();
            self.names.push_label(&mut name, tag);
            // What a rule says of a path goes before a tag of the same name.
            if !labels.iter().any(|(label, _)| *label == name) {
                series.label(&name, value);
            }
        }
        for (label, value) in &labels {
            series.label(label, value);
        }
        series.sample(line.timestamp.unwrap_or(received_at), line.value);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::remote_write::WriteScanner;

    fn check(line: &str, path: &str, tags: &[(&str, &str)], value: f64, timestamp: Option<Millis>) {
        let read = GraphiteLine::parse(line).unwrap();
        assert_eq!((read.path, read.value, read.timestamp), (path, value, timestamp), "{line}");
        assert_eq!(read.tags().collect::<Vec<_>>(), tags, "{line}");
    }

    #[test]
    fn lines_read() {
        check("a.b.c 1.5 1700000000", "a.b.c", &[], 1.5, Some(1_700_000_000_000));
        check("a 1 1700000000.25\r", "a", &[], 1.0, Some(1_700_000_000_250));
        check("a\t-2e3   5", "a", &[], -2_000.0, Some(5_000));
        check("a 1", "a", &[], 1.0, None);
        check("a 1 -1", "a", &[], 1.0, None);
        check("a 1 -1.0", "a", &[], 1.0, None);
        check(
            "disk.used;host=a;rack=b=c 1 5",
            "disk.used",
            &[("host", "a"), ("rack", "b=c")],
            1.0,
            Some(5_000),
        );
        check("a; 1 5", "a", &[], 1.0, Some(5_000));
        check("a inf 5", "a", &[], f64::INFINITY, Some(5_000));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, problem) in [
            ("", "the line is empty"),
            ("a", "there is no value"),
            ("a x 1", "the value is not a number"),
            ("a nan 1", "the value is not a number"),
            ("a 1 x", "the timestamp is not a number of seconds since the epoch"),
            ("a 1 1e300", "the timestamp is not a number of seconds since the epoch"),
            ("a 1 9223372036854775807", "the timestamp is not a number of seconds since the epoch"),
            ("a 1 2 3", "there is more than a path, a value and a timestamp"),
            (";x=y 1 2", "the path is empty"),
            ("a;x 1 2", "a tag is not written as tag=value"),
            ("a;=y 1 2", "a tag is not written as tag=value"),
            ("a;x= 1 2", "a tag is not written as tag=value"),
        ] {
            assert_eq!(GraphiteLine::parse(line), Err(problem), "{line}");
        }
    }

    fn labels_of(mapping: &Mapping, line: &str) -> Option<String> {
        let mut body = BodyWriter::new();
        if !mapping.write(&GraphiteLine::parse(line).unwrap(), 7, &mut body) {
            return None;
        }
        let body = body.into_bytes();
        let series = WriteScanner::new(&body).next_series().unwrap().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let labels = series.parse_labels(100).unwrap();
        let labels: Vec<_> = labels.iter().map(|l| format!("{}={}", text(l.name), text(l.value))).collect();
        let (time, value) = series.only_float().unwrap();
        Some(format!("{} {value} {time}", labels.join(",")))
    }

    #[test]
    fn paths_become_series() {
        let check = |mapping: &Mapping, line: &str, expected: Option<&str>| {
            assert_eq!(labels_of(mapping, line).as_deref(), expected, "{line}");
        };
        let plain = Mapping::default();
        check(&plain, "servers.a-1.load 1 5", Some("__name__=servers_a_1_load 1 5000"));
        check(&plain, "load;host=a.b;__name__=x 1", Some("__name__=load,host=a.b,tag__name__=x 1 7"));
        let rules = ["servers.*.** name=$2 host=$1", "debug.** drop"];
        let ruled = Mapping { rules: Rules::parse(rules).unwrap(), ..Mapping::default() };
        check(&ruled, "servers.a.cpu.load;host=tag;dc=x 1", Some("__name__=cpu_load,dc=x,host=a 1 7"));
        check(&ruled, "debug.x 1", None);
        let utf8 = Mapping { names: Names::Utf8, ..Mapping::default() };
        check(&utf8, "größe.a 1", Some("__name__=größe.a 1 7"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(line in "\\PC{0,100}") {
            if let Ok(line) = GraphiteLine::parse(&line) {
                Mapping::default().write(&line, 0, &mut BodyWriter::new());
            }
        }

        #[test]
        fn nothing_like_a_line_makes_it_panic(line in "[a.;= \t0-9e+-]{0,60}") {
            if let Ok(line) = GraphiteLine::parse(&line) {
                prop_assert!(Mapping::default().write(&line, 0, &mut BodyWriter::new()));
            }
        }
    }
}
