//! Histograms, summaries and exemplars in JSON: read without complaint, within bounds, and judged afterwards.

use std::fmt;

use metricsd_model::{NativeHistogram, Refusal, ResetHint, Span};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::loose::Text;
use super::metric::{ClassicHistogram, CustomValue, ItemExemplar, Summary, Wrong};
use super::{checks, item};

/// Values within one field of an item; what is beyond is passed over, and said.
const MAX_VALUES: usize = 20_000;

/// A JSON value.
#[derive(Debug)]
pub(super) enum Rich {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Rich>),
    Object(Vec<(String, Rich)>),
    Other(&'static str),
}

struct Budget<'a>(&'a mut usize);

impl<'de> Deserialize<'de> for Rich {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut left = MAX_VALUES;
        let value = Budget(&mut left).deserialize(deserializer)?;
        Ok(if left == 0 { Self::Other("more values than an item may have") } else { value })
    }
}

impl<'de> DeserializeSeed<'de> for Budget<'_> {
    type Value = Rich;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rich, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Budget<'_> {
    type Value = Rich;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Rich, E> {
        Ok(Rich::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Rich, E> {
        Ok(Rich::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Rich, E> {
        Ok(Rich::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Rich, E> {
        Ok(Rich::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Rich, E> {
        Ok(Rich::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Rich, E> {
        Ok(Rich::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rich, A::Error> {
        let mut values = Vec::new();
        while *self.0 > 0 {
            *self.0 -= 1;
            match list.next_element_seed(Budget(self.0))? {
                Some(value) => values.push(value),
                None => return Ok(Rich::List(values)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Rich::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Rich, A::Error> {
        let mut pairs = Vec::new();
        while *self.0 > 0 {
            *self.0 -= 1;
            let Some(Text(key)) = object.next_key()? else { return Ok(Rich::Object(pairs)) };
            pairs.push((key.into_owned(), object.next_value_seed(Budget(self.0))?));
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Rich::Object(pairs))
    }
}

impl Rich {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Other(kind) => kind,
        }
    }

    fn unexpected(&self, field: &str, expected: &str) -> Wrong {
        Wrong::new(field, Refusal::InvalidValue, format!("expected {expected}, found {}", self.kind()))
    }

    fn number(&self, field: &str) -> Result<f64, Wrong> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => item::special(text)
                .ok_or_else(|| self.unexpected(field, "a number, \"NaN\", \"+Inf\" or \"-Inf\"")),
            _ => Err(self.unexpected(field, "a number, \"NaN\", \"+Inf\" or \"-Inf\"")),
        }
    }

    fn list(&self, field: &str) -> Result<&[Self], Wrong> {
        match self {
            Self::List(values) => Ok(values),
            _ => Err(self.unexpected(field, "a list")),
        }
    }

    fn numbers(&self, field: &str) -> Result<Vec<f64>, Wrong> {
        self.list(field)?.iter().map(|value| value.number(field)).collect()
    }

    /// Runs of buckets: pairs of an offset and a length.
    fn spans(&self, field: &str) -> Result<Vec<Span>, Wrong> {
        let span = |value: &Self| match value.numbers(field)?.as_slice() {
            [offset, length] if whole(*offset, i32::MIN.into()) && whole(*length, 0.0) => {
                Ok(Span { offset: *offset as i32, length: *length as u32 })
            }
            _ => Err(Wrong::new(field, Refusal::InvalidValue, "expected pairs of an offset and a length")),
        };
        self.list(field)?.iter().map(span).collect()
    }
}

fn whole(number: f64, least: f64) -> bool {
    number.fract() == 0.0 && (least..=f64::from(i32::MAX)).contains(&number)
}

/// Reads pairs of an object whose keys are numbers.
fn by_number(value: &Rich, field: &str) -> Result<Vec<(f64, f64)>, Wrong> {
    let Rich::Object(pairs) = value else {
        return Err(value.unexpected(field, "an object of numbers by number"));
    };
    let mut found = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let number =
            item::special(key).or_else(|| key.parse().ok().filter(|number: &f64| number.is_finite()));
        let Some(number) = number else {
            let key = checks::quote(key);
            return Err(Wrong::new(field, Refusal::InvalidValue, format!("{key:?} is not a number")));
        };
        found.push((number, value.number(field)?));
    }
    Ok(found)
}

/// A field of an object that came twice counts once, the last.
fn unknown(field: &str, key: &str, expected: &str) -> Wrong {
    let field = format!("{field}.{}", checks::quote(key));
    Wrong::new(field, Refusal::InvalidValue, format!("unknown field; expected {expected}"))
}

/// The value of `histogram`: with buckets by upper bound, or native where it has a schema. `None` for `null`.
pub(super) fn histogram(value: &Rich) -> Result<Option<CustomValue>, Wrong> {
    let pairs = match value {
        Rich::Null => return Ok(None),
        Rich::Object(pairs) => pairs,
        other => return Err(other.unexpected("histogram", "an object")),
    };
    if pairs.iter().any(|(key, _)| key == "schema") {
        return native(pairs).map(|histogram| Some(CustomValue::Native(Box::new(histogram))));
    }
    let mut histogram = ClassicHistogram::default();
    for (key, value) in pairs {
        match key.as_str() {
            "buckets" => histogram.buckets = by_number(value, "histogram.buckets")?,
            "sum" => histogram.sum = value.number("histogram.sum")?,
            "count" => histogram.count = value.number("histogram.count")?,
            _ => return Err(unknown("histogram", key, "buckets, sum and count, or schema and its fields")),
        }
    }
    histogram.buckets.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
    checks::classic(&histogram)?;
    Ok(Some(CustomValue::Classic(histogram)))
}

fn native(pairs: &[(String, Rich)]) -> Result<NativeHistogram, Wrong> {
    let mut histogram = NativeHistogram::default();
    for (key, value) in pairs {
        let field = format!("histogram.{}", checks::quote(key));
        match key.as_str() {
            "schema" => {
                let schema = value.number(&field)?;
                if !whole(schema, -53.0) || schema > 8.0 {
                    return Err(Wrong::new(field, Refusal::InvalidValue, "expected -53 or -4 to 8"));
                }
                histogram.schema = schema as i32;
            }
            "zero_threshold" => histogram.zero_threshold = value.number(&field)?,
            "zero_count" => histogram.zero_count = value.number(&field)?,
            "count" => histogram.count = value.number(&field)?,
            "sum" => histogram.sum = value.number(&field)?,
            "positive_spans" => histogram.positive_spans = value.spans(&field)?,
            "positive_buckets" => histogram.positive_buckets = value.numbers(&field)?,
            "negative_spans" => histogram.negative_spans = value.spans(&field)?,
            "negative_buckets" => histogram.negative_buckets = value.numbers(&field)?,
            "custom_values" => histogram.custom_values = value.numbers(&field)?,
            "gauge" => match value {
                Rich::Bool(true) => histogram.reset_hint = ResetHint::Gauge,
                Rich::Bool(false) => {}
                _ => return Err(value.unexpected(&field, "a boolean")),
            },
            _ => return Err(unknown("histogram", key, "those of a native histogram")),
        }
    }
    histogram.validate().map_err(|message| Wrong::new("histogram", Refusal::InvalidValue, message))?;
    Ok(histogram)
}

/// The value of `summary`; `None` for `null`.
pub(super) fn summary(value: &Rich) -> Result<Option<CustomValue>, Wrong> {
    let pairs = match value {
        Rich::Null => return Ok(None),
        Rich::Object(pairs) => pairs,
        other => return Err(other.unexpected("summary", "an object")),
    };
    let mut summary = Summary::default();
    for (key, value) in pairs {
        match key.as_str() {
            "quantiles" => summary.quantiles = by_number(value, "summary.quantiles")?,
            "sum" => summary.sum = value.number("summary.sum")?,
            "count" => summary.count = value.number("summary.count")?,
            _ => return Err(unknown("summary", key, "quantiles, sum and count")),
        }
    }
    checks::summary(&summary)?;
    Ok(Some(CustomValue::Summary(summary)))
}

/// The value of `exemplars`.
pub(super) fn exemplars(value: &Rich) -> Result<Option<Vec<ItemExemplar>>, Wrong> {
    if let Rich::Null = value {
        return Ok(None);
    }
    value.list("exemplars")?.iter().map(exemplar).collect::<Result<_, _>>().map(Some)
}

fn exemplar(value: &Rich) -> Result<ItemExemplar, Wrong> {
    let Rich::Object(pairs) = value else {
        return Err(value.unexpected("exemplars", "an object"));
    };
    let mut exemplar = ItemExemplar::default();
    for (key, value) in pairs {
        match (key.as_str(), value) {
            ("value", value) => exemplar.value = value.number("exemplars.value")?,
            ("timestamp", Rich::Number(number)) => exemplar.timestamp = item::millis(*number),
            ("timestamp", Rich::Text(text)) => exemplar.timestamp = item::rfc3339(text),
            ("timestamp", Rich::Null) => {}
            ("labels", Rich::Object(pairs)) => {
                for (name, value) in pairs {
                    let Rich::Text(text) = value else {
                        return Err(value.unexpected("exemplars.labels", "strings"));
                    };
                    exemplar.labels.push((name.clone(), text.clone()));
                }
            }
            ("labels", other) => return Err(other.unexpected("exemplars.labels", "an object of strings")),
            _ => return Err(unknown("exemplars", key, "labels, value and timestamp")),
        }
    }
    Ok(exemplar)
}
