//! NDJSON: a line is an item as an export writes it, or as `/custom` takes it: what only that has is read by its own reader,
//! and a histogram by bounds or a summary becomes a row a series. Exemplars are passed over.

use std::borrow::Cow;

use metricsd_codec::custom::{self, CustomLimits, CustomMetric, CustomValue, Piece};
use metricsd_model::{MetricSource, Refusal};
use serde::Deserialize;

use super::MAX_LINE;
use super::json::{Pairs, Text};
use super::lines::{Line, Lines};
use crate::row::{Row, RowFault, RowValue, Step, kind_from, kind_of};
use crate::{FileError, histogram, time, unpack::Unpacked, value};

/// Bytes of the rows that one line becomes: each has all its labels, and what is known of its family.
const MAX_ROWS: usize = 16 * MAX_LINE;

/// Reads NDJSON.
pub(super) struct NdjsonRows<'a> {
    lines: Lines<Unpacked<'a>>,
    /// An item that becomes several rows, and those that are still to come.
    open: Option<(Row, std::vec::IntoIter<Piece>)>,
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
        Self { lines: Lines::new(reader), open: None }
    }

    pub(super) fn next_row(&mut self, row: &mut Row) -> Result<Step, FileError> {
        loop {
            if let Some((shared, pieces)) = &mut self.open {
                if let Some(piece) = pieces.next() {
                    row.clone_from(shared);
                    add_piece(&piece, row);
                    return Ok(Step::Row);
                }
                self.open = None;
            }
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
            let (reason, message) = match read(line, row) {
                Ok(()) => return Ok(Step::Row),
                Err(fault) => fault,
            };
            match custom_item(line) {
                Some(Ok(item)) => {
                    row.clear();
                    row.line = number;
                    if let Some(message) = too_large(&item) {
                        return Ok(Step::Fault(RowFault::new(number, Refusal::InvalidValue, message)));
                    }
                    let pieces = item.value.pieces();
                    take_custom(item, row);
                    if pieces.is_empty() {
                        return Ok(Step::Row);
                    }
                    self.open = Some((row.clone(), pieces.into_iter()));
                }
                Some(Err(fault)) => return Ok(Step::Fault(RowFault { line: number, ..fault })),
                None => return Ok(Step::Fault(RowFault::new(number, reason, message))),
            }
        }
    }
}

/// A line that has what only items of `/custom` have; `None` where it has none of that.
fn custom_item(line: &[u8]) -> Option<Result<CustomMetric, RowFault>> {
    let list = [b"[".as_slice(), line, b"]"].concat();
    let items = custom::decode(&list, &CustomLimits { max_items: 1 }).ok()?;
    Some(match items.into_iter().next()? {
        Ok(item) => Ok(item),
        Err(error) => {
            let of_custom =
                ["histogram", "summary", "exemplars"].iter().any(|field| error.field.starts_with(field));
            if !of_custom {
                return None;
            }
            Err(RowFault::new(0, error.refusal, format!("{}: {}", error.field, error.message)))
        }
    })
}

/// What is said of an item that becomes more than it may: many labels stand once in its line, and in a row for every bucket.
fn too_large(item: &CustomMetric) -> Option<String> {
    let values = match &item.value {
        CustomValue::Float(_) | CustomValue::Native(_) => return None,
        CustomValue::Classic(histogram) => histogram.buckets.len(),
        CustomValue::Summary(summary) => summary.quantiles.len(),
    };
    let family = [&item.help_text, &item.unit].into_iter().flatten().map(String::len).sum::<usize>();
    let size = item.expanded_size().saturating_add(family.saturating_mul(values + 3));
    (size > MAX_ROWS).then(|| {
        format!(
            "its {values} buckets or quantiles become more than {MAX_ROWS} bytes of series with the labels of each; send \
             fewer of them, or shorter labels"
        )
    })
}

fn take_custom(item: CustomMetric, row: &mut Row) {
    row.name = item.name;
    row.family.clone_from(&row.name);
    row.kind = kind_of(item.metric_type);
    row.timestamp = item.timestamp;
    for (name, value) in &item.labels {
        row.labels.push(name, value);
    }
    row.help = item.help_text.unwrap_or_default();
    row.unit = item.unit.unwrap_or_default();
    match item.value {
        CustomValue::Float(value) => row.value = RowValue::Float(value),
        CustomValue::Native(histogram) => row.value = RowValue::Histogram(histogram),
        CustomValue::Classic(_) | CustomValue::Summary(_) => {}
    }
}

fn add_piece(piece: &Piece, row: &mut Row) {
    row.name.push_str(piece.suffix);
    if let Some((name, value)) = &piece.label {
        row.labels.push(name, value);
    }
    row.value = RowValue::Float(piece.value);
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
