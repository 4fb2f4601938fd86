//! `Exemplar`, `LabelPair` and `Timestamp`.

use std::borrow::Cow;

use metricsd_model::Millis;

use crate::exposition::Label;
use crate::wire::{Reader, WireError};

/// One observation as an example.
#[derive(Debug, Clone, Copy)]
pub struct FamilyExemplar<'p> {
    message: Reader<'p>,
    /// What was observed.
    pub value: f64,
    /// When, where it says so.
    pub timestamp: Option<Millis>,
}

impl<'p> FamilyExemplar<'p> {
    /// Checks the whole message; labels are taken apart when they are asked for.
    pub(super) fn read(message: Reader<'p>) -> Result<Self, WireError> {
        let mut exemplar = Self { message, value: 0.0, timestamp: None };
        let mut reader = message;
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) => label(reader.message(wire, "a label of an exemplar")?).map(drop)?,
                (2, wire) => exemplar.value = reader.double(wire)?,
                (3, wire) => exemplar.timestamp = Some(timestamp(reader.message(wire, "a timestamp")?)?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(exemplar)
    }

    /// The message: equal bytes are equal exemplars.
    pub fn bytes(&self) -> &'p [u8] {
        self.message.rest()
    }

    /// Names and values of its labels, in the order of the page.
    pub fn labels(&self) -> Vec<Label<'p>> {
        let mut labels = Vec::new();
        let mut reader = self.message;
        while let Ok((number, wire)) = reader.tag() {
            let pair = match number {
                1 => reader.message(wire, "a label").and_then(label).map(Some),
                _ => reader.skip(wire).map(|()| None),
            };
            match pair {
                Ok(Some((name, value))) => labels.push((Cow::Borrowed(name), Cow::Borrowed(value))),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        labels
    }
}

/// `LabelPair`.
pub(super) fn label(mut reader: Reader<'_>) -> Result<(&str, &str), WireError> {
    let start = reader;
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => name = reader.bytes(wire)?,
            (2, wire) => value = reader.bytes(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    match (std::str::from_utf8(name), std::str::from_utf8(value)) {
        (Ok(""), _) => Err(start.error("has no name")),
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Err(_), _) => Err(start.error("has a name that is not UTF-8")),
        (_, Err(_)) => Err(start.error("has a value that is not UTF-8")),
    }
}

/// `google.protobuf.Timestamp` in milliseconds; what is finer is cut off.
pub(super) fn timestamp(mut reader: Reader<'_>) -> Result<Millis, WireError> {
    let start = reader;
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => seconds = reader.int64(wire)?,
            (2, wire) => nanos = reader.int64(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(start.error("has nanoseconds that are not in 0..1000000000"));
    }
    let millis = seconds.checked_mul(1_000).and_then(|millis| millis.checked_add(nanos / 1_000_000));
    millis.ok_or_else(|| start.error("is beyond any date"))
}
