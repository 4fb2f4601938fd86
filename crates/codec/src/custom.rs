//! The body of `POST /api/v1/metrics/custom`: a JSON list of metrics.
//!
//! The list is read in one pass, item by item. What is wrong with an item is said of that item alone; only a body
//! that is not a JSON list at all is refused as a whole.

mod item;
mod loose;

use std::fmt;

use metricsd_model::{MetricSource, MetricType, Millis, Refusal};
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};

use item::ItemSeed;

/// A metric as pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomMetric {
    /// Not empty; otherwise as sent.
    pub name: String,
    /// `CUSTOM` where none was given.
    pub metric_type: MetricType,
    /// Any float.
    pub value: f64,
    /// In the order of the body; no name twice.
    pub labels: Vec<(String, String)>,
    /// `None` stands for the time of arrival.
    pub timestamp: Option<Millis>,
    /// `APPLICATION` where none was given.
    pub source: MetricSource,
    /// Where one was given.
    pub help_text: Option<String>,
}

/// Bounds on a body; its size in bytes is the caller's to limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomLimits {
    /// Most items.
    pub max_items: usize,
}

/// Why one item is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {index}: {field}: {message}")]
pub struct ItemError {
    /// Position in the list, from 0.
    pub index: usize,
    /// The field at fault, such as `value` or `labels.host`; empty where the item is no object.
    pub field: String,
    /// What was expected.
    pub message: String,
    /// The reason for the ledger.
    pub refusal: Refusal,
}

/// Why the whole body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or JSON that is not a list.
    #[error("expected a JSON list of metrics: {message} at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 where the body is empty.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// More items than allowed.
    #[error("more than {limit} items")]
    TooManyItems {
        /// The limit.
        limit: usize,
    },
}

/// Items in the order of the body, good and bad.
pub type Items = Vec<Result<CustomMetric, ItemError>>;

/// Reads a body. A number too large for a float (`1e999`) is an error of JSON, and thus of the body.
pub fn decode(body: &[u8], limits: &CustomLimits) -> Result<Items, BodyError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut overflow = false;
    let list = ListVisitor { max_items: limits.max_items, overflow: &mut overflow };
    let items = json.deserialize_seq(list).and_then(|items| json.end().map(|()| items));
    items.map_err(|error| match overflow {
        true => BodyError::TooManyItems { limit: limits.max_items },
        false => BodyError::Syntax {
            line: error.line(),
            column: error.column(),
            message: without_position(&error),
        },
    })
}

/// serde_json writes the position at the end of its messages; ours has it in fields.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]).to_owned()
}

struct ListVisitor<'a> {
    max_items: usize,
    overflow: &'a mut bool,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut items = Vec::new();
        loop {
            let index = items.len();
            if index == self.max_items {
                *self.overflow = list.next_element::<serde::de::IgnoredAny>()?.is_some();
                return match *self.overflow {
                    true => Err(serde::de::Error::custom("too many items")),
                    false => Ok(items),
                };
            }
            match list.next_element_seed(ItemSeed { index })? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
    }
}

#[cfg(test)]
mod tests;
