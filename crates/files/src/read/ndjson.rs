//! NDJSON: a line is an item as `/custom` takes it, or as an export writes it.

use std::borrow::Cow;

use metricsd_model::{MetricSource, Refusal};
use serde::Deserialize;

use super::json::{Pairs, Text};
use super::lines::{Line, Lines};
use crate::row::{Row, RowFault, RowValue, Step, kind_from};
use crate::{FileError, histogram, time, unpack::Unpacked, value};

/// Reads NDJSON.
pub(super) struct NdjsonRows<'a> {
    lines: Lines<Unpacked<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow, alias = "metric_name")]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    metric_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    labels: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    source: Option<Text<'a>>,
    #[serde(borrow, default, alias = "help")]
    help_text: Option<Text<'a>>,
    #[serde(borrow, default)]
    unit: Option<Text<'a>>,
    #[serde(borrow, default)]
    histogram: Option<histogram::Wire<'a>>,
    #[serde(default)]
    stale: Option<bool>,
}

/// A number or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl<'a> NdjsonRows<'a> {
    pub(super) fn new(reader: Unpacked<'a>) -> Self {
        Self { lines: Lines::new(reader) }
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        loop {
            let number = self.lines.number() + 1;
            let line = match self.lines.next_line()? {
                Line::End => return Ok(Step::End),
                Line::TooLong => {
                    let fault = RowFault::new(number, Refusal::InvalidValue, "the line is too long");
                    return Ok(Step::Fault(fault));
                }
                Line::Text(line) => line,
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            row.line = number;
            return Ok(match read(line, row) {
                Ok(()) => Step::Row,
                Err((reason, message)) => Step::Fault(RowFault::new(number, reason, message)),
            });
        }
    }
}

fn read(line: &[u8], row: &mut Row) -> Result<(), (Refusal, String)> {
    let wrong = |message: String| (Refusal::InvalidValue, message);
    let item: Item<'_> = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    match item.name {
        Some(Text(name)) if !name.is_empty() => row.name.push_str(&name),
        _ => return Err((Refusal::InvalidName, "name: missing".to_owned())),
    }
    if let Some(Text(name)) = item.metric_type {
        row.kind = kind_from(&name).map_err(wrong)?;
    }
    if let Some(Text(name)) = item.source
        && MetricSource::from_name(&name).is_none()
    {
        return Err(wrong("source: is not one of the documented kinds of source".to_owned()));
    }
    for (name, value) in item.labels.map(|Pairs(pairs)| pairs).into_iter().flatten() {
        row.labels.push(&name, &value);
    }
    if let Some(name) = row.labels.repeated() {
        return Err((Refusal::InvalidLabel, format!("labels.{name}: given more than once")));
    }
    row.timestamp = match &item.timestamp {
        None => None,
        Some(Scalar::Number(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
        Some(Scalar::Number(number)) => time::parse(&number.to_string()).map(Some).map_err(wrong)?,
        Some(Scalar::Text(text)) => time::parse(text).map(Some).map_err(wrong)?,
    };
    row.value = value_of(item.value, item.histogram, item.stale == Some(true)).map_err(wrong)?;
    if let Some(Text(text)) = item.help_text {
        row.help.push_str(&text);
    }
    if let Some(Text(text)) = item.unit {
        row.unit.push_str(&text);
    }
    Ok(())
}

fn value_of(
    number: Option<Scalar<'_>>,
    packed: Option<histogram::Wire<'_>>,
    stale: bool,
) -> Result<RowValue, String> {
    match (number, packed) {
        _ if stale => Ok(RowValue::Stale),
        (None, Some(packed)) => Ok(RowValue::Histogram(Box::new(histogram::from_wire(packed)?))),
        (Some(_), Some(_)) => Err("value and histogram: expected one of them".to_owned()),
        (Some(Scalar::Number(number)), None) => Ok(RowValue::Float(number)),
        (Some(Scalar::Text(text)), None) => Ok(value::parse(&text)?.map_or(RowValue::Stale, RowValue::Float)),
        (None, None) => Err("value: missing".to_owned()),
    }
}
