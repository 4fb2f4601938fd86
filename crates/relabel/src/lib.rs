//! Relabelling: rules that keep, drop and rewrite label lists, as Prometheus' documentation describes `relabel_config`.
//!
//! [`Relabeler::compile`] checks rules and prepares them once; [`Relabeler::apply`] carries them out on one label list
//! after another; [`Relabeler::explain`] does the same and tells what each rule did.
//!
//! What the documentation leaves open is settled here:
//!
//! * A label that is absent and one that is empty are the same; setting a label to the empty text removes it.
//! * Patterns match the whole text and `.` matches newlines. Their dialect is RE2's, see [`dialect`].
//! * References to groups follow Go's `Regexp.Expand`, see [`template`].
//! * `labelmap` sees the labels as they were before the rule. Where several give the same new name, the one whose old
//!   name sorts last wins. A new name that is empty is passed over.
//! * Hashes are the last eight bytes of MD5, most significant first.
//! * Letters change case one by one, by Unicode's simple mappings: a text never gets another number of letters.
//!
//! Rules come from configuration, labels from the network: both are bounded ([`limits`]).

mod case;
mod check;
pub mod dialect;
mod error;
mod explain;
mod labels;
pub mod limits;
mod pattern;
mod rule;
pub mod template;

pub use error::RelabelError;
pub use explain::{Change, Step};

use std::cell::Cell;

use metricsd_model::{NameValidation, RelabelConfig};

use rule::Rule;

thread_local! {
    /// Holds joined values while a list is relabelled; kept, so that joining them takes no memory once it has.
    static JOINED: Cell<String> = const { Cell::new(String::new()) };
}

/// A list of rules, ready to be applied to one label list after another.
#[derive(Debug, Default)]
pub struct Relabeler {
    rules: Vec<Rule>,
}

impl Relabeler {
    /// Checks and compiles rules; label names may be any UTF-8.
    pub fn compile(rules: &[RelabelConfig]) -> Result<Self, RelabelError> {
        Self::compile_for(rules, NameValidation::Utf8)
    }

    /// Checks and compiles rules where label names must be valid as told.
    pub fn compile_for(rules: &[RelabelConfig], names: NameValidation) -> Result<Self, RelabelError> {
        if rules.len() > limits::MAX_RULES {
            let message = format!("there are {} rules; at most {} are read", rules.len(), limits::MAX_RULES);
            return Err(RelabelError::new("rules", message).at(limits::MAX_RULES));
        }
        let compile = |(index, config)| Rule::compile(config, names).map_err(|error| error.at(index));
        Ok(Self { rules: rules.iter().enumerate().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Applies all rules in their order. `false`: the labels' owner is dropped, and they are as the rule that dropped it
    /// found them. Names in `labels` must be unique; their order is free, and new ones come last.
    pub fn apply(&self, labels: &mut Vec<(String, String)>) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        // Nested use finds an empty text, which is only slower.
        let mut joined = JOINED.take();
        let kept = self.rules.iter().all(|rule| rule.apply(labels, &mut joined));
        joined.truncate(0);
        if joined.capacity() <= limits::MAX_VALUE_BYTES {
            JOINED.set(joined);
        }
        kept
    }

    /// Applies all rules as [`Self::apply`] does, and tells what each did; the last step is the one that dropped the
    /// labels' owner, where one did.
    pub fn explain(&self, labels: &mut Vec<(String, String)>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let step = explain::step(index, rule, labels);
            let kept = step.kept;
            steps.push(step);
            if !kept {
                break;
            }
        }
        steps
    }
}
