//! All keys, as the serialised default configuration names them, with their variables and meanings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::nearest;
use super::meanings::meaning;
use super::settings::Settings;

/// What every variable of the environment begins with.
pub(super) const ENV_PREFIX: &str = "METRICSD_";

/// What the variables begin with that settings of targets given over the API may name.
pub(crate) const SECRET_PREFIX: &str = "METRICSD_SECRET_";

/// Variables that begin with [`ENV_PREFIX`] and are no keys: those of the tests, of the scripts, of targets, and of the
/// program.
const OTHER_PREFIXES: [&str; 3] = ["METRICSD_TEST_", "METRICSD_SERVICES_", SECRET_PREFIX];
const OTHER_NAMES: [&str; 4] = ["METRICSD_CONFIG", "METRICSD_LOG", "METRICSD_TOKEN", "METRICSD_URL"];

/// What a key's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text; durations and sizes read themselves.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// Several texts.
    List,
    /// Texts by name.
    Map,
}

/// One key that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// As in the file, with dots.
    pub(crate) path: String,
    /// Its variable.
    pub(crate) env: String,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// Its default as YAML writes it; empty where it has none.
    pub(crate) default: String,
    /// What it is for.
    pub(crate) meaning: &'static str,
}

/// Every key by its path, and the sections that hold them.
pub(crate) struct Keys {
    by_path: BTreeMap<String, Key>,
    sections: BTreeSet<String>,
}

impl Keys {
    /// Reads them off the default configuration.
    pub(crate) fn new() -> Self {
        let mut keys = Self { by_path: BTreeMap::new(), sections: BTreeSet::new() };
        let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
        keys.collect("", &defaults);
        keys
    }

    fn collect(&mut self, path: &str, value: &Value) {
        let kind = match value {
            Value::Object(section) if !section.is_empty() => {
                self.sections.insert(path.to_owned());
                for (name, value) in section {
                    self.collect(&join(path, name), value);
                }
                return;
            }
            Value::Object(_) => Kind::Map,
            Value::Array(_) => Kind::List,
            Value::Bool(_) => Kind::Switch,
            Value::Number(_) => Kind::Number,
            Value::Null | Value::String(_) => Kind::Text,
        };
        let env = format!("{ENV_PREFIX}{}", path.replace('.', "_").to_uppercase());
        let key = Key { path: path.to_owned(), env, kind, default: written(value), meaning: meaning(path) };
        self.by_path.insert(path.to_owned(), key);
    }

    /// All of them, by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.by_path.values()
    }

    /// The key of a path.
    pub(super) fn get(&self, path: &str) -> Option<&Key> {
        self.by_path.get(path)
    }

    /// Whether keys stand below this path.
    pub(super) fn is_section(&self, path: &str) -> bool {
        self.sections.contains(path)
    }

    /// The key that a path of the deserialiser (`roles[1]`, `events.settings.a.b`) belongs to.
    pub(super) fn owner(&self, path: &str) -> Option<&Key> {
        self.iter().find(|key| match path.strip_prefix(key.path.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        })
    }

    /// Names that stand directly in a section.
    pub(super) fn names_in<'a>(&'a self, section: &'a str) -> impl Iterator<Item = &'a str> {
        let paths = self.by_path.keys().chain(&self.sections).map(String::as_str);
        paths.filter(|path| !path.is_empty()).filter_map(move |path| match path.rsplit_once('.') {
            Some((parent, name)) => (parent == section).then_some(name),
            None => section.is_empty().then_some(path),
        })
    }

    /// What to say of a name that is none of a section's.
    pub(super) fn unknown_in(&self, section: &str, name: &str) -> String {
        let hint = match nearest(name, self.names_in(section)) {
            Some(name) => format!("did you mean {name}?"),
            None => {
                let mut names: Vec<&str> = self.names_in(section).collect();
                names.sort_unstable();
                format!("expected one of {}", names.join(", "))
            }
        };
        format!("unknown key; {hint}")
    }

    /// The key of a variable; `Ok(None)` for one that is not meant for the configuration.
    pub(super) fn of_variable(&self, variable: &str) -> Result<Option<&Key>, String> {
        let other = OTHER_PREFIXES.iter().any(|prefix| variable.starts_with(prefix));
        if !variable.starts_with(ENV_PREFIX) || other || OTHER_NAMES.contains(&variable) {
            return Ok(None);
        }
        if let Some(key) = self.iter().find(|key| key.env == variable) {
            return Ok(Some(key));
        }
        // Without the prefix, which says nothing and would make everything alike.
        let names = self.iter().map(|key| key.env.as_str()).chain(OTHER_NAMES);
        let names = names.filter_map(|name| name.strip_prefix(ENV_PREFIX));
        Err(match nearest(&variable[ENV_PREFIX.len()..], names) {
            Some(name) => format!("unknown variable; did you mean {ENV_PREFIX}{name}?"),
            None => "unknown variable; `metricsd config keys` lists all".to_owned(),
        })
    }
}

/// Puts a name under a section's path.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_of_its_own_and_a_meaning() {
        let keys = Keys::new();
        let variables: BTreeSet<&str> = keys.iter().map(|key| key.env.as_str()).collect();
        assert_eq!(variables.len(), keys.iter().count());
        for key in keys.iter() {
            assert_ne!(key.meaning, "", "{} needs its meaning in meanings.rs", key.path);
        }
        for (path, _) in super::super::meanings::MEANINGS {
            assert!(keys.get(path).is_some(), "{path} has a meaning but is no key");
        }
    }

    #[test]
    fn the_operations_page_lists_every_key() {
        let page = include_str!("../../../../docs/operations.md");
        for key in Keys::new().iter() {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", key.path)));
            let row = row.unwrap_or_else(|| panic!("docs/operations.md has no row for {}", key.path));
            assert!(row.contains(&format!("`{}`", key.env)), "{row} lacks {}", key.env);
            assert!(
                key.default.is_empty() || row.contains(&key.default),
                "{row} lacks the default {}",
                key.default
            );
        }
    }

    #[test]
    fn variables_find_their_keys() {
        let keys = Keys::new();
        let check = |variable: &str, expected: Result<Option<&str>, &str>| {
            let found = keys.of_variable(variable).map(|key| key.map(|key| key.path.as_str()));
            assert_eq!(found, expected.map_err(str::to_owned), "{variable}");
        };
        check("METRICSD_STORAGE_URL", Ok(Some("storage.url")));
        check("METRICSD_SCRAPE_DEFAULT_INTERVAL", Ok(Some("scrape.default_interval")));
        check("METRICSD_LIMITS_MAX_BODY_BYTES", Ok(Some("limits.max_body_bytes")));
        check("METRICSD_TEST_POSTGRES_URL", Ok(None));
        check("METRICSD_SERVICES_DIR", Ok(None));
        check("METRICSD_CONFIG", Ok(None));
        check("HOME", Ok(None));
        check("METRICSD_STORAGE_ULR", Err("unknown variable; did you mean METRICSD_STORAGE_URL?"));
        check("METRICSD_X", Err("unknown variable; `metricsd config keys` lists all"));
    }
}
