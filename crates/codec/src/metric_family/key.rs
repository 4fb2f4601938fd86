//! A sample's series as text, such as the text formats write it: so that all series are named in one way.

use metricsd_model::labels::{is_classic_label_name, is_classic_metric_name};

use super::exemplar::label;
use super::read::{Family, FamilyError, Metric};
use super::samples::Role;
use crate::exposition::open_metrics_float;
use crate::wire::Reader;

/// Appends the series of a sample, which [`crate::exposition::parse_series`] takes apart. Numbers in `le` and `quantile`
/// are written as OpenMetrics writes them.
///
/// # Errors
/// Labels that do not read.
pub fn write_key(
    out: &mut String,
    family: &Family<'_>,
    metric: &Metric<'_>,
    role: Role,
) -> Result<(), FamilyError> {
    let (suffix, number) = match role {
        Role::Plain | Role::Native => ("", None),
        Role::Sum => ("_sum", None),
        Role::Count => ("_count", None),
        Role::Bucket(bound) => ("_bucket", Some(("le", bound))),
        Role::Quantile(quantile) => ("", Some(("quantile", quantile))),
    };
    write_name(out, family.name, suffix);
    let mut reader = Reader::new(metric.labels(), "a label");
    while !reader.is_empty() {
        let read = reader.tag().and_then(|(_, wire)| reader.message(wire, "a label")).and_then(label);
        let (name, value) = read.map_err(|mut error| {
            error.at += metric.at;
            FamilyError::new(family.name, error)
        })?;
        write_label(out, name, value);
    }
    if let Some((name, number)) = number {
        write_label(out, name, &open_metrics_float(number));
    }
    close(out);
    Ok(())
}

/// Appends a series of this name and these labels as text; see [`write_key`].
pub fn write_series<'l>(out: &mut String, name: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
    write_name(out, name, "");
    for (name, value) in labels {
        write_label(out, name, value);
    }
    close(out);
}

fn write_name(out: &mut String, name: &str, suffix: &str) {
    if is_classic_metric_name(name) {
        out.extend([name, suffix, "{"]);
    } else {
        out.push_str("{\"");
        escape(out, name);
        out.extend([suffix, "\","]);
    }
}

/// The closing brace; no comma before it.
fn close(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push('}');
}

fn write_label(out: &mut String, name: &str, value: &str) {
    if is_classic_label_name(name) {
        out.push_str(name);
    } else {
        out.push('"');
        escape(out, name);
        out.push('"');
    }
    out.push_str("=\"");
    escape(out, value);
    out.push_str("\",");
}

/// Appends a text as the text formats escape it.
pub fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        out.push_str(match special.as_bytes().first() {
            Some(b'\n') => "\\n",
            Some(b'"') => "\\\"",
            _ => "\\\\",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
}
