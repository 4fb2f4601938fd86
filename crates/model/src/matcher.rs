//! Matchers: tests on one label; several together choose series.

use std::fmt;

pub use regex::{Captures, Regex};

use crate::LabelSet;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As it is written in a selector.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One test on one label. An absent label has the empty value.
#[derive(Clone)]
pub struct Matcher {
    /// Which label.
    pub name: String,
    /// How to compare.
    pub op: MatchOp,
    /// What with: a text or a regular expression.
    pub value: String,
    regex: Option<Regex>,
}

/// Compiled expressions larger than this are refused, which bounds memory for hostile patterns.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Compiles a pattern that must match a whole value, as Prometheus anchors them; `.` matches newlines too.
pub fn anchored_regex(pattern: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
    if pattern.contains(')') {
        // `a)|(b` is no pattern, though it would be one inside of the group that anchors.
        build(pattern)?;
    }
    build(&format!("^(?s:{pattern})$"))
}

impl Matcher {
    /// A matcher; fails where a regular expression does not compile or is too large.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, regex::Error> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored_regex(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// An equality matcher, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether a label's value passes.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => value == self.value,
            (MatchOp::NotEqual, _) => value != self.value,
            (MatchOp::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (MatchOp::NotRegex, regex) => regex.as_ref().is_some_and(|regex| !regex.is_match(value)),
        }
    }

    /// Whether a label set passes.
    pub fn matches_labels(&self, labels: &LabelSet) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Whether the empty value passes, so that series without the label may too.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_match_whole_values() {
        let check = |op, pattern: &str, value: &str| Matcher::new("l", op, pattern).unwrap().matches(value);
        assert!(check(MatchOp::Regex, "a|b", "b"));
        assert!(!check(MatchOp::Regex, "a|b", "ab"));
        assert!(check(MatchOp::Regex, "a.*", "a\nb"));
        assert!(check(MatchOp::NotRegex, "a", "b"));
        assert!(check(MatchOp::NotEqual, "a", ""));
        assert!(Matcher::new("l", MatchOp::Regex, "(").is_err());
        assert!(Matcher::new("l", MatchOp::Regex, "a)|(b").is_err());
        assert!(Matcher::new("l", MatchOp::Regex, "((a{100}){100}){100}").is_err());
    }
}
