//! One mapping of the file: fields are asked for by name, and what nobody asked for is a mistake.

use std::collections::BTreeMap;

use metricsd_model::{PromDuration, SecretSource};

use super::context::{Context, Place};
use super::value;
use super::yaml::{Key, Node, Value};

/// A mapping being read.
pub(super) struct Section<'a> {
    pub(super) cx: &'a Context,
    /// Where the section begins.
    pub(super) place: Place,
    path: String,
    fields: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A mapping, or nothing, which is a mapping without fields.
    pub(super) fn open(cx: &'a Context, path: String, node: &'a Node) -> Option<Self> {
        let fields: &[(Key, Node)] = match &node.value {
            Value::Map(fields) => fields,
            Value::Nothing => &[],
            other => {
                cx.problem(node.place, &path, format!("expected a section, found {}", describe(other)));
                return None;
            }
        };
        Some(Self { cx, place: node.place, path, fields, known: Vec::new() })
    }

    /// The path of a field of this section.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where a field is written; where the section begins if it is not.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.fields.iter().find(|(key, _)| key.name == name).map_or(self.place, |(key, _)| key.place)
    }

    /// Whether a field is written.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key.name == name)
    }

    /// A field that is written and says something.
    pub(super) fn field(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let (_, node) = self.fields.iter().find(|(key, _)| key.name == name)?;
        (node.value != Value::Nothing).then_some(node)
    }

    /// Takes every field whose name fits and that was not asked for yet.
    pub(super) fn others(
        &mut self,
        fits: impl Fn(&str) -> Option<&'static str>,
    ) -> Vec<(&'static str, &'a Node)> {
        let fields = self.fields.iter().filter(|(key, _)| !self.known.contains(&key.name.as_str()));
        let others: Vec<_> = fields.filter_map(|(key, node)| Some((fits(&key.name)?, node))).collect();
        self.known.extend(others.iter().map(|(name, _)| *name));
        others
    }

    /// A mistake in a field.
    pub(super) fn problem(&self, name: &str, message: impl Into<String>) {
        self.cx.problem(self.place_of(name), &self.path_of(name), message);
    }

    /// A mistake in the section as a whole.
    pub(super) fn problem_here(&self, message: impl Into<String>) {
        self.cx.problem(self.place, &self.path, message);
    }

    /// A scalar, read as `what` by `read`; what does not read is a mistake, and as if it were not written.
    pub(super) fn scalar<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.field(name)?;
        let outcome = match &node.value {
            Value::Text(text) => read(text),
            other => Err(format!("expected a single value, found {}", describe(other))),
        };
        outcome.map_err(|message| self.cx.problem(node.place, &self.path_of(name), message)).ok()
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.scalar(name, |text| Ok(text.to_owned()))
    }

    /// A text that says something.
    pub(super) fn filled(&mut self, name: &'static str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.scalar(name, value::flag)
    }

    /// A whole number, not negative.
    pub(super) fn count(&mut self, name: &'static str) -> Option<u64> {
        self.scalar(name, value::count)
    }

    /// A duration, 0 allowed.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<PromDuration> {
        self.scalar(name, value::duration)
    }

    /// Bytes.
    pub(super) fn size(&mut self, name: &'static str) -> Option<u64> {
        self.scalar(name, value::size)
    }

    /// A list of texts with the place of each. A list of one may be written without brackets by mistake; that is told.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<(String, Place)> {
        let items = self.list(name);
        let mut texts = Vec::with_capacity(items.len());
        for (path, item) in items {
            match &item.value {
                Value::Text(text) => texts.push((text.clone(), item.place)),
                Value::Nothing => texts.push((String::new(), item.place)),
                other => {
                    self.cx.problem(item.place, &path, format!("expected a text, found {}", describe(other)))
                }
            }
        }
        texts
    }

    /// The same without places.
    pub(super) fn plain_texts(&mut self, name: &'static str) -> Vec<String> {
        self.texts(name).into_iter().map(|(text, _)| text).collect()
    }

    /// A list, with the path of each item.
    pub(super) fn list(&mut self, name: &'static str) -> Vec<(String, &'a Node)> {
        let Some(node) = self.field(name) else { return Vec::new() };
        let path = self.path_of(name);
        match &node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            other => {
                let found = describe(other);
                self.cx.problem(
                    node.place,
                    &path,
                    format!("expected a list (`- …` or `[…]`), found {found}"),
                );
                Vec::new()
            }
        }
    }

    /// Entries of a mapping with free names: key, path and value of each.
    pub(super) fn entries(&mut self, name: &'static str) -> Vec<(&'a Key, String, &'a Node)> {
        let Some(node) = self.field(name) else { return Vec::new() };
        let path = self.path_of(name);
        match &node.value {
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key, format!("{path}.{}", key.name), node)).collect()
            }
            other => {
                self.cx.problem(node.place, &path, format!("expected a section, found {}", describe(other)));
                Vec::new()
            }
        }
    }

    /// A mapping of texts.
    pub(super) fn text_map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for (key, path, node) in self.entries(name) {
            match &node.value {
                Value::Text(text) => drop(map.insert(key.name.clone(), text.clone())),
                Value::Nothing => drop(map.insert(key.name.clone(), String::new())),
                other => {
                    self.cx.problem(node.place, &path, format!("expected a text, found {}", describe(other)));
                }
            }
        }
        map
    }

    /// A section within this one.
    pub(super) fn section(&mut self, name: &'static str) -> Option<Section<'a>> {
        let node = self.field(name)?;
        Section::open(self.cx, self.path_of(name), node)
    }

    /// A file whose content is read when it is needed.
    pub(super) fn file(&mut self, name: &'static str) -> Option<String> {
        let named = self.filled(name)?;
        let path = self.cx.resolve(&named);
        self.cx.reference(self.place_of(name), &path, &self.path_of(name));
        Some(path)
    }

    /// A secret that stands here, in a file or in the environment; at most one of them.
    pub(super) fn secret(&mut self, fields: &SecretFields) -> Option<SecretSource> {
        let inline =
            self.filled(fields.inline).map(|text| SecretSource::Inline(metricsd_model::Secret::new(text)));
        let file = self.file(fields.file).map(SecretSource::File);
        let env = fields.env.and_then(|name| self.filled(name)).map(SecretSource::Env);
        let ways = [(fields.inline, inline), (fields.file, file), (fields.env.unwrap_or_default(), env)];
        let mut given = ways.into_iter().filter_map(|(name, way)| Some((name, way?)));
        let (first, way) = given.next()?;
        for (name, _) in given {
            self.problem(name, format!("{first} is set as well; leave one of them"));
        }
        Some(way)
    }

    /// Every field that nobody asked for is a mistake. Whether there is none.
    pub(super) fn close(&self) -> bool {
        let unknown =
            self.fields.iter().map(|(key, _)| key).filter(|key| !self.known.contains(&key.name.as_str()));
        let mut is_whole = true;
        for key in unknown {
            is_whole = false;
            let shown: String = key.name.chars().take(80).collect();
            let message = match value::nearest(&key.name, self.known.iter().copied()) {
                Some(name) => format!("there is no such field; did you mean {name}?"),
                None => "there is no such field here".to_owned(),
            };
            self.cx.problem(key.place, &self.path_of(&shown), message);
        }
        is_whole
    }
}

/// The names under which one secret may be written.
pub(super) struct SecretFields {
    /// The secret itself.
    pub(super) inline: &'static str,
    /// A file that holds it.
    pub(super) file: &'static str,
    /// A variable of the environment that holds it; metricsd's own addition.
    pub(super) env: Option<&'static str>,
}

/// What a value is, in words.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Nothing => "nothing",
        Value::Text(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a section",
    }
}
