//! Labels that queries make of labels: `label_replace`, `label_join`, and the order of `sort_by_label`.

use std::cmp::Ordering;
use std::sync::LazyLock;

use metricsd_model::LabelSet;
use metricsd_model::matcher::{Regex, anchored_regex};

/// `label_replace`, ready for any number of label sets.
#[derive(Debug, Clone)]
pub struct Replace {
    destination: String,
    source: String,
    regex: Regex,
    replacement: Vec<Part>,
}

/// A piece of a replacement.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// What a capturing group caught, by its number.
    Group(usize),
}

impl Replace {
    /// Takes the arguments in the order of the function.
    ///
    /// # Errors
    /// The message for a regular expression or a label name that is not one.
    pub fn new(destination: &str, replacement: &str, source: &str, pattern: &str) -> Result<Self, String> {
        let regex = anchored_regex(pattern)
            .map_err(|_| format!("invalid regular expression in label_replace(): {pattern}"))?;
        if destination.is_empty() {
            return Err(format!("invalid destination label name in label_replace(): {destination}"));
        }
        let replacement = parse_replacement(replacement, &regex);
        Ok(Self { destination: destination.to_owned(), source: source.to_owned(), regex, replacement })
    }

    /// The label that is set.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The labels with the destination set, or taken away where the replacement is empty; `None` where the source's
    /// value, empty if there is none, does not match as a whole.
    pub fn apply(&self, labels: &LabelSet) -> Option<LabelSet> {
        let captures = self.regex.captures(labels.get(&self.source).unwrap_or(""))?;
        let mut value = String::new();
        for part in &self.replacement {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Group(number) => {
                    value.push_str(captures.get(*number).map_or("", |group| group.as_str()))
                }
            }
        }
        Some(labels.with(&self.destination, &value))
    }
}

/// What may follow a `$` that stands for a group: a name as long as possible, or one in braces.
static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\A(?:\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))").ok());

/// `$1` and `$name` stand for groups, `${1}` and `${name}` too, `$$` for a dollar sign; any other dollar sign for itself.
/// A group that the pattern does not have is empty.
fn parse_replacement(template: &str, regex: &Regex) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let reference = REFERENCE.as_ref().and_then(|reference| reference.captures(after));
        if let Some(reference) = reference {
            let name = reference.get(1).or_else(|| reference.get(2)).map_or("", |name| name.as_str());
            if let Some(number) = group_number(name, regex) {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Group(number));
            }
            rest = after.get(reference.get_match().end()..).unwrap_or("");
        } else {
            text.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// A number without leading zeros, or else a name.
fn group_number(name: &str, regex: &Regex) -> Option<usize> {
    let leading_zero = name.starts_with('0') && name.len() > 1;
    let number = name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten();
    match number {
        Some(number) if !leading_zero => Some(number),
        _ => regex.capture_names().position(|group| group == Some(name)),
    }
}

/// `label_join`, ready for any number of label sets.
#[derive(Debug, Clone)]
pub struct Join {
    destination: String,
    separator: String,
    sources: Vec<String>,
}

impl Join {
    /// Takes the arguments in the order of the function.
    ///
    /// # Errors
    /// The message for a label name that is not one.
    pub fn new(destination: &str, separator: &str, sources: Vec<String>) -> Result<Self, String> {
        if sources.iter().any(String::is_empty) {
            return Err("invalid source label name in label_join(): ".to_owned());
        }
        if destination.is_empty() {
            return Err("invalid destination label name in label_join(): ".to_owned());
        }
        Ok(Self { destination: destination.to_owned(), separator: separator.to_owned(), sources })
    }

    /// The label that is set.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The labels with the destination set, or taken away where what is joined is empty.
    pub fn apply(&self, labels: &LabelSet) -> LabelSet {
        let mut value = String::new();
        for (i, source) in self.sources.iter().enumerate() {
            if i > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(source).unwrap_or(""));
        }
        labels.with(&self.destination, &value)
    }
}

/// The order of `sort_by_label`: by the values of the labels in their natural order, then by all labels.
pub fn by_labels(a: &LabelSet, b: &LabelSet, names: &[impl AsRef<str>]) -> Ordering {
    let by_label = |name: &str| natural(a.get(name).unwrap_or(""), b.get(name).unwrap_or(""));
    names.iter().map(|name| by_label(name.as_ref())).find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
}

/// Natural order: runs of digits count as numbers, everything else byte by byte. Texts that differ only in leading zeros
/// are ordered as texts.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (chunk(&mut left), chunk(&mut right)) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(two)) => {
                let numbers = one.starts_with(|c: char| c.is_ascii_digit())
                    && two.starts_with(|c: char| c.is_ascii_digit());
                let order = if numbers { by_number(one, two) } else { one.cmp(two) };
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// Takes a run of digits, or of anything else, off the front.
fn chunk<'a>(text: &mut &'a str) -> Option<&'a str> {
    let digits = text.chars().next()?.is_ascii_digit();
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (chunk, rest) = text.split_at(end);
    *text = rest;
    Some(chunk)
}

/// Numbers of any length.
fn by_number(one: &str, two: &str) -> Ordering {
    let (one, two) = (one.trim_start_matches('0'), two.trim_start_matches('0'));
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

#[cfg(test)]
mod tests;
