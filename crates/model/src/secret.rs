//! Secrets, and references to where secrets are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that never shows: neither in logs nor in answers nor, unsealed, in a database.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is written instead of a secret.
pub const MASK: &str = "********";

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that must send or seal it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A secret, or where it is read from each time that it is needed. Serialised, an inline one is a mask.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The secret itself.
    Inline(Secret),
    /// A file that holds it; white space around it is left out.
    File(String),
    /// A variable of the environment of the process that needs it.
    Env(String),
    /// An inline secret, encrypted: the only form of one that reaches a database. Never accepted from outside.
    Sealed(String),
}
