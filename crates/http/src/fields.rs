//! Reads JSON bodies field by field, so that an answer names everything that is wrong at once, and where.
//!
//! Every field is taken out of its object; what is left at the end is unknown and refused.

use metricsd_model::{PromDuration, parse_duration};
use serde_json::{Map, Value};

use crate::problem::{FieldError, Problem};

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes one.
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// A problem document where there are any.
    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Problem::fields(self.0)),
        }
    }

    /// Adds what another reading found.
    pub(crate) fn append(&mut self, other: Errors) {
        self.0.extend(other.0);
    }

    /// Whether nothing was wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads a body as a JSON object; the error says where it stops being JSON.
pub(crate) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Problem::malformed(format!("expected a JSON object, found {}", kind_of(&other)))),
        Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}"))),
    }
}

/// One object and the path that leads to it.
pub(crate) struct Fields<'e> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    errors: &'e mut Errors,
}

impl<'e> Fields<'e> {
    /// Starts with an object; `path` is empty for the body itself.
    pub(crate) fn new(path: impl Into<String>, map: Map<String, Value>, errors: &'e mut Errors) -> Self {
        Self { path: path.into(), map, known: Vec::new(), errors }
    }

    /// The path of one of its fields.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Notes what is wrong with a field.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.errors.add(path, message);
    }

    /// Takes a field; `null` counts as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Says that a field is missing.
    pub(crate) fn require<T>(&mut self, name: &'static str, value: Option<T>) -> Option<T> {
        let already = self.errors.0.iter().any(|error| error.field == self.path_of(name));
        if value.is_none() && !already {
            self.error(name, "is required");
        }
        value
    }

    /// A string.
    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.wrong_kind(name, "a string", &other),
        }
    }

    /// A boolean.
    pub(crate) fn bool(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            other => self.wrong_kind(name, "true or false", &other),
        }
    }

    /// A Prometheus duration.
    pub(crate) fn duration(&mut self, name: &'static str) -> Option<PromDuration> {
        let text = self.string(name)?;
        match parse_duration(&text) {
            Ok(duration) => Some(PromDuration(duration)),
            Err(error) => {
                self.error(name, error.to_string());
                None
            }
        }
    }

    /// One of a closed set of names.
    pub(crate) fn one_of<T: Copy>(&mut self, name: &'static str, all: &[(&'static str, T)]) -> Option<T> {
        let text = self.string(name)?;
        let found = all.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
            let text: String = text.chars().take(40).collect();
            self.error(name, format!("{text:?} is not one of {}", names.join(", ")));
        }
        found
    }

    /// An object inside.
    pub(crate) fn object(&mut self, name: &'static str) -> Option<Fields<'_>> {
        match self.take(name)? {
            Value::Object(map) => Some(Fields::new(self.path_of(name), map, self.errors)),
            other => self.wrong_kind(name, "an object", &other),
        }
    }

    /// A list inside.
    pub(crate) fn list(&mut self, name: &'static str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(list) => Some(list),
            other => self.wrong_kind(name, "a list", &other),
        }
    }

    /// An object whose values are strings.
    pub(crate) fn string_map(
        &mut self,
        name: &'static str,
    ) -> Option<std::collections::BTreeMap<String, String>> {
        let map = match self.take(name)? {
            Value::Object(map) => map,
            other => return self.wrong_kind(name, "an object of strings", &other),
        };
        let mut strings = std::collections::BTreeMap::new();
        for (key, value) in map {
            match value {
                Value::String(value) => {
                    strings.insert(key, value);
                }
                other => {
                    let message = format!("expected a string, found {}", kind_of(&other));
                    self.error(name, format!("{key:?}: {message}"));
                }
            }
        }
        Some(strings)
    }

    /// Where errors are noted, for what is checked outside.
    pub(crate) fn errors(&mut self) -> &mut Errors {
        self.errors
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) {
        for name in self.map.keys() {
            let shown: String = name.chars().take(60).collect();
            let path = if self.path.is_empty() { shown } else { format!("{}.{shown}", self.path) };
            self.errors.add(path, format!("is not known here; known are {}", self.known.join(", ")));
        }
    }

    fn wrong_kind<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        self.error(name, format!("expected {expected}, found {}", kind_of(found)));
        None
    }
}

/// What a value is, in words.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
