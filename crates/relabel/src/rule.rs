//! One rule, compiled, and what it does to a label list.

use md5::{Digest, Md5};
use metricsd_model::{NameValidation, RelabelAction, RelabelConfig};

use crate::case::{lower, upper};
use crate::check::{DEFAULT_REPLACEMENT, check, is_label_name, target};
use crate::error::RelabelError;
use crate::labels::{Labels, get, set};
use crate::limits::MAX_VALUE_BYTES;
use crate::pattern::{DEFAULT, Pattern};
use crate::template::Template;

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) action: RelabelAction,
    sources: Vec<String>,
    separator: String,
    pattern: Pattern,
    modulus: u64,
    /// The target label as it is written.
    target: String,
    /// The same for `replace`, where it may refer to groups.
    target_template: Template,
    replacement: Template,
    names: NameValidation,
}

impl Rule {
    /// Checks and compiles; the error does not know the rule's place yet.
    pub(crate) fn compile(config: &RelabelConfig, names: NameValidation) -> Result<Self, RelabelError> {
        check(config, names)?;
        let text = config.regex.as_deref().unwrap_or(DEFAULT);
        let pattern = Pattern::new(text).map_err(|message| RelabelError::new("regex", message))?;
        let template = |text: &str| Template::new(text, |reference| pattern.group(reference));
        Ok(Self {
            action: config.action,
            sources: config.source_labels.clone(),
            separator: config.separator.clone(),
            modulus: config.modulus,
            target: target(config).to_owned(),
            target_template: template(target(config)),
            replacement: template(config.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT)),
            names,
            pattern,
        })
    }

    /// Whether the action is about the joined values of the source labels, rather than about all names.
    pub(crate) fn reads_sources(&self) -> bool {
        !matches!(self.action, RelabelAction::LabelMap | RelabelAction::LabelDrop | RelabelAction::LabelKeep)
    }

    /// The values of the source labels, joined; in `joined` where there is more than one.
    pub(crate) fn source<'s>(&self, labels: &'s Labels, joined: &'s mut String) -> &'s str {
        let mut names = self.sources.iter();
        match (names.next(), names.as_slice()) {
            (None, _) => "",
            (Some(only), []) => get(labels, only),
            (Some(first), others) => {
                joined.clear();
                joined.push_str(get(labels, first));
                for name in others {
                    joined.push_str(&self.separator);
                    joined.push_str(get(labels, name));
                }
                joined
            }
        }
    }

    /// Whether the rule has something to say about these labels.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        let mut joined = String::new();
        let names = || labels.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name);
        match self.action {
            RelabelAction::Keep | RelabelAction::Drop | RelabelAction::Replace => {
                self.pattern.is_match(self.source(labels, &mut joined))
            }
            RelabelAction::KeepEqual | RelabelAction::DropEqual => {
                get(labels, &self.target) == self.source(labels, &mut joined)
            }
            RelabelAction::LabelMap | RelabelAction::LabelDrop | RelabelAction::LabelKeep => {
                names().any(|name| self.pattern.is_match(name))
            }
            RelabelAction::HashMod | RelabelAction::Lowercase | RelabelAction::Uppercase => true,
        }
    }

    /// Does what the rule says. `false`: the labels' owner is dropped.
    pub(crate) fn apply(&self, labels: &mut Labels, joined: &mut String) -> bool {
        match self.action {
            RelabelAction::Keep => return self.pattern.is_match(self.source(labels, joined)),
            RelabelAction::Drop => return !self.pattern.is_match(self.source(labels, joined)),
            RelabelAction::KeepEqual => return get(labels, &self.target) == self.source(labels, joined),
            RelabelAction::DropEqual => return get(labels, &self.target) != self.source(labels, joined),
            RelabelAction::Replace => self.replace(labels, joined),
            RelabelAction::HashMod => {
                let hash = hash(self.source(labels, joined).as_bytes());
                // Never 0: that was checked.
                let bucket = hash.checked_rem(self.modulus).unwrap_or_default();
                set(labels, &self.target, &bucket.to_string());
            }
            RelabelAction::Lowercase => {
                let value = lower(self.source(labels, joined));
                set(labels, &self.target, &value);
            }
            RelabelAction::Uppercase => {
                let value = upper(self.source(labels, joined));
                set(labels, &self.target, &value);
            }
            RelabelAction::LabelMap => self.map(labels),
            RelabelAction::LabelDrop => labels.retain(|(name, _)| !self.pattern.is_match(name)),
            RelabelAction::LabelKeep => labels.retain(|(name, _)| self.pattern.is_match(name)),
        }
        true
    }

    fn replace(&self, labels: &mut Labels, joined: &mut String) {
        let source = self.source(labels, joined);
        if let (Some(target), Some(value)) = (self.target_template.constant(), self.replacement.constant()) {
            // Nothing to be copied out of the labels.
            if is_label_name(target, self.names) && self.pattern.is_match(source) {
                set(labels, target, value);
            }
            return;
        }
        let Some(found) = self.pattern.matched(source) else { return };
        let target = self.target_template.expand(|group| found.group(group), MAX_VALUE_BYTES);
        let Some(target) = target.filter(|target| is_label_name(target, self.names)) else { return };
        // A copy is only made of what is other than before.
        let same = |group| found.group(group) == get(labels, &target);
        if self.replacement.only_group().is_some_and(same) && has(labels, &target) {
            return;
        }
        let value = self.replacement.expand(|group| found.group(group), MAX_VALUE_BYTES);
        if let Some(value) = value {
            set(labels, &target, &value);
        }
    }

    fn map(&self, labels: &mut Labels) {
        let mut copies: Vec<(String, String, String)> = Vec::new();
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(found) = self.pattern.matched(name) else { continue };
            let new = self.replacement.expand(|group| found.group(group), MAX_VALUE_BYTES);
            copies.extend(new.map(|new| (name.clone(), new, value.clone())));
        }
        copies.sort_unstable();
        for (_, new, value) in copies {
            set(labels, &new, &value);
        }
    }
}

fn has(labels: &Labels, name: &str) -> bool {
    labels.iter().any(|(label, value)| label == name && !value.is_empty())
}

/// The last eight bytes of MD5, most significant first.
fn hash(bytes: &[u8]) -> u64 {
    let digest = Md5::digest(bytes);
    digest.iter().skip(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}
