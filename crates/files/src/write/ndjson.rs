//! NDJSON: a line is an item as `/custom` takes it; what that cannot say has fields of its own.

use super::{Cell, SeriesRows, labels_json, push_json, push_time};
use crate::{histogram, value};

/// Writes NDJSON.
#[derive(Default)]
pub(super) struct NdjsonWriter {
    pub(super) out: Vec<u8>,
    tail: Vec<u8>,
}

impl NdjsonWriter {
    pub(super) fn write(&mut self, rows: &SeriesRows<'_>) {
        self.tail.clear();
        self.tail.extend_from_slice(b",\"name\":");
        push_json(rows.labels.metric_name(), &mut self.tail);
        self.tail.extend_from_slice(b",\"metric_type\":\"");
        self.tail.extend_from_slice(rows.metric_type.as_str().as_bytes());
        self.tail.extend_from_slice(b"\",\"labels\":");
        labels_json(rows.labels, &mut self.tail);
        if let Some(unit) = rows.unit.filter(|unit| !unit.is_empty()) {
            self.tail.extend_from_slice(b",\"unit\":");
            push_json(unit, &mut self.tail);
        }
        let mut help = rows.help.filter(|help| !rows.goes_on && !help.is_empty());
        for (time, cell) in rows.cells() {
            self.out.extend_from_slice(b"{\"timestamp\":\"");
            push_time(time, &mut self.out);
            self.out.push(b'"');
            self.out.extend_from_slice(&self.tail);
            match cell {
                Cell::Float(number) if number.is_finite() => {
                    self.out.extend_from_slice(b",\"value\":");
                    value::push(&mut self.out, number);
                }
                Cell::Float(number) => {
                    self.out.extend_from_slice(b",\"value\":\"");
                    value::push(&mut self.out, number);
                    self.out.push(b'"');
                }
                Cell::Stale => self.out.extend_from_slice(b",\"value\":null,\"stale\":true"),
                Cell::Histogram(histogram) => {
                    self.out.extend_from_slice(b",\"histogram\":");
                    self.out.extend_from_slice(histogram::to_json(histogram).as_bytes());
                }
            }
            if let Some(help) = help.take() {
                self.out.extend_from_slice(b",\"help_text\":");
                push_json(help, &mut self.out);
            }
            self.out.extend_from_slice(b"}\n");
        }
    }
}
