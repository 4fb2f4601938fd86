//! Labels that queries make of labels: `label_replace`, `label_join`, and the order of `sort_by_label`.

use std::cmp::Ordering;
use std::sync::LazyLock;

use metricsd_model::LabelSet;
use metricsd_model::matcher::{Captures, Regex};

/// `label_replace`: the labels with `target` set to the expanded replacement, or taken away where that is empty; `None`
/// where the source's value, empty if there is none, does not match. The pattern must be anchored.
pub fn replace(
    labels: &LabelSet,
    target: &str,
    replacement: &str,
    source: &str,
    pattern: &Regex,
) -> Option<LabelSet> {
    let captures = pattern.captures(labels.get(source).unwrap_or(""))?;
    Some(labels.with(target, &expand(replacement, pattern, &captures)))
}

/// `label_join`: the labels with `target` set to the values of the sources, or taken away where all of it is empty.
pub fn join(labels: &LabelSet, target: &str, separator: &str, sources: &[impl AsRef<str>]) -> LabelSet {
    let values: Vec<&str> = sources.iter().map(|source| labels.get(source.as_ref()).unwrap_or("")).collect();
    labels.with(target, &values.join(separator))
}

/// What may follow a `$` that stands for a group: a name as long as possible, or one in braces.
static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\A(?:\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))").ok());

/// `$1` and `$name` stand for groups, `${1}` and `${name}` too, `$$` for a dollar sign; any other dollar sign for itself.
/// A group that the pattern does not have, or that caught nothing, is empty.
fn expand(template: &str, pattern: &Regex, captures: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let reference = REFERENCE.as_ref().and_then(|reference| reference.captures(after));
        if let Some(reference) = reference {
            let name = reference.get(1).or_else(|| reference.get(2)).map_or("", |name| name.as_str());
            let group = group_number(name, pattern).and_then(|number| captures.get(number));
            text.push_str(group.map_or("", |group| group.as_str()));
            rest = after.get(reference.get_match().end()..).unwrap_or("");
        } else {
            text.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    text.push_str(rest);
    text
}

/// A number without leading zeros, or else a name.
fn group_number(name: &str, pattern: &Regex) -> Option<usize> {
    let leading_zero = name.starts_with('0') && name.len() > 1;
    let number = name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten();
    match number {
        Some(number) if !leading_zero => Some(number),
        _ => pattern.capture_names().position(|group| group == Some(name)),
    }
}

/// The order of `sort_by_label`: by the values of the labels in their natural order, then by all labels.
pub fn compare_by(a: &LabelSet, b: &LabelSet, names: &[impl AsRef<str>]) -> Ordering {
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
