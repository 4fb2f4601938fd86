//! What a rule did, for people to read.

use metricsd_model::RelabelAction;
use serde::Serialize;

use crate::labels::{Labels, get};
use crate::rule::Rule;

/// One rule's part in relabelling a label list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Place of the rule in the list, from 0.
    pub rule: usize,
    /// Its action.
    pub action: RelabelAction,
    /// The joined values of its source labels; absent for actions on label names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether its condition held: the pattern matched, any name did, the texts were equal. Actions without a condition
    /// always match.
    pub matched: bool,
    /// Labels that have another value than before, or are new, in order of name.
    pub set: Vec<Change>,
    /// Labels that are gone, in order of name.
    pub removed: Vec<Change>,
    /// Whether the labels' owner stays.
    pub kept: bool,
}

/// One label before and after a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The label's name.
    pub name: String,
    /// Its value before; empty where it was absent.
    pub before: String,
    /// Its value now; empty where it is gone.
    pub after: String,
}

/// Applies one rule and tells what it did.
pub(crate) fn step(index: usize, rule: &Rule, labels: &mut Labels) -> Step {
    let mut joined = String::new();
    let source = rule.reads_sources().then(|| rule.source(labels, &mut joined).to_owned());
    let matched = rule.matches(labels);
    let before = labels.clone();
    let kept = rule.apply(labels, &mut joined);
    let change = |name: &str, before: &str, after: &str| Change {
        name: name.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    };
    let new = labels.iter().filter(|(name, value)| !value.is_empty() && get(&before, name) != value);
    let mut set: Vec<Change> = new.map(|(name, value)| change(name, get(&before, name), value)).collect();
    let gone = before.iter().filter(|(name, value)| !value.is_empty() && get(labels, name).is_empty());
    let mut removed: Vec<Change> = gone.map(|(name, value)| change(name, value, "")).collect();
    for changes in [&mut set, &mut removed] {
        changes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Step { rule: index, action: rule.action, source, matched, set, removed, kept }
}
