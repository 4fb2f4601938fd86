//! Texts with references to the groups of a match, by the rules of Go's `Regexp.Expand`:
//!
//! * `$name` and `${name}` stand for a group; without braces the name is as long as letters, digits and underscores go,
//!   so that `$1x` is `${1x}` and not `${1}x`.
//! * A name of digits is a group's number, unless it begins with a zero; `$0` is the whole match.
//! * Groups that there are not, or that did not take part in the match, are empty.
//! * `$$` is a dollar sign. A dollar sign that begins nothing of the above stands for itself.

use std::sync::LazyLock;

use regex::Regex;

/// Finds what stands for something else.
static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\$(?:\$|\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))").ok());

/// Numbers of this many digits and more are names.
const NUMBER_DIGITS: usize = 9;

/// What a name refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference<'t> {
    /// A group by its number.
    Number(usize),
    /// A group by its name.
    Name(&'t str),
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

/// A template whose references are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template; `group` tells the number of the group that is meant, if the pattern has it.
    pub fn new(text: &str, group: impl Fn(Reference<'_>) -> Option<usize>) -> Self {
        let mut template = Self { parts: Vec::new() };
        let mut from = 0;
        for found in REFERENCE.iter().flat_map(|pattern| pattern.captures_iter(text)) {
            let Some(whole) = found.get(0) else { continue };
            template.text(text.get(from..whole.start()).unwrap_or_default());
            from = whole.end();
            match found.get(1).or_else(|| found.get(2)) {
                Some(name) => template.parts.extend(group(reference(name.as_str())).map(Part::Group)),
                None => template.text("$"),
            }
        }
        template.text(text.get(from..).unwrap_or_default());
        template
    }

    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// The whole text where it refers to nothing.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The one group that it is made of, if it is.
    pub(crate) fn only_group(&self) -> Option<usize> {
        match self.parts.as_slice() {
            [Part::Group(group)] => Some(*group),
            _ => None,
        }
    }

    /// Writes the text for one match; `None` where it would be longer than `limit` bytes.
    pub(crate) fn expand<'m>(&self, group: impl Fn(usize) -> &'m str, limit: usize) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            let piece = match part {
                Part::Text(text) => text,
                Part::Group(number) => group(*number),
            };
            if text.len() + piece.len() > limit {
                return None;
            }
            text.push_str(piece);
        }
        Some(text)
    }
}

fn reference(name: &str) -> Reference<'_> {
    let is_number = name.len() < NUMBER_DIGITS && (name == "0" || !name.starts_with('0'));
    let digits = is_number && name.bytes().all(|byte| byte.is_ascii_digit());
    match name.parse() {
        Ok(number) if digits => Reference::Number(number),
        _ => Reference::Name(name),
    }
}

/// Whether a text refers to groups or holds an escaped dollar sign.
pub fn has_references(text: &str) -> bool {
    REFERENCE.iter().any(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups 1 to 3 are `a`, `b` and empty; the second is also called `name`, the third `ñ_1`.
    fn expand(text: &str) -> String {
        let template = Template::new(text, |reference| match reference {
            Reference::Number(number) => (number <= 3).then_some(number),
            Reference::Name("name") => Some(2),
            Reference::Name("ñ_1") => Some(3),
            Reference::Name(_) => None,
        });
        let groups = ["a-b", "a", "b", ""];
        template.expand(|group| groups.get(group).copied().unwrap_or(""), 1_000).unwrap()
    }

    #[test]
    fn references_are_replaced_as_go_does() {
        let check = |text: &str, expected: &str| assert_eq!(expand(text), expected, "{text}");
        check("", "");
        check("plain", "plain");
        check("$1", "a");
        check("${1}", "a");
        check("$0", "a-b");
        check("x$1-$2y", "xa-");
        check("x${1}_${2}y", "xa_by");
        check("$1x", "");
        check("${1}x", "ax");
        check("$1_x", "");
        check("$1-x", "a-x");
        check("$1$2", "ab");
        check("$name", "b");
        check("${name}s", "bs");
        check("$names", "");
        check("<$ñ_1>", "<>");
        check("<$4>", "<>");
        check("<$10>", "<>");
        check("<$01>", "<>");
        check("<$00>", "<>");
        check("<$123456789>", "<>");
        check("$$1", "$1");
        check("$$$1", "$a");
        check("$$$$", "$$");
    }

    #[test]
    fn a_dollar_sign_that_begins_nothing_stays() {
        for text in ["$", "a$", "$-1", "${}", "${1", "${1-}", "${na me}", "$ {1}", "}{", "1$ "] {
            assert_eq!(expand(text), text);
        }
        assert_eq!(expand("${$1}"), "${a}");
        assert!(has_references("a${1}") && has_references("$$") && !has_references("a$-{}"));
    }

    #[test]
    fn results_are_bounded() {
        let template = Template::new("$1$1$1", |_| Some(1));
        assert_eq!(template.expand(|_| "abcd", 12).as_deref(), Some("abcdabcdabcd"));
        assert_eq!(template.expand(|_| "abcd", 11), None);
        assert_eq!(template.constant(), None);
        assert_eq!(Template::new("a$$b", |_| None).constant(), Some("a$b"));
        assert_eq!(Template::new("a${2}b", |_| None).constant(), Some("ab"));
    }
}
