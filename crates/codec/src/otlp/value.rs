//! Attributes, and what their values say as text.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::wire::{Reader, WireError};

/// One attribute: the values of labels are texts.
#[derive(Debug, Clone)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    pub(super) value: Cow<'a, str>,
}

/// Values within values.
const MAX_DEPTH: usize = 32;

/// Characters of a list or a map as text, about; no label is as long.
const MAX_TEXT: usize = 64 << 10;

/// `KeyValue`.
pub(super) fn attribute<'a>(mut reader: Reader<'a>) -> Result<Attribute<'a>, WireError> {
    let mut attribute = Attribute { key: "", value: Cow::Borrowed("") };
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => attribute.key = reader.text(wire)?,
            (2, wire) => {
                attribute.value = AnyValue::read(reader.message(wire, "an attribute's value")?)?.text()?
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(attribute)
}

/// `AnyValue`, of which lists and maps are not taken apart yet.
#[derive(Clone, Copy)]
enum AnyValue<'a> {
    Empty,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Reader<'a>),
    Map(Reader<'a>),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let mut value = Self::Empty;
        while !reader.is_empty() {
            match reader.tag()? {
                (1, wire) => value = Self::Text(reader.text(wire)?),
                (2, wire) => value = Self::Bool(reader.uint64(wire)? != 0),
                (3, wire) => value = Self::Int(reader.int64(wire)?),
                (4, wire) => value = Self::Double(reader.double(wire)?),
                (5, wire) => value = Self::List(reader.message(wire, "a list of values")?),
                (6, wire) => value = Self::Map(reader.message(wire, "a map of values")?),
                (7, wire) => value = Self::Bytes(reader.bytes(wire)?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(value)
    }

    /// A text is itself; lists and maps are JSON.
    fn text(self) -> Result<Cow<'a, str>, WireError> {
        Ok(match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Empty => Cow::Borrowed(""),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Double(number) => Cow::Owned(double(number)),
            Self::Bytes(bytes) => Cow::Owned(base64(bytes)),
            Self::List(_) | Self::Map(_) => {
                let mut out = String::new();
                self.json(&mut out, MAX_DEPTH)?;
                Cow::Owned(out)
            }
        })
    }

    /// Writes the value as JSON. What is longer than any label may be is not written to its end.
    fn json(self, out: &mut String, depth: usize) -> Result<(), WireError> {
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => quoted(out, text),
            Self::Bytes(bytes) => quoted(out, &base64(bytes)),
            Self::Double(number) if !number.is_finite() => quoted(out, &double(number)),
            Self::Bool(_) | Self::Int(_) | Self::Double(_) => out.push_str(&self.text()?),
            Self::List(reader) => json_list(reader, out, depth)?,
            Self::Map(reader) => json_map(reader, out, depth)?,
        }
        Ok(())
    }
}

fn json_list(mut reader: Reader<'_>, out: &mut String, depth: usize) -> Result<(), WireError> {
    let within = deeper(&reader, depth)?;
    out.push('[');
    let mut separator = "";
    while !reader.is_empty() && out.len() < MAX_TEXT {
        match reader.tag()? {
            (1, wire) => {
                out.push_str(separator);
                separator = ",";
                AnyValue::read(reader.message(wire, "an attribute's value")?)?.json(out, within)?;
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    out.push(']');
    Ok(())
}

/// Entries in the order of their keys, whatever order they came in: the same map is the same label.
fn json_map(mut reader: Reader<'_>, out: &mut String, depth: usize) -> Result<(), WireError> {
    let within = deeper(&reader, depth)?;
    let mut entries: Vec<(&str, AnyValue<'_>)> = Vec::new();
    while !reader.is_empty() && entries.len() < MAX_TEXT / 4 {
        match reader.tag()? {
            (1, wire) => entries.push(entry(reader.message(wire, "an entry of a map")?)?),
            (_, wire) => reader.skip(wire)?,
        }
    }
    entries.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (place, (key, value)) in entries.into_iter().enumerate() {
        if out.len() > MAX_TEXT {
            break;
        }
        if place > 0 {
            out.push(',');
        }
        quoted(out, key);
        out.push(':');
        value.json(out, within)?;
    }
    out.push('}');
    Ok(())
}

fn entry<'a>(mut reader: Reader<'a>) -> Result<(&'a str, AnyValue<'a>), WireError> {
    let (mut key, mut value) = ("", AnyValue::Empty);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => key = reader.text(wire)?,
            (2, wire) => value = AnyValue::read(reader.message(wire, "an attribute's value")?)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((key, value))
}

fn deeper(reader: &Reader<'_>, depth: usize) -> Result<usize, WireError> {
    depth.checked_sub(1).ok_or_else(|| reader.error("has values too deep within each other"))
}

/// A text as JSON, up to what a label may hold.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if out.len() > MAX_TEXT {
            break;
        }
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A number as JSON writes it, with an exponent where it would have too many digits.
fn double(number: f64) -> String {
    let size = number.abs();
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        number if size != 0.0 && !(1e-6..1e21).contains(&size) => {
            let text = format!("{number:e}");
            if text.contains("e-") { text } else { text.replace('e', "e+") }
        }
        number => number.to_string(),
    }
}

/// Bytes as base64 with padding. What is longer than any label may be is not written to its end.
fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes.get(..MAX_TEXT / 4 * 3 + 3).unwrap_or(bytes))
}
