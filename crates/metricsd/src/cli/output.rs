//! Answers on standard output: tables for people, JSON for scripts.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// A table without lines, as `ps` and `kubectl` write them: it can be cut and searched.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table
}

/// Writes a table.
pub(super) fn print_table(out: &mut impl Write, table: &Table) -> io::Result<()> {
    for line in table.lines() {
        // Columns are set apart by a blank on both sides; the outer ones are in the way of `cut` and `diff`.
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
    }
    out.flush()
}

/// Writes names and values, one pair a line.
pub(super) fn print_pairs(out: &mut impl Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        writeln!(out, "{name:width$}  {value}")?;
    }
    out.flush()
}

/// Writes JSON.
pub(super) fn print_json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()
}

/// A value in a cell: texts bare, nothing as a dash, lists and objects as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(map) => labels(map.iter().map(|(name, value)| (name.as_str(), cell(value)))),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.abs() >= 0.001 => rounded(float),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Three decimals at most: people compare durations and rates, scripts take JSON.
fn rounded(float: f64) -> String {
    format!("{float:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn labels<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let text: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    if text.is_empty() { "-".to_owned() } else { text.join(",") }
}

/// A series as a selector writes it: `name{a="b"}`, or `{"a name","a label"="b"}` where names need quotes.
pub(super) fn series(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get("__name__").map(String::as_str).unwrap_or_default();
    let bare = is_bare(name, true);
    let quoted = (!bare && !name.is_empty()).then(|| in_quotes(name));
    let others = labels.iter().filter(|(label, _)| *label != "__name__").map(|(label, value)| {
        let label = if is_bare(label, false) { label.clone() } else { in_quotes(label) };
        format!("{label}={}", in_quotes(value))
    });
    let inner: Vec<String> = quoted.into_iter().chain(others).collect();
    match (bare, inner.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{name}{{{}}}", inner.join(",")),
        (false, _) => format!("{{{}}}", inner.join(",")),
    }
}

/// Whether a name needs no quotes; only names of metrics may have colons.
fn is_bare(name: &str, colons: bool) -> bool {
    let may_begin = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || colons && byte == b':';
    name.bytes().next().is_some_and(may_begin)
        && name.bytes().all(|byte| may_begin(byte) || byte.is_ascii_digit())
}

fn in_quotes(text: &str) -> String {
    format!("\"{}\"", escaped(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A text whose control characters and invisible ones are written as PromQL writes them: they must not reach the terminal.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\'' | '\\' => out.push(character),
            // Whatever Rust would not show either.
            other if other.escape_debug().len() == 1 => out.push(other),
            other if u32::from(other) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_and_series_read_well() {
        let check = |value: Value, expected: &str| assert_eq!(cell(&value), expected);
        check(json!(null), "-");
        check(json!(""), "-");
        check(json!("healthy"), "healthy");
        check(json!(1.5), "1.5");
        check(json!(0.986_080_1), "0.986");
        check(json!(100.0), "100");
        check(json!(0.000_01), "0.00001");
        check(json!({"b": "2", "a": "1"}), "a=1,b=2");
        check(json!({}), "-");
    }

    #[test]
    fn series_are_written_as_selectors() {
        let check = |labels: &[(&str, &str)], expected: &str| {
            let labels =
                labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(series(&labels), expected);
        };
        check(&[], "{}");
        check(&[("__name__", "up")], "up");
        check(&[("__name__", "job:up:sum"), ("job", "a\"b\\c")], r#"job:up:sum{job="a\"b\\c"}"#);
        check(&[("job", "a")], r#"{job="a"}"#);
        check(&[("__name__", "http.time")], r#"{"http.time"}"#);
        check(&[("__name__", "9"), ("a:b", "größe"), ("c", "1")], r#"{"9","a:b"="größe",c="1"}"#);
        check(&[("a", "\n\u{1b}[31m\u{202e}\u{e0001}'")], r#"{a="\n\u001b[31m\u202e\U000e0001'"}"#);
    }

    #[test]
    fn tables_have_no_lines_and_no_blanks_at_their_ends() {
        let mut table = table(&["target", "health"]);
        table.add_row(["a", "healthy"]);
        table.add_row(["longer", "-"]);
        let mut out = Vec::new();
        print_table(&mut out, &table).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "TARGET  HEALTH\na       healthy\nlonger  -\n");
    }
}
