//! Items as protobuf: `proto/custom_metrics.proto`.
//!
//! The fields that tell an item from others have the lowest numbers, so that encoders write them first: their bytes are
//! the name under which the item is known.

use metricsd_model::{MetricSource, MetricType, Refusal};

use super::memory::mix;
use super::metric::{ClassicHistogram, CustomMetric, CustomValue, ItemExemplar, Summary, Wrong};
use super::{BodyError, CustomWriter, checks};
use crate::remote_write::HistogramBytes;
use crate::wire::{Reader, Wire, WireError};

/// Fields of `Metrics`.
const METRICS: u32 = 1;
const FIRST_SEQUENCE: u32 = 2;

/// Fields of `Metric` that tell it from others have numbers up to this.
const LAST_OF_IDENTITY: u8 = 6;

/// `Metric.value` and `Metric.timestamp` as they are written.
const VALUE_TAG: u8 = 7 << 3 | 1;
const TIMESTAMP_TAG: u8 = 8 << 3;

/// Buckets or quantiles of one item, and labels of an exemplar.
const MAX_PARTS: usize = 10_000;

/// Reads all items of a message.
pub(super) fn read(body: &[u8], out: &mut CustomWriter<'_>) -> Result<(), BodyError> {
    let mut reader = Reader::new(body, "the list of metrics");
    while !reader.is_empty() {
        match reader.tag()? {
            (METRICS, wire) => {
                let message = reader.message(wire, "a metric")?;
                let Some(index) = out.begin()? else { continue };
                item(message, index, out)?;
            }
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(())
}

/// `Metrics.first_sequence`: the number of the first item in its stream, where it is said.
///
/// # Errors
/// The bytes are no message.
pub fn first_sequence(body: &[u8]) -> Result<Option<u64>, WireError> {
    let mut first = None;
    let mut reader = Reader::new(body, "the list of metrics");
    while !reader.is_empty() {
        match reader.tag()? {
            (FIRST_SEQUENCE, wire) => first = Some(reader.uint64(wire)?),
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(first.filter(|first| *first > 0))
}

#[inline]
fn item(message: Reader<'_>, index: usize, out: &mut CustomWriter<'_>) -> Result<(), BodyError> {
    let mut key = None;
    if let Some((identity, rest)) = identity(message) {
        let identity = mix(out.key(), u64::MAX, identity);
        if let Some((value, timestamp)) = only_float(rest) {
            if out.float(index, identity, timestamp, value) {
                return Ok(());
            }
            key = Some(identity);
        }
    }
    let item = metric(message).unwrap_or_else(|error| {
        Err(Wrong::new("", Refusal::InvalidValue, format!("{} {}", error.what, error.problem)))
    });
    out.item(index, key, item)
}

/// The bytes of the fields that tell an item from others, where they stand at the front, and what follows.
#[inline]
fn identity(message: Reader<'_>) -> Option<(&[u8], Reader<'_>)> {
    let whole = message.rest();
    let mut reader = message;
    while let Some(tag) = reader.rest().first()
        && *tag < (LAST_OF_IDENTITY + 1) << 3
    {
        match reader.tag().ok()? {
            (_, Wire::Bytes) => drop(reader.bytes(Wire::Bytes).ok()?),
            (_, wire) => reader.skip(wire).ok()?,
        }
    }
    let length = whole.len() - reader.rest().len();
    Some((whole.get(..length)?, reader))
}

/// Value and time where nothing else follows.
#[inline]
fn only_float(mut reader: Reader<'_>) -> Option<(f64, Option<i64>)> {
    let (mut value, mut timestamp) = (0.0, None);
    if reader.rest().first() == Some(&VALUE_TAG) {
        let (_, wire) = reader.tag().ok()?;
        value = reader.double(wire).ok()?;
    }
    if reader.rest().first() == Some(&TIMESTAMP_TAG) {
        let (_, wire) = reader.tag().ok()?;
        timestamp = Some(reader.int64(wire).ok()?);
    }
    reader.is_empty().then_some((value, timestamp))
}

/// An item, field by field. The outer error is one of the message.
fn metric(mut reader: Reader<'_>) -> Result<Result<CustomMetric, Wrong>, WireError> {
    let mut draft = Draft::default();
    let mut wrong = None;
    while !reader.is_empty() {
        let (number, wire) = reader.tag()?;
        match draft.set(number, wire, &mut reader)? {
            Ok(()) => {}
            Err(found) => drop(wrong.get_or_insert(found)),
        }
    }
    Ok(wrong.map_or_else(|| draft.finish(), Err))
}

#[derive(Default)]
struct Draft {
    name: String,
    labels: Vec<(String, String)>,
    metric_type: Option<MetricType>,
    source: MetricSource,
    help_text: Option<String>,
    unit: Option<String>,
    value: Option<CustomValue>,
    timestamp: Option<i64>,
    exemplars: Vec<ItemExemplar>,
}

impl Draft {
    fn set(
        &mut self,
        number: u32,
        wire: Wire,
        reader: &mut Reader<'_>,
    ) -> Result<Result<(), Wrong>, WireError> {
        let text = |bytes: &[u8], field: &str, refusal| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Wrong::new(field, refusal, "not UTF-8")),
        };
        let fault = match number {
            1 => text(reader.bytes(wire)?, "name", Refusal::InvalidName).map(|name| self.name = name),
            2 => {
                let pair = label(reader.message(wire, "a label")?)?;
                pair.map(|pair| self.labels.push(pair))
            }
            3 => {
                known(reader.uint32(wire)?, &TYPES, "metric_type").map(|found| self.metric_type = Some(found))
            }
            4 => known(reader.uint32(wire)?, MetricSource::ALL, "source").map(|found| self.source = found),
            5 => text(reader.bytes(wire)?, "help_text", Refusal::InvalidValue)
                .map(|help| self.help_text = Some(help)),
            6 => text(reader.bytes(wire)?, "unit", Refusal::InvalidValue).map(|unit| self.unit = Some(unit)),
            7 => {
                self.value = Some(CustomValue::Float(reader.double(wire)?));
                Ok(())
            }
            8 => {
                self.timestamp = Some(reader.int64(wire)?);
                Ok(())
            }
            9 => {
                self.value = Some(CustomValue::Classic(classic(reader.message(wire, "a histogram")?)?));
                Ok(())
            }
            10 => {
                self.value = Some(CustomValue::Summary(summary(reader.message(wire, "a summary")?)?));
                Ok(())
            }
            11 => {
                let histogram = HistogramBytes::new(reader.message(wire, "a native histogram")?).decode()?;
                self.value = Some(CustomValue::Native(Box::new(histogram.histogram)));
                Ok(())
            }
            12 if self.exemplars.len() < MAX_PARTS => {
                let found = exemplar(reader.message(wire, "an exemplar")?)?;
                found.map(|found| self.exemplars.push(found))
            }
            _ => {
                reader.skip(wire)?;
                Ok(())
            }
        };
        Ok(fault)
    }

    fn finish(self) -> Result<CustomMetric, Wrong> {
        if self.name.is_empty() {
            return Err(Wrong::new("name", Refusal::InvalidName, "missing"));
        }
        // A float of 0 is not written by encoders.
        let value = self.value.unwrap_or(CustomValue::Float(0.0));
        let implied = match &value {
            CustomValue::Classic(histogram) => {
                checks::classic(histogram)?;
                MetricType::Histogram
            }
            CustomValue::Summary(summary) => {
                checks::summary(summary)?;
                MetricType::Summary
            }
            CustomValue::Native(_) => MetricType::Histogram,
            CustomValue::Float(_) => MetricType::Custom,
        };
        Ok(CustomMetric {
            name: self.name,
            metric_type: self.metric_type.filter(|found| *found != MetricType::Custom).unwrap_or(implied),
            value,
            labels: self.labels,
            timestamp: self.timestamp,
            source: self.source,
            help_text: self.help_text.filter(|text| !text.is_empty()),
            unit: self.unit.filter(|text| !text.is_empty()),
            exemplars: self.exemplars,
        })
    }
}

/// `MetricType` of the schema, by number.
const TYPES: [MetricType; 5] =
    [MetricType::Custom, MetricType::Counter, MetricType::Gauge, MetricType::Histogram, MetricType::Summary];

fn known<T: Copy>(number: u32, all: &[T], field: &str) -> Result<T, Wrong> {
    all.get(number as usize).copied().ok_or_else(|| {
        Wrong::new(
            field,
            Refusal::InvalidValue,
            format!("expected a number below {}, found {number}", all.len()),
        )
    })
}

type Pair = (String, String);

fn label(mut reader: Reader<'_>) -> Result<Result<Pair, Wrong>, WireError> {
    let (mut name, mut value) = (&b""[..], &b""[..]);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => name = reader.bytes(wire)?,
            (2, wire) => value = reader.bytes(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(match (std::str::from_utf8(name), std::str::from_utf8(value)) {
        (Ok(name), Ok(value)) => Ok((name.to_owned(), value.to_owned())),
        (Ok(name), Err(_)) => {
            Err(Wrong::new(checks::label_field(name), Refusal::InvalidLabel, "its value is not UTF-8"))
        }
        (Err(_), _) => Err(Wrong::new("labels", Refusal::InvalidLabel, "a label's name is not UTF-8")),
    })
}

/// Two floats: a bound and a count, or a quantile and a value.
fn pair(mut reader: Reader<'_>) -> Result<(f64, f64), WireError> {
    let (mut first, mut second) = (0.0, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire) => first = reader.double(wire)?,
            (2, wire) => second = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((first, second))
}

fn parts(mut reader: Reader<'_>, what: &'static str) -> Result<(Vec<(f64, f64)>, f64, f64), WireError> {
    let (mut parts, mut sum, mut count) = (Vec::new(), 0.0, 0.0);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, _) if parts.len() >= MAX_PARTS => return Err(reader.error("has more than 10000 parts")),
            (1, wire) => parts.push(pair(reader.message(wire, what)?)?),
            (2, wire) => sum = reader.double(wire)?,
            (3, wire) => count = reader.double(wire)?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok((parts, sum, count))
}

fn classic(reader: Reader<'_>) -> Result<ClassicHistogram, WireError> {
    let (buckets, sum, count) = parts(reader, "a bucket")?;
    Ok(ClassicHistogram { buckets, sum, count })
}

fn summary(reader: Reader<'_>) -> Result<Summary, WireError> {
    let (quantiles, sum, count) = parts(reader, "a quantile")?;
    Ok(Summary { quantiles, sum, count })
}

fn exemplar(mut reader: Reader<'_>) -> Result<Result<ItemExemplar, Wrong>, WireError> {
    let mut found = ItemExemplar::default();
    while !reader.is_empty() {
        match reader.tag()? {
            (1, _) if found.labels.len() >= MAX_PARTS => {
                return Err(reader.error("has more than 10000 labels"));
            }
            (1, wire) => match label(reader.message(wire, "a label")?)? {
                Ok(pair) => found.labels.push(pair),
                Err(wrong) => return Ok(Err(wrong)),
            },
            (2, wire) => found.value = reader.double(wire)?,
            (3, wire) => found.timestamp = Some(reader.int64(wire)?),
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(Ok(found))
}
