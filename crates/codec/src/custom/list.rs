//! A JSON list of items.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};

use super::item::ItemSeed;
use super::metric::{CustomMetric, ItemError, Wrong};
use super::usual::usual;
use super::{CustomWriter, checks};
use crate::wire::WireError;

/// Bounds on a body; its size in bytes is the caller's to limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomLimits {
    /// Most items.
    pub max_items: usize,
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
    /// Not a message of items.
    #[error("the body is not a message metricsd.custom.v1.Metrics: {0}")]
    Message(WireError),
    /// More items than allowed.
    #[error("more than {limit} items")]
    TooManyItems {
        /// The limit.
        limit: usize,
    },
    /// Its items take more room as series than there may be.
    #[error("the items become more than {limit} bytes of series")]
    TooLarge {
        /// How many there may be.
        limit: usize,
    },
}

/// Items in the order of the body, good and bad.
pub type Items = Vec<Result<CustomMetric, ItemError>>;

/// Reads a list. Items are scanned one behind the other; where the list itself does not read so, it is read as a whole
/// by one who says what is wrong with it, and where.
pub(super) fn read(body: &[u8], out: &mut CustomWriter<'_>) -> Result<(), BodyError> {
    match scan(body, out)? {
        Scanned::Whole => Ok(()),
        Scanned::Damaged => {
            let limits = CustomLimits { max_items: usize::MAX };
            match decode(body, &limits) {
                Err(error) => Err(error),
                // Both read the same language.
                Ok(_) => {
                    Err(BodyError::Syntax { line: 1, column: 0, message: "no list of items".to_owned() })
                }
            }
        }
    }
}

enum Scanned {
    Whole,
    Damaged,
}

fn scan(body: &[u8], out: &mut CustomWriter<'_>) -> Result<Scanned, BodyError> {
    let mut rest = body.trim_ascii();
    let Some(inside) = rest.strip_prefix(b"[") else { return Ok(Scanned::Damaged) };
    rest = inside.trim_ascii_start();
    if let Some(behind) = rest.strip_prefix(b"]") {
        return Ok(if behind.is_empty() { Scanned::Whole } else { Scanned::Damaged });
    }
    loop {
        let index = out.begin()?;
        let scanned = usual(rest, out.key());
        let known = match (scanned, index) {
            (Some(item), Some(index)) => out.float(index, item.key, item.timestamp, item.value),
            (Some(_), None) => true,
            _ => false,
        };
        let length = match scanned {
            Some(item) if known => item.length,
            _ => {
                let Some((item, length)) = one(rest) else { return Ok(Scanned::Damaged) };
                if let Some(index) = index {
                    out.item(index, scanned.map(|item| item.key), item)?;
                }
                length
            }
        };
        rest = rest.get(length..).unwrap_or_default().trim_ascii_start();
        match rest.split_first() {
            Some((b',', behind)) => rest = behind.trim_ascii_start(),
            Some((b']', [])) => return Ok(Scanned::Whole),
            _ => return Ok(Scanned::Damaged),
        }
    }
}

/// One item at the front, and the bytes that it takes; `None` where that is not JSON.
fn one(bytes: &[u8]) -> Option<(Result<CustomMetric, Wrong>, usize)> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let item = ItemSeed.deserialize(&mut json).ok()?;
    Some((item, json.into_iter::<IgnoredAny>().byte_offset()))
}

/// Reads a body into values. A number too large for a float (`1e999`) is an error of JSON, and thus of the body.
///
/// # Errors
/// The body is no JSON list, or has too many items.
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
pub(super) fn without_position(error: &serde_json::Error) -> String {
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
                *self.overflow = list.next_element::<IgnoredAny>()?.is_some();
                return match *self.overflow {
                    true => Err(serde::de::Error::custom("too many items")),
                    false => Ok(items),
                };
            }
            match list.next_element_seed(ItemSeed)? {
                Some(item) => {
                    let checked = item.and_then(|metric| checks::labels(&metric.labels).map(|()| metric));
                    items.push(checked.map_err(|wrong| wrong.at(index)));
                }
                None => return Ok(items),
            }
        }
    }
}
