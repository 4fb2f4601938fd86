//! Patterns that match whole texts, with short cuts for the simple ones that most rules have.

use regex::{Captures, Regex, RegexBuilder};

use crate::dialect::from_re2;
use crate::limits::{MAX_PATTERN_BYTES, MAX_TEXT_BYTES};
use crate::template::Reference;

/// What stands for the pattern of a rule that gives none.
pub(crate) const DEFAULT: &str = "(.*)";

/// Characters that mean something in a pattern.
const META: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

/// A compiled pattern.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// A text that everything may follow; `least` bytes of it at the least.
    Prefix { text: String, least: usize, groups: PrefixGroups },
    /// One of these texts, sorted.
    Texts { texts: Vec<String>, group: bool },
    /// Any other.
    Regex(Regex),
}

/// Which part of a prefix pattern is its first group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrefixGroups {
    /// There is none.
    None,
    /// What follows the prefix.
    Rest,
}

/// A text that a pattern matches, and its groups.
pub(crate) enum Match<'t> {
    /// A first group where there is any.
    Simple { text: &'t str, group: Option<&'t str> },
    /// The groups of a regular expression.
    Groups(Captures<'t>),
}

impl<'t> Match<'t> {
    /// A group's text; empty where it took no part.
    pub(crate) fn group(&self, number: usize) -> &str {
        match (self, number) {
            (Self::Simple { text, .. }, 0) => text,
            (Self::Simple { group, .. }, 1) => group.unwrap_or_default(),
            (Self::Simple { .. }, _) => "",
            (Self::Groups(groups), number) => groups.get(number).map_or("", |group| group.as_str()),
        }
    }
}

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        match simple(pattern) {
            Some(simple) => Ok(simple),
            None => Self::regex(pattern),
        }
    }

    /// Compiles a pattern without short cuts.
    pub(crate) fn regex(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "the pattern has {} bytes; at most {MAX_TEXT_BYTES} are read",
                pattern.len()
            ));
        }
        let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
        let pattern = from_re2(pattern);
        // `a)|(b` is no pattern, though it would be one inside of the group that anchors.
        let alone = if pattern.contains(')') { build(&pattern).map(|_| ()) } else { Ok(()) };
        let regex = alone.and_then(|()| build(&format!("^(?s:{pattern})$")));
        regex.map(Self::Regex).map_err(|error| explained(&error))
    }

    /// Whether the whole text matches.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            simple => simple.simple_match(text).is_some(),
        }
    }

    /// The groups, where the whole text matches.
    pub(crate) fn matched<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        match self {
            Self::Regex(regex) => regex.captures(text).map(Match::Groups),
            simple => simple.simple_match(text).map(|group| Match::Simple { text, group }),
        }
    }

    /// The number of the group that a template means.
    pub(crate) fn group(&self, reference: Reference<'_>) -> Option<usize> {
        let groups = match self {
            Self::Prefix { groups, .. } => 1 + usize::from(*groups == PrefixGroups::Rest),
            Self::Texts { group, .. } => 1 + usize::from(*group),
            Self::Regex(regex) => regex.captures_len(),
        };
        match (reference, self) {
            (Reference::Number(number), _) => (number < groups).then_some(number),
            (Reference::Name(name), Self::Regex(regex)) => {
                regex.capture_names().position(|group| group == Some(name))
            }
            (Reference::Name(_), _) => None,
        }
    }

    /// The first group of a pattern that is no regular expression.
    fn simple_match<'t>(&self, text: &'t str) -> Option<Option<&'t str>> {
        match self {
            Self::Prefix { text: prefix, least, groups } => {
                let rest = text.strip_prefix(prefix.as_str())?;
                (rest.len() >= *least).then_some((*groups == PrefixGroups::Rest).then_some(rest))
            }
            Self::Texts { texts, group } => {
                let found = match texts.as_slice() {
                    [only] => only == text,
                    texts => texts.binary_search_by(|known| known.as_str().cmp(text)).is_ok(),
                };
                found.then_some(group.then_some(text))
            }
            Self::Regex(_) => None,
        }
    }
}

/// Recognises texts, alternatives of texts, and prefixes of what may be anything.
fn simple(pattern: &str) -> Option<Pattern> {
    if pattern.len() > MAX_TEXT_BYTES {
        return None;
    }
    let rests = [
        ("(.*)", 0, PrefixGroups::Rest),
        ("(.+)", 1, PrefixGroups::Rest),
        (".*", 0, PrefixGroups::None),
        (".+", 1, PrefixGroups::None),
    ];
    for (rest, least, groups) in rests {
        if let Some(text) = pattern.strip_suffix(rest)
            && !text.contains(META)
        {
            return Some(Pattern::Prefix { text: text.to_owned(), least, groups });
        }
    }
    let inside = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let (texts, group) = match inside {
        Some(inside) => match inside.strip_prefix("?:") {
            Some(texts) => (texts, false),
            None => (inside, true),
        },
        None => (pattern, false),
    };
    let mut texts: Vec<String> = texts.split('|').map(str::to_owned).collect();
    texts.sort_unstable();
    let plain = !texts.iter().any(|text| text.contains(META));
    plain.then_some(Pattern::Texts { texts, group })
}

/// The last line of a regular expression's error says what is wrong; those before it draw where.
fn explained(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("the compiled pattern is larger than {limit} bytes; write it shorter");
    }
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    format!("not a regular expression: {}", line.strip_prefix("error: ").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn simple_patterns_are_recognised() {
        let is_simple = |pattern: &str| !matches!(Pattern::new(pattern).unwrap(), Pattern::Regex(_));
        for pattern in
            ["", ".*", "(.*)", "(.+)", "up", "go_.*", "a_(.+)", "a|b||c", "(a|b)", "(?:a|b)", "a-b:c d"]
        {
            assert!(is_simple(pattern), "{pattern}");
        }
        for pattern in
            ["a.b", "a?", "(a)|b", "(?i)a", "(a|(b))", "a|b.*", r"a\.b", "^a", "[a]", "((.*))", "x{1}"]
        {
            assert!(!is_simple(pattern), "{pattern}");
        }
    }

    #[test]
    fn patterns_match_whole_texts() {
        let check = |pattern: &str, text: &str, expected: Option<&str>| {
            let pattern = Pattern::new(pattern).unwrap();
            let group = pattern.matched(text).map(|found| found.group(1).to_owned());
            assert_eq!(group.as_deref(), expected, "{pattern:?} on {text:?}");
            assert_eq!(pattern.is_match(text), expected.is_some());
        };
        check("", "", Some(""));
        check("", "a", None);
        check("(.*)", "a\nb", Some("a\nb"));
        check("(.+)", "", None);
        check("go_(.*)", "go_", Some(""));
        check("go_(.+)", "go_", None);
        check("go_.*", "go_x", Some(""));
        check("(a|b)", "b", Some("b"));
        check("a|b", "ab", None);
        check("(a)|b", "b", Some(""));
        check("a.(c)", "a\nc", Some("c"));
        check("a", "a\n", None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Pattern::new("a)|(b").unwrap_err().contains("unopened group"));
        assert!(Pattern::new("((a{100}){100}){100}").unwrap_err().contains("larger than"));
        assert!(Pattern::new(&"a".repeat(MAX_TEXT_BYTES + 1)).unwrap_err().contains("at most"));
    }

    proptest! {
        /// The short cuts decide and capture as the regular expression does.
        #[test]
        fn short_cuts_agree_with_the_regular_expression(
            pattern in "(a|b|ab|_|\\.\\*|\\.\\+|\\(|\\)|\\||\\?:){0,6}|[ab_]{0,2}(\\(\\.[*+]\\)|\\.[*+])|\\((\\?:)?[ab|]{0,5}\\)",
            text in "[ab_|\\n]{0,4}",
        ) {
            let (quick, full) = (Pattern::new(&pattern), Pattern::regex(&pattern));
            prop_assert_eq!(quick.is_ok(), full.is_ok(), "{}", pattern);
            if let (Ok(quick), Ok(full)) = (quick, full) {
                let groups = |pattern: &Pattern| {
                    pattern.matched(&text).map(|found| [0, 1, 2].map(|group| found.group(group).to_owned()))
                };
                prop_assert_eq!(quick.is_match(&text), full.is_match(&text));
                prop_assert_eq!(groups(&quick), groups(&full));
                for number in 0..4 {
                    let group = |pattern: &Pattern| pattern.group(Reference::Number(number));
                    prop_assert_eq!(group(&quick), group(&full));
                }
            }
        }
    }
}
