//! Reads a YAML file into a tree that remembers its lines.
//!
//! Scalars stay the text that was written: what they mean is for the key to say, so that a key of the form `00123` or
//! `1e5` is not read as a number on its way to a text.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{RenderOptions, SnippetMode, Spanned, UserMessageFormatter};

use super::error::{Origin, Problem};

/// A value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing, `null` or `~`.
    Nothing,
    /// A scalar.
    Text(String),
    /// A sequence.
    List(Vec<Entry>),
    /// A mapping.
    Map(BTreeMap<String, Entry>),
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: Option<u64>,
    pub(super) value: Written,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Entry, Problem> {
    let refuse = |line, message: String| {
        Err(Problem { origin: Origin::File { path: path.to_owned(), line }, key: None, message })
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return refuse(None, format!("cannot be read: {error}")),
    };
    match serde_saphyr::from_str::<Spanned<Node>>(&text) {
        Ok(tree) => Ok(entry(tree, &text)),
        Err(error) => {
            let mut options = RenderOptions::new(&UserMessageFormatter);
            options.snippets = SnippetMode::Off;
            let message = error.render_with_options(options);
            // The place stands before the message already, as file:line.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            refuse(error.location().map(|place| place.line()), message.to_owned())
        }
    }
}

/// A node as the parser hands it out: a scalar that is no text (`true`, `12`) is looked up in the source again.
enum Node {
    Nothing,
    Text(String),
    Other,
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

fn entry(spanned: Spanned<Node>, source: &str) -> Entry {
    let line = Some(spanned.referenced.line()).filter(|line| *line > 0);
    let value = match spanned.value {
        Node::Nothing => Written::Nothing,
        Node::Text(text) => Written::Text(text),
        Node::Other => Written::Text(source_text(&spanned.defined, source).to_owned()),
        Node::List(items) => Written::List(items.into_iter().map(|item| entry(item, source)).collect()),
        Node::Map(items) => {
            Written::Map(items.into_iter().map(|(name, value)| (name, entry(value, source))).collect())
        }
    };
    Entry { line, value }
}

/// The characters of the file that a scalar stands for.
fn source_text<'a>(place: &serde_saphyr::Location, source: &'a str) -> &'a str {
    let span = place.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(start, len)| {
        let start = usize::try_from(start).ok()?;
        source.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    });
    range.unwrap_or_default().trim()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}
