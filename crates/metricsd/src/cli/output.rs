//! Answers on standard output: tables for people, JSON for scripts.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use metricsd_model::Millis;
use metricsd_model::event::rfc3339;
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

/// A series as a selector writes it: `name{a="b"}`.
pub(super) fn series(metric: &Value) -> String {
    let labels: BTreeMap<&str, &str> = metric
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    let name = labels.get("__name__").copied().unwrap_or_default();
    let others = labels.iter().filter(|(name, _)| **name != "__name__");
    let others: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
    match others.is_empty() {
        true if !name.is_empty() => name.to_owned(),
        _ => format!("{name}{{{}}}", others.join(",")),
    }
}

/// A time in seconds since the epoch, as answers to queries carry it.
pub(super) fn timestamp(seconds: &Value) -> String {
    match seconds.as_f64() {
        Some(seconds) => rfc3339((seconds * 1e3).round() as Millis),
        None => cell(seconds),
    }
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
        assert_eq!(series(&json!({"__name__": "up"})), "up");
        assert_eq!(series(&json!({"__name__": "up", "job": "a\"b"})), "up{job=\"a\\\"b\"}");
        assert_eq!(series(&json!({"job": "a"})), "{job=\"a\"}");
        assert_eq!(series(&json!({})), "{}");
        assert_eq!(timestamp(&json!(1_750_500_000.25)), "2025-06-21T10:00:00.250Z");
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
