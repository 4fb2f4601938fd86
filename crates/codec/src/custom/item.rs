//! One item of the list: read to its end whatever it holds, then judged.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;
use metricsd_model::{MetricSource, MetricType, Millis, Refusal};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::checks::{label_field, quote};
use super::loose::{Leaf, Loose, Text};
use super::metric::{CustomMetric, CustomValue, ItemExemplar, Wrong};
use super::rich::{self, Rich};

/// Reads an item; fails only where the JSON itself is damaged.
pub(super) struct ItemSeed;

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Result<CustomMetric, Wrong>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

fn no_object(kind: &str) -> Result<CustomMetric, Wrong> {
    Err(Wrong::new("", Refusal::InvalidValue, format!("expected an object, found {kind}")))
}

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Result<CustomMetric, Wrong>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metric")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut draft = Draft::default();
        let mut wrong = None;
        while let Some(Text(field)) = object.next_key()? {
            if wrong.is_some() {
                object.next_value::<IgnoredAny>()?;
            } else if matches!(field.as_ref(), "histogram" | "summary" | "exemplars") {
                wrong = draft.set_rich(&field, &object.next_value()?).err();
            } else {
                wrong = draft.set(&field, object.next_value()?).err();
            }
        }
        Ok(wrong.map_or_else(|| draft.finish(), Err))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(no_object("a list"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(no_object("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(no_object("a boolean"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(no_object("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(no_object("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(no_object("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(no_object("a string"))
    }
}

/// The fields met so far. A field that is `null` counts as left out.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    metric_type: Option<MetricType>,
    value: Option<f64>,
    labels: Option<Vec<(String, String)>>,
    timestamp: Option<Millis>,
    source: Option<MetricSource>,
    help_text: Option<String>,
    unit: Option<String>,
    rich: Option<CustomValue>,
    exemplars: Option<Vec<ItemExemplar>>,
}

impl Draft {
    fn set_rich(&mut self, field: &str, value: &Rich) -> Result<(), Wrong> {
        let refusal = Refusal::InvalidValue;
        match field {
            "histogram" => fill(&mut self.rich, field, refusal, rich::histogram(value)?),
            "summary" => fill(&mut self.rich, field, refusal, rich::summary(value)?),
            _ => fill(&mut self.exemplars, field, refusal, rich::exemplars(value)?),
        }
    }

    fn set(&mut self, field: &str, value: Loose<'_>) -> Result<(), Wrong> {
        match field {
            "name" => put(&mut self.name, field, value, Refusal::InvalidName, text),
            "metric_type" => put(&mut self.metric_type, field, value, Refusal::InvalidValue, |value| {
                one_of(value, MetricType::from_name, MetricType::ALL)
            }),
            "value" => put(&mut self.value, field, value, Refusal::InvalidValue, float),
            "labels" => {
                let pairs = match value {
                    Loose::Object(pairs) => labels(pairs).map(Some)?,
                    Loose::Null => None,
                    other => {
                        return Err(unexpected(field, Refusal::InvalidLabel, "an object of strings", &other));
                    }
                };
                fill(&mut self.labels, field, Refusal::InvalidLabel, pairs)
            }
            "timestamp" => put(&mut self.timestamp, field, value, Refusal::InvalidValue, timestamp),
            "source" => put(&mut self.source, field, value, Refusal::InvalidValue, |value| {
                one_of(value, MetricSource::from_name, MetricSource::ALL)
            }),
            "help_text" => put(&mut self.help_text, field, value, Refusal::InvalidValue, text),
            "unit" => put(&mut self.unit, field, value, Refusal::InvalidValue, text),
            _ => Err(Wrong::new(
                quote(field),
                Refusal::InvalidValue,
                "unknown field; expected name, metric_type, value, histogram, summary, labels, timestamp, source, \
                 help_text, unit or exemplars",
            )),
        }
    }

    fn finish(self) -> Result<CustomMetric, Wrong> {
        let missing = |field, refusal| Wrong::new(field, refusal, "missing");
        let name = self.name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| missing("name", Refusal::InvalidName))?;
        let (value, implied) = match (self.value, self.rich) {
            (Some(value), None) => (CustomValue::Float(value), MetricType::Custom),
            (None, Some(rich @ CustomValue::Summary(_))) => (rich, MetricType::Summary),
            (None, Some(rich)) => (rich, MetricType::Histogram),
            (None, None) => return Err(missing("value", Refusal::InvalidValue)),
            (Some(_), Some(_)) => {
                let message = "given beside a histogram or a summary";
                return Err(Wrong::new("value", Refusal::InvalidValue, message));
            }
        };
        Ok(CustomMetric {
            name,
            metric_type: self.metric_type.unwrap_or(implied),
            value,
            labels: self.labels.unwrap_or_default(),
            timestamp: self.timestamp,
            source: self.source.unwrap_or_default(),
            help_text: self.help_text,
            unit: self.unit,
            exemplars: self.exemplars.unwrap_or_default(),
        })
    }
}

/// Reads a value into its place; `read` gives what it expected instead where the value does not fit.
fn put<'de, T>(
    place: &mut Option<T>,
    field: &str,
    value: Loose<'de>,
    refusal: Refusal,
    read: impl FnOnce(&Loose<'de>) -> Result<T, String>,
) -> Result<(), Wrong> {
    let read = match &value {
        Loose::Null => None,
        value => Some(read(value).map_err(|expected| unexpected(field, refusal, &expected, value))?),
    };
    fill(place, field, refusal, read)
}

fn fill<T>(place: &mut Option<T>, field: &str, refusal: Refusal, value: Option<T>) -> Result<(), Wrong> {
    if place.is_some() {
        return Err(Wrong::new(field, refusal, "given more than once"));
    }
    *place = value;
    Ok(())
}

fn unexpected(field: impl Into<String>, refusal: Refusal, expected: &str, found: &Loose<'_>) -> Wrong {
    let found = match found {
        Loose::Text(text) => format!("{:?}", quote(text)),
        Loose::Number(number) => number.to_string(),
        other => other.kind().to_owned(),
    };
    Wrong::new(field, refusal, format!("expected {expected}, found {found}"))
}

fn text(value: &Loose<'_>) -> Result<String, String> {
    match value {
        Loose::Text(text) => Ok(text.clone().into_owned()),
        _ => Err("a string".to_owned()),
    }
}

fn one_of<T: Copy + fmt::Display>(
    value: &Loose<'_>,
    from_name: fn(&str) -> Option<T>,
    all: &[T],
) -> Result<T, String> {
    let found = if let Loose::Text(text) = value { from_name(text) } else { None };
    found.ok_or_else(|| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        format!("one of {}", names.join(", "))
    })
}

fn float(value: &Loose<'_>) -> Result<f64, String> {
    match value {
        Loose::Number(number) => return Ok(*number),
        Loose::Text(text) => {
            if let Some(number) = special(text) {
                return Ok(number);
            }
        }
        _ => {}
    }
    Err("a number, \"NaN\", \"+Inf\" or \"-Inf\"".to_owned())
}

/// Numbers that JSON does not have.
pub(super) fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Inf" | "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn timestamp(value: &Loose<'_>) -> Result<Millis, String> {
    let found = match value {
        Loose::Number(number) => millis(*number),
        Loose::Text(text) => rfc3339(text),
        _ => None,
    };
    found.ok_or_else(|| "RFC 3339 or whole milliseconds since the epoch".to_owned())
}

/// Whole milliseconds.
pub(super) fn millis(number: f64) -> Option<Millis> {
    // Beyond 2^53 a float no longer counts single milliseconds, and no calendar goes that far.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= LIMIT).then_some(number as Millis)
}

pub(super) fn rfc3339(text: &str) -> Option<Millis> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

fn labels(pairs: Vec<(Cow<'_, str>, Leaf<'_>)>) -> Result<Vec<(String, String)>, Wrong> {
    let mut labels: Vec<(String, String)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        match value {
            Leaf::Text(value) => labels.push((name.into_owned(), value.into_owned())),
            Leaf::Other(kind) => {
                let message = format!("expected a string, found {kind}");
                return Err(Wrong::new(label_field(&name), Refusal::InvalidLabel, message));
            }
        }
    }
    Ok(labels)
}
