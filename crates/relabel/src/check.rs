//! What a rule must say, and what it must not, for each action (Prometheus' documentation, `relabel_config`).

use metricsd_model::{NameValidation, RelabelAction as Action, RelabelConfig};

use crate::error::RelabelError;
use crate::limits::{MAX_SOURCE_LABELS, MAX_TEXT_BYTES};
use crate::template::{Reference, Template, has_references};

/// The replacement of a rule that gives none.
pub(crate) const DEFAULT_REPLACEMENT: &str = "$1";

const DEFAULT_SEPARATOR: &str = ";";

/// Checks everything but the pattern.
pub(crate) fn check(rule: &RelabelConfig, names: NameValidation) -> Result<(), RelabelError> {
    check_size(rule)?;
    let action = rule.action;
    if action == Action::HashMod && rule.modulus == 0 {
        return Err(RelabelError::new("modulus", "hashmod needs a modulus, which must not be 0"));
    }
    if needs_target(action) && target(rule).is_empty() {
        return Err(RelabelError::new("target_label", format!("{} needs a target_label", action.as_str())));
    }
    check_unused(rule)?;
    check_names(rule, names)
}

/// The label that is set or compared; empty where none is given.
pub(crate) fn target(rule: &RelabelConfig) -> &str {
    rule.target_label.as_deref().unwrap_or_default()
}

fn check_size(rule: &RelabelConfig) -> Result<(), RelabelError> {
    if rule.source_labels.len() > MAX_SOURCE_LABELS {
        let message = format!(
            "there are {} source labels; at most {MAX_SOURCE_LABELS} are read",
            rule.source_labels.len()
        );
        return Err(RelabelError::new("source_labels", message));
    }
    let texts = [
        ("separator", Some(&rule.separator)),
        ("target_label", rule.target_label.as_ref()),
        ("replacement", rule.replacement.as_ref()),
    ];
    for (field, text) in texts {
        if text.is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(RelabelError::new(field, format!("it is longer than {MAX_TEXT_BYTES} bytes")));
        }
    }
    Ok(())
}

fn needs_target(action: Action) -> bool {
    match action {
        Action::Replace
        | Action::HashMod
        | Action::Lowercase
        | Action::Uppercase
        | Action::KeepEqual
        | Action::DropEqual => true,
        Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep => false,
    }
}

/// Some actions refuse fields that would mean nothing to them.
fn check_unused(rule: &RelabelConfig) -> Result<(), RelabelError> {
    let (fields, may): (&[&'static str], _) = match rule.action {
        Action::Lowercase | Action::Uppercase => (&["replacement"], "takes no replacement"),
        Action::KeepEqual | Action::DropEqual => (
            &["regex", "modulus", "separator", "replacement"],
            "takes source_labels and target_label, and nothing else",
        ),
        Action::LabelDrop | Action::LabelKeep => (
            &["source_labels", "target_label", "modulus", "separator", "replacement"],
            "takes a regex, and nothing else",
        ),
        _ => (&[], ""),
    };
    match fields.iter().find(|field| is_set(rule, field)) {
        Some(field) => Err(RelabelError::new(field, format!("{} {may}", rule.action.as_str()))),
        None => Ok(()),
    }
}

/// Whether a field says other than its default. A pattern that is given is never the default, even if it reads the same.
fn is_set(rule: &RelabelConfig, field: &str) -> bool {
    match field {
        "source_labels" => !rule.source_labels.is_empty(),
        "target_label" => !target(rule).is_empty(),
        "modulus" => rule.modulus != 0,
        "separator" => rule.separator != DEFAULT_SEPARATOR,
        "regex" => rule.regex.is_some(),
        _ => rule.replacement.as_deref().is_some_and(|text| text != DEFAULT_REPLACEMENT),
    }
}

fn check_names(rule: &RelabelConfig, names: NameValidation) -> Result<(), RelabelError> {
    let invalid = |field: &'static str, name: &str| {
        let what = match names {
            NameValidation::Legacy => "is no label name: letters, digits and underscores, no digit first",
            NameValidation::Utf8 => "is no label name: it must not be empty",
        };
        Err(RelabelError::new(field, format!("{name:?} {what}")))
    };
    // Labels of other names are never there, which is no fault.
    if rule.source_labels.iter().any(String::is_empty) {
        return Err(RelabelError::new("source_labels", "a label name is empty"));
    }
    let target = target(rule);
    match rule.action {
        Action::Replace if has_references(target) => match can_be_name(target, names) {
            true => Ok(()),
            false => invalid("target_label", target),
        },
        action if needs_target(action) && !is_label_name(target, names) => invalid("target_label", target),
        Action::LabelMap => {
            let replacement = rule.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
            match can_be_name(replacement, names) {
                true => Ok(()),
                false => invalid("replacement", replacement),
            }
        }
        _ => Ok(()),
    }
}

/// Whether a text is a label's name.
pub(crate) fn is_label_name(name: &str, names: NameValidation) -> bool {
    let legacy = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    !name.is_empty() && (names == NameValidation::Utf8 || legacy(name))
}

/// Whether a template can become a label's name: it does where its references become letters.
fn can_be_name(template: &str, names: NameValidation) -> bool {
    // Every reference is one to a group whose text would be a letter.
    let template = Template::new(template, |_: Reference<'_>| Some(0));
    template.expand(|_| "x", usize::MAX).is_some_and(|name| is_label_name(&name, names))
}
