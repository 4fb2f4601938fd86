//! CSV: `timestamp,metric_name,metric_type,value,labels,histogram,stale,unit,help`.

use super::{Cell, SeriesRows, labels_json, push_time};
use crate::{histogram, value};

/// Writes CSV.
pub(super) struct CsvWriter {
    pub(super) out: Vec<u8>,
    /// What stands between time and value, and behind the value, for the series that is being written.
    before: Vec<u8>,
    labels: Vec<u8>,
    scratch: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn new() -> Self {
        let out = b"timestamp,metric_name,metric_type,value,labels,histogram,stale,unit,help\n".to_vec();
        Self { out, before: Vec::new(), labels: Vec::new(), scratch: Vec::new() }
    }

    pub(super) fn write(&mut self, rows: &SeriesRows<'_>) {
        self.before.clear();
        self.before.push(b',');
        push_field(rows.labels.metric_name().as_bytes(), &mut self.before);
        self.before.push(b',');
        self.before.extend_from_slice(rows.metric_type.as_str().as_bytes());
        self.before.push(b',');
        self.scratch.clear();
        labels_json(rows.labels, &mut self.scratch);
        self.labels.clear();
        push_field(&self.scratch, &mut self.labels);
        let mut first = !rows.goes_on;
        for (time, cell) in rows.cells() {
            push_time(time, &mut self.out);
            self.out.extend_from_slice(&self.before);
            if let Cell::Float(number) = cell {
                value::push(&mut self.out, number);
            }
            self.out.push(b',');
            self.out.extend_from_slice(&self.labels);
            self.out.push(b',');
            if let Cell::Histogram(histogram) = cell {
                push_field(histogram::to_json(histogram).as_bytes(), &mut self.out);
            }
            self.out.extend_from_slice(if matches!(cell, Cell::Stale) { b",true," } else { b",," });
            push_field(rows.unit.unwrap_or("").as_bytes(), &mut self.out);
            self.out.push(b',');
            // Once a series is enough.
            if std::mem::take(&mut first) {
                push_field(rows.help.unwrap_or("").as_bytes(), &mut self.out);
            }
            self.out.push(b'\n');
        }
    }
}

/// A field, in quotes where it must be.
fn push_field(field: &[u8], out: &mut Vec<u8>) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
