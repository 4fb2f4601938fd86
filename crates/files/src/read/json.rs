//! Objects of labels as JSON.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::labels::Labels;

/// A JSON object of texts, in its order.
#[derive(Debug)]
pub(super) struct Pairs<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A text that borrows where it can; serde's own never does inside of a pair.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Adds the labels of a JSON text; an empty one holds none.
pub(super) fn add_labels(text: &str, labels: &mut Labels) -> Result<(), String> {
    if text.is_empty() || text == "{}" {
        return Ok(());
    }
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| format!("labels: {error}"))?;
    for (name, value) in pairs {
        labels.push(&name, &value);
    }
    Ok(())
}
