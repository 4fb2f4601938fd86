//! Lays the sources of the configuration over one another: flags over environment over file over defaults.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{Origin, Problem};
use super::file::{Entry, Written};
use super::keys::{Key, Keys, Kind, join};
use super::settings::Settings;
use super::size::ByteSize;

/// What was set so far, by the path of its key.
pub(super) struct Layers<'a> {
    keys: &'a Keys,
    values: BTreeMap<String, Value>,
    /// Where each of them comes from.
    pub(super) origins: BTreeMap<String, Origin>,
    /// What was wrong so far.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Layers<'a> {
    /// Nothing but defaults.
    pub(super) fn new(keys: &'a Keys) -> Self {
        Self { keys, values: BTreeMap::new(), origins: BTreeMap::new(), problems: Vec::new() }
    }

    /// Lays a file on top.
    pub(super) fn add_file(&mut self, path: &Path, root: Entry) {
        match root.value {
            Written::Nothing => {}
            Written::Map(section) => self.add_section(path, "", section),
            Written::Text(_) | Written::List(_) => {
                let origin = Origin::File { path: path.to_owned(), line: root.line };
                let message = "expected keys like `listen: 127.0.0.1:9099`".to_owned();
                self.problems.push(Problem { origin, key: None, message });
            }
        }
    }

    fn add_section(&mut self, file: &Path, section: &str, entries: BTreeMap<String, Entry>) {
        for (name, entry) in entries {
            let path = join(section, &name);
            let origin = Origin::File { path: file.to_owned(), line: entry.line };
            if let Some(key) = self.keys.get(&path) {
                self.add(&key.clone(), entry.value, origin);
                continue;
            }
            let message = match (self.keys.is_section(&path), entry.value) {
                (true, Written::Map(entries)) => {
                    self.add_section(file, &path, entries);
                    continue;
                }
                // A section whose keys are all commented out.
                (true, Written::Nothing) => continue,
                (true, _) => {
                    let names: Vec<&str> = self.keys.names_in(&path).collect();
                    format!("expected a section with keys such as {}", names.join(", "))
                }
                (false, _) => self.keys.unknown_in(section, &name),
            };
            self.problems.push(Problem { origin, key: Some(path), message });
        }
    }

    /// Lays the environment on top.
    pub(super) fn add_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, text) in environment {
            let origin = Origin::Environment(variable.clone());
            match self.keys.of_variable(variable) {
                Ok(Some(key)) => self.add(&key.clone(), Written::Text(text.clone()), origin),
                Ok(None) => {}
                Err(message) => self.problems.push(Problem { origin, key: None, message }),
            }
        }
    }

    /// Lays one flag on top.
    pub(super) fn add_flag(&mut self, flag: &'static str, path: &str, text: &str) {
        if let Some(key) = self.keys.get(path) {
            self.add(&key.clone(), Written::Text(text.to_owned()), Origin::Flag(flag));
        }
    }

    fn add(&mut self, key: &Key, written: Written, origin: Origin) {
        // An empty variable, as compose files leave them behind, unsets what has no default anyway.
        let unset =
            key.default.is_empty() && key.kind == Kind::Text && written == Written::Text(String::new());
        if unset || written == Written::Nothing {
            return;
        }
        match value_of(key, written) {
            Ok(value) => {
                self.values.insert(key.path.clone(), value);
                self.origins.insert(key.path.clone(), origin);
            }
            Err(message) => self.problems.push(Problem { origin, key: Some(key.path.clone()), message }),
        }
    }

    /// The settings that come out. A value that does not read is noted and left at its default, so that all such
    /// values are found.
    pub(super) fn settings(&mut self) -> Settings {
        loop {
            let tree = nested(&self.values);
            let error = match serde_path_to_error::deserialize::<_, Settings>(tree) {
                Ok(settings) => return settings,
                Err(error) => error,
            };
            let path = error.path().to_string();
            let owner = self.keys.owner(&path).map(|key| key.path.clone());
            let known = owner.filter(|path| self.values.remove(path).is_some());
            let origin = known.as_ref().and_then(|path| self.origins.get(path)).cloned();
            let finished = known.is_none();
            self.problems.push(Problem {
                origin: origin.unwrap_or(Origin::Default),
                key: Some(known.unwrap_or(path)),
                message: error.into_inner().to_string(),
            });
            if finished {
                return Settings::default();
            }
        }
    }
}

fn nested(values: &BTreeMap<String, Value>) -> Value {
    let mut root = Map::new();
    for (path, value) in values {
        put(&mut root, path, value.clone());
    }
    Value::Object(root)
}

fn put(section: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((name, rest)) = path.split_once('.') else {
        section.insert(path.to_owned(), value);
        return;
    };
    let below = section.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(below) = below {
        put(below, rest, value);
    }
}

/// What was written, as the kind of value that the key takes.
fn value_of(key: &Key, written: Written) -> Result<Value, String> {
    match (key.kind, written) {
        (Kind::Text, Written::Text(text)) => Ok(Value::String(text)),
        (Kind::Number, Written::Text(text)) => number(key, &text),
        (Kind::Switch, Written::Text(text)) => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("expected true or false, not {text:?}")),
        },
        (Kind::List, Written::Text(text)) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
        }
        (Kind::List, Written::List(items)) => items.into_iter().map(|item| text_of(item.value)).collect(),
        (Kind::Map, Written::Text(text)) => pairs(&text),
        (Kind::Map, Written::Map(items)) => {
            let items = items.into_iter().map(|(name, item)| Ok((name, text_of(item.value)?)));
            items.collect::<Result<Map<String, Value>, String>>().map(Value::Object)
        }
        (kind, _) => Err(format!("expected {}", expected(kind))),
    }
}

fn number(key: &Key, text: &str) -> Result<Value, String> {
    let plain = text.parse::<u64>().ok();
    let size = || ByteSize::parse(text).filter(|_| key.path.ends_with("_bytes")).map(|size| size.0 as u64);
    plain.or_else(size).map(Value::from).ok_or_else(|| {
        let size = if key.path.ends_with("_bytes") { " or a size like 64MiB" } else { "" };
        format!("expected a whole number{size}, not {text:?}")
    })
}

fn pairs(text: &str) -> Result<Value, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| match pair.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), Value::from(value.trim()))),
        None => Err("expected name=value pairs with commas between them".to_owned()),
    });
    pairs.collect::<Result<Map<String, Value>, String>>().map(Value::Object)
}

fn text_of(written: Written) -> Result<Value, String> {
    match written {
        Written::Text(text) => Ok(Value::String(text)),
        Written::Nothing => Err("expected a text, not an empty item".to_owned()),
        Written::List(_) | Written::Map(_) => {
            Err("expected plain texts, not a list or a section in it".to_owned())
        }
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "one text",
        Kind::Number => "a whole number",
        Kind::Switch => "true or false",
        Kind::List => "a list such as [a, b]",
        Kind::Map => "a section of names and texts",
    }
}
