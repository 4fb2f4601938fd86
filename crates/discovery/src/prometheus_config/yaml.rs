//! Reads YAML into a tree that remembers lines and columns.
//!
//! Scalars stay the text that was written: what they mean is for the field to say, so that a label of the form `0123`
//! or `1e5`, or a pattern `8080`, is not read as a number on its way to a text.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Budget, Location, Options, RenderOptions, SnippetMode, Spanned, UserMessageFormatter};

use super::context::Place;

/// Nodes of a file, with those that aliases repeat.
const MAX_NODES: usize = 1_000_000;
/// Nodes and ends of lists and sections that aliases may repeat.
const MAX_REPEATED: usize = 500_000;
/// Lists and sections within each other; each takes some of the stack, and no field lies deeper than ten.
const MAX_DEPTH: usize = 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Nothing,
    /// A scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; no key is there twice.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

impl Node {
    /// Whether nothing is said: no scalar anywhere in it.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Nothing => true,
            Value::Text(_) => false,
            Value::List(items) => items.iter().all(Self::is_empty),
            Value::Map(entries) => entries.iter().all(|(_, node)| node.is_empty()),
        }
    }
}

/// Reads a text, or says what is wrong with it and where.
pub(super) fn read(text: &str) -> Result<Node, (Place, String)> {
    if text.trim().is_empty() {
        return Ok(Node { place: Place { line: 1, column: 1 }, value: Value::Nothing });
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(tree) => Ok(node(tree, text)),
        Err(error) => {
            let mut options = RenderOptions::new(&UserMessageFormatter);
            options.snippets = SnippetMode::Off;
            let message = error.render_with_options(options);
            // The place stands before the message already.
            let message = message.split_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            let place = error.location().as_ref().map(place).unwrap_or_default();
            Err((place, message.to_owned()))
        }
    }
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_nodes = MAX_NODES;
    budget.max_events = 3 * MAX_NODES;
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    // One anchor may stand for the TLS settings of a thousand jobs; what that comes to is bounded below.
    budget.enforce_alias_anchor_ratio = false;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = MAX_REPEATED;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options
}

fn place(location: &Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

/// A node as the parser hands it out: a scalar that is no text (`true`, `12`) is looked up in the source again.
enum Raw {
    Nothing,
    Text(String),
    Other,
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(spanned: Spanned<Raw>, source: &str) -> Node {
    let place = place(&spanned.referenced);
    let value = match spanned.value {
        Raw::Nothing => Value::Nothing,
        Raw::Text(text) => Value::Text(text),
        Raw::Other => Value::Text(source_text(&spanned.defined, source).to_owned()),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => {
            let entry = |(key, value)| (self::key(key), node(value, source));
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { place, value }
}

fn key(spanned: Spanned<String>) -> Key {
    Key { place: place(&spanned.referenced), name: spanned.value }
}

/// The characters of the file that a scalar stands for.
fn source_text<'a>(place: &Location, source: &'a str) -> &'a str {
    let span = place.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(start, len)| {
        let start = usize::try_from(start).ok()?;
        source.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    });
    range.unwrap_or_default().trim()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
