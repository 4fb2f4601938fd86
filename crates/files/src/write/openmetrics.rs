//! OpenMetrics 1.0 text with timestamps. It has no form for native histograms and staleness markers: both are left out.

use std::io::Write;

use metricsd_model::labels::{is_classic_label_name, is_classic_metric_name};
use metricsd_model::{MetricType, Millis, family};

use super::{Cell, SeriesRows, base_of};

/// Writes OpenMetrics.
#[derive(Default)]
pub(super) struct TextWriter {
    pub(super) out: Vec<u8>,
    /// The family that was declared last, and its kind.
    family: Option<(String, &'static str)>,
    /// Those that were declared of names with the same base.
    declared: Vec<String>,
    series: Vec<u8>,
}

impl TextWriter {
    pub(super) fn write(&mut self, rows: &SeriesRows<'_>) {
        let mut cells = rows.cells().filter(|(_, cell)| matches!(cell, Cell::Float(_))).peekable();
        if cells.peek().is_none() {
            return;
        }
        self.declare(rows);
        self.series.clear();
        push_series(rows, &mut self.series);
        for (time, cell) in cells {
            let Cell::Float(value) = cell else { continue };
            self.out.extend_from_slice(&self.series);
            self.out.push(b' ');
            crate::value::push(&mut self.out, value);
            push_seconds(time, &mut self.out);
            self.out.push(b'\n');
        }
    }

    pub(super) fn finish(&mut self) {
        self.out.extend_from_slice(b"# EOF\n");
    }

    fn declare(&mut self, rows: &SeriesRows<'_>) {
        let name = rows.labels.metric_name();
        let (mut family, mut kind) = declared(name, rows);
        if let Some((standing, its_kind)) = &self.family {
            if belongs(name, standing, its_kind) {
                return;
            }
            if base_of(standing) != base_of(name) {
                self.declared.clear();
            }
        }
        // Senders may differ on the type of a metric; a family is declared once.
        if self.declared.iter().any(|declared| declared == family) {
            (family, kind) = (name, "unknown");
        }
        let shown = if is_classic_metric_name(family) {
            family.to_owned()
        } else {
            format!("\"{}\"", escaped(family))
        };
        let _ = writeln!(self.out, "# TYPE {shown} {kind}");
        // A unit that is not the end of the name may not be said.
        let unit = rows.unit.filter(|unit| {
            family.strip_suffix(*unit).is_some_and(|start| !unit.is_empty() && start.ends_with('_'))
        });
        if let Some(unit) = unit {
            let _ = writeln!(self.out, "# UNIT {shown} {unit}");
        }
        if let Some(help) = rows.help.filter(|help| !help.is_empty()) {
            let _ = writeln!(self.out, "# HELP {shown} {}", escaped(help));
        }
        self.declared.push(family.to_owned());
        self.family = Some((family.to_owned(), kind));
    }
}

/// Whether a family of some kind has metrics of a name.
fn belongs(name: &str, family: &str, kind: &str) -> bool {
    let ends: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["", "_sum", "_count"],
        _ => &[""],
    };
    name.strip_prefix(family).is_some_and(|end| ends.contains(&end))
}

/// The family and its kind. Names that do not end as their kind asks are of a kind of which any name may be.
fn declared<'a>(name: &'a str, rows: &SeriesRows<'_>) -> (&'a str, &'static str) {
    let family = match rows.metric_type {
        MetricType::Counter => name.strip_suffix("_total").unwrap_or(name),
        other => family::family_of(name, other),
    };
    let ends_as_asked = family.len() < name.len();
    match rows.metric_type {
        MetricType::Counter if ends_as_asked => (family, "counter"),
        MetricType::Histogram if ends_as_asked => (family, "histogram"),
        MetricType::Summary if ends_as_asked || rows.labels.get("quantile").is_some() => (family, "summary"),
        MetricType::Gauge => (name, "gauge"),
        _ => (name, "unknown"),
    }
}

fn push_series(rows: &SeriesRows<'_>, out: &mut Vec<u8>) {
    let name = rows.labels.metric_name();
    let classic = is_classic_metric_name(name);
    if classic {
        out.extend_from_slice(name.as_bytes());
    }
    let mut labels = rows.labels.without_name().peekable();
    if classic && labels.peek().is_none() {
        return;
    }
    out.push(b'{');
    if !classic {
        let _ = write!(out, "\"{}\"", escaped(name));
    }
    for (index, (label, value)) in labels.enumerate() {
        if index > 0 || !classic {
            out.push(b',');
        }
        if is_classic_label_name(label) {
            let _ = write!(out, "{label}=\"{}\"", escaped(value));
        } else {
            let _ = write!(out, "\"{}\"=\"{}\"", escaped(label), escaped(value));
        }
    }
    out.push(b'}');
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// Seconds with a point, exact to the millisecond.
fn push_seconds(millis: Millis, out: &mut Vec<u8>) {
    let (sign, size) = if millis < 0 { ("-", millis.unsigned_abs()) } else { ("", millis.unsigned_abs()) };
    let _ = write!(out, " {sign}{}.{:03}", size / 1_000, size % 1_000);
}
