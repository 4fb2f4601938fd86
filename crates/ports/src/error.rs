//! The error of every port: a kind to act on, a source to read.

use std::error::Error;
use std::fmt;

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The other side cannot be reached, or refuses for now; trying again can help.
    Unavailable,
    /// No answer in time; trying again can help.
    Timeout,
    /// The request is at odds with what is stored, such as an id that exists with other content.
    Conflict,
    /// More than a limit allows; a smaller request can help.
    Limit,
    /// The request cannot be served as it stands; trying again cannot help.
    Invalid,
    /// A fault: damaged data, an unexpected answer, a bug.
    Internal,
}

/// What went wrong at a port. The message states this layer's fact only; the source tells the rest.
#[derive(Debug)]
pub struct PortError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    for_askers: bool,
}

impl PortError {
    /// An error that stands alone.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, for_askers: false }
    }

    /// The same, saying that its message is meant for the one who asked: it helps them and gives nothing away.
    #[must_use]
    pub fn for_askers(mut self) -> Self {
        self.for_askers = true;
        self
    }

    /// The message where it is meant for the one who asked; other messages are for the log.
    pub fn told(&self) -> Option<&str> {
        self.for_askers.then_some(self.message.as_str())
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller may do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// The whole chain in one line, for the one place where it is logged.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = self.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
