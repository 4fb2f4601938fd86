//! Label sets in one canonical form: sorted, unique, without empty values.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::METRIC_NAME;

/// Stands after every name and every value. No UTF-8 text holds this byte, so the encoding is unambiguous.
const SEPARATOR: u8 = 0xff;

/// The sorted, unique name-value pairs that identify a series, metric name included as `__name__`.
///
/// One shared allocation: `name 0xff value 0xff name 0xff …`. These bytes are what series ids are hashed from,
/// so the form must never change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LabelSet(Arc<[u8]>);

impl Ord for LabelSet {
    /// Label by label, names before values, a text before its continuations.
    fn cmp(&self, other: &Self) -> Ordering {
        // What ends a text sorts before whatever could continue it.
        let key = |byte: &u8| if *byte == SEPARATOR { 0 } else { *byte };
        match self.0.iter().zip(&*other.0).find(|(a, b)| a != b) {
            Some((a, b)) => key(a).cmp(&key(b)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why pairs do not make a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The same name twice, with two values.
    #[error("label {0:?} is given more than once")]
    Duplicate(String),
    /// A label without a name.
    #[error("a label name is empty")]
    EmptyName,
    /// NUL cannot be kept by SQL text columns.
    #[error("label {0:?} holds a NUL character")]
    Nul(String),
}

impl LabelSet {
    /// Builds the canonical form. An empty value means that the label is absent, as in Prometheus.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut bytes =
            Vec::with_capacity(pairs.iter().map(|(n, v)| n.as_ref().len() + v.as_ref().len() + 2).sum());
        let mut last: Option<&str> = None;
        for (name, value) in &pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.is_empty() {
                return Err(LabelError::EmptyName);
            }
            if last == Some(name) {
                return Err(LabelError::Duplicate(name.to_owned()));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(LabelError::Nul(name.to_owned()));
            }
            last = Some(name);
            if value.is_empty() {
                continue;
            }
            encode((name, value), &mut bytes);
        }
        Ok(Self(bytes.into()))
    }

    /// The pairs in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split(|byte| *byte == SEPARATOR).map(text);
        std::iter::from_fn(move || {
            let name = parts.next()?;
            let value = parts.next()?;
            Some((name, value))
        })
    }

    /// The value of one label; `None` where it is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.raw().find(|pair| pair.name == name.as_bytes());
        found.map(|pair| text(pair.value))
    }

    /// The metric's name; empty where the set has none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// All pairs but the metric name.
    pub fn without_name(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(name, _)| *name != METRIC_NAME)
    }

    /// The pairs whose names are among `names`.
    pub fn keep(&self, names: &[impl AsRef<str>]) -> Self {
        self.retain(|name| names.iter().any(|kept| kept.as_ref().as_bytes() == name))
    }

    /// The pairs whose names are not among `names`.
    pub fn without(&self, names: &[impl AsRef<str>]) -> Self {
        self.retain(|name| !names.iter().any(|left_out| left_out.as_ref().as_bytes() == name))
    }

    /// All pairs but the metric name.
    pub fn without_metric_name(&self) -> Self {
        self.retain(|name| name != METRIC_NAME.as_bytes())
    }

    /// With one label set, replaced, or, where `value` is empty, removed. A label needs a name: an empty one changes
    /// nothing. NUL characters are not looked for, as they are only of concern to what will be stored.
    pub fn with(&self, name: &str, value: &str) -> Self {
        if name.is_empty() {
            return self.clone();
        }
        let mut bytes = Vec::with_capacity(self.0.len() + name.len() + value.len() + 2);
        let mut new = (!value.is_empty()).then_some((name, value));
        for pair in self.iter() {
            if pair.0 >= name
                && let Some(new) = new.take()
            {
                encode(new, &mut bytes);
            }
            if pair.0 != name {
                encode(pair, &mut bytes);
            }
        }
        if let Some(new) = new {
            encode(new, &mut bytes);
        }
        Self(bytes.into())
    }

    /// The pairs as they are encoded, which spares the look at every character that texts need.
    fn raw(&self) -> impl Iterator<Item = RawPair<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let name_end = memchr::memchr(SEPARATOR, rest)?;
            let value_end = name_end + 1 + memchr::memchr(SEPARATOR, rest.get(name_end + 1..)?)?;
            let (whole, after) = rest.split_at_checked(value_end + 1)?;
            rest = after;
            Some(RawPair { name: whole.get(..name_end)?, value: whole.get(name_end + 1..value_end)?, whole })
        })
    }

    fn retain(&self, keep: impl Fn(&[u8]) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for pair in self.raw().filter(|pair| keep(pair.name)) {
            bytes.extend_from_slice(pair.whole);
        }
        if bytes.len() == self.0.len() { self.clone() } else { Self(bytes.into()) }
    }

    /// The canonical bytes, from which ids are hashed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many labels there are, the metric name included.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|byte| **byte == SEPARATOR).count() / 2
    }
}

/// The bytes of one pair.
fn encode((name, value): (&str, &str), bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(SEPARATOR);
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(SEPARATOR);
}

/// One pair as it is encoded.
struct RawPair<'l> {
    name: &'l [u8],
    value: &'l [u8],
    /// Both, with their separators.
    whole: &'l [u8],
}

/// Every part was a `str` when it was written, and the separator cannot occur inside one.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

impl Default for LabelSet {
    /// No label at all.
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl fmt::Display for LabelSet {
    /// `name{a="b"}`, as a selector that finds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric_name())?;
        let mut separator = "{";
        for (name, value) in self.without_name() {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ",";
        }
        if separator == "," { f.write_str("}") } else { Ok(()) }
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelSet({self})")
    }
}

impl serde::Serialize for LabelSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for LabelSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::new(pairs).map_err(serde::de::Error::custom)
    }
}

/// Whether `name` is a label name that every Prometheus version accepts: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_classic_label_name(name: &str) -> bool {
    is_classic(name, false)
}

/// Whether `name` is a classic metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_classic_metric_name(name: &str) -> bool {
    is_classic(name, true)
}

fn is_classic(name: &str, colons: bool) -> bool {
    let ok = |c: u8| c.is_ascii_alphabetic() || c == b'_' || (colons && c == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(ok) && bytes.all(|c| ok(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_set_is_sorted_and_drops_empty_values() {
        let labels = LabelSet::new([("z", "1"), ("__name__", "up"), ("empty", ""), ("a", "2")]).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("a", "2"), ("z", "1")]);
        assert_eq!(labels.to_string(), r#"up{a="2",z="1"}"#);
        assert_eq!(labels.len(), 3);
        assert_eq!(LabelSet::new([("", "x")]), Err(LabelError::EmptyName));
        assert_eq!(LabelSet::new([("a", "x"), ("a", "y")]), Err(LabelError::Duplicate("a".into())));
        assert!(LabelSet::new([("a", "x\0")]).is_err());
    }

    #[test]
    fn labels_are_kept_left_out_and_set() {
        let labels = LabelSet::new([("__name__", "up"), ("a", "1"), ("c", "3")]).unwrap();
        let set = |pairs: &[(&str, &str)]| LabelSet::new(pairs.iter().copied()).unwrap();
        assert_eq!(labels.keep(&["c", "absent"]), set(&[("c", "3")]));
        assert_eq!(labels.keep(&[""; 0]), LabelSet::default());
        assert_eq!(labels.without(&["c", "absent"]), set(&[("__name__", "up"), ("a", "1")]));
        assert_eq!(labels.without(&["absent"]), labels);
        assert_eq!(labels.without_metric_name(), set(&[("a", "1"), ("c", "3")]));
        for name in ["", "Z", "a", "aa", "b", "c", "d", "__name__", "\u{e9}"] {
            for value in ["", "x"] {
                let mut pairs: std::collections::BTreeMap<&str, &str> = labels.iter().collect();
                if !name.is_empty() {
                    pairs.insert(name, value);
                }
                assert_eq!(labels.with(name, value), LabelSet::new(pairs).unwrap(), "{name}={value}");
            }
        }
        assert_eq!(LabelSet::default().with("a", "1"), set(&[("a", "1")]));
    }

    #[test]
    fn label_sets_are_ordered_label_by_label() {
        let set = |pairs: &[(&str, &str)]| LabelSet::new(pairs.iter().copied()).unwrap();
        let mut sets = [
            set(&[("ab", "1")]),
            set(&[("a", "1"), ("c", "1")]),
            set(&[("a", "1")]),
            set(&[("a", "10")]),
            set(&[]),
            set(&[("a", "2")]),
        ];
        sets.sort();
        let shown: Vec<String> = sets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["", "{a=\"1\"}", "{a=\"1\",c=\"1\"}", "{a=\"10\"}", "{a=\"2\"}", "{ab=\"1\"}"]);
    }

    #[test]
    fn a_label_set_survives_json() {
        let labels = LabelSet::new([("__name__", "up"), ("path", "/a\"b\n")]).unwrap();
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(serde_json::from_str::<LabelSet>(&json).unwrap(), labels);
    }
}
