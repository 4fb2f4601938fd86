//! Labels as both databases keep them: the metric name in a column, all others in a JSON object.

use std::borrow::Cow;
use std::fmt;

use metricsd_model::{LabelSet, METRIC_NAME};
use metricsd_ports::PortError;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::damaged;

/// Reads them back. Every series comes by here when an index is loaded, so that nothing is copied that need not be.
pub fn read(metric_name: &str, json: &[u8]) -> Result<LabelSet, PortError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let pairs = reader.deserialize_map(Pairs).and_then(|pairs| reader.end().map(|()| pairs));
    let mut pairs = pairs.map_err(|error| damaged("damaged labels in the database").caused_by(error))?;
    pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(metric_name)));
    LabelSet::new(pairs).map_err(|error| damaged("damaged labels in the database").caused_by(error))
}

/// Name and value.
type Pair<'t> = (Cow<'t, str>, Cow<'t, str>);

struct Pairs;

impl<'t> Visitor<'t> for Pairs {
    type Value = Vec<Pair<'t>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::with_capacity(16);
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}

/// Borrowed unless it holds an escape.
struct Text<'t>(Cow<'t, str>);

impl<'t> serde::Deserialize<'t> for Text<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'t> Visitor<'t> for TextVisitor {
    type Value = Text<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_and_damage_is_told() {
        let labels = read("up", br#"{"z": "1", "a": "\"quoted\" \u00e9", "": ""}"#);
        assert!(labels.is_err(), "a label without a name");
        let labels = read("up", br#"{"z": "1", "a": "\"quoted\" \u00e9"}"#).unwrap();
        let expected = [("__name__", "up"), ("a", "\"quoted\" é"), ("z", "1")];
        assert_eq!(labels, LabelSet::new(expected).unwrap());
        for damage in
            [&b"{\"a\": 1}"[..], b"[]", b"", b"{} {}", b"{\"a\": \"\xff\"}", b"{\"a\":\"1\",\"a\":\"2\"}"]
        {
            assert!(read("up", damage).is_err(), "{damage:?}");
        }
    }
}
