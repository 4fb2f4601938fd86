//! What can be wrong with a rule.

/// Which rule does not compile, which of its fields is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {}: {field}: {message}", rule + 1)]
pub struct RelabelError {
    /// Place in the list, from 0.
    pub rule: usize,
    /// Field of the rule, as it is written in configuration.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl RelabelError {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { rule: 0, field, message: message.into() }
    }

    pub(crate) fn at(self, rule: usize) -> Self {
        Self { rule, ..self }
    }
}
