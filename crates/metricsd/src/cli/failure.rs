//! How a command ends.

use std::io;
use std::io::Write;
use std::time::Duration;

/// Exit codes; `metricsd --help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// Some items were rejected.
    Partial = 4,
}

/// Why a command could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Empty where there is nobody left to read it.
    message: String,
    /// When to try again, where the server was only busy.
    retry_after: Option<Duration>,
}

impl Failure {
    /// Refused, or tried in vain.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), retry_after: None }
    }

    /// Asked for in a wrong way.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), retry_after: None }
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, message: message.into(), retry_after: None }
    }

    /// The same of a server that was busy, and when it wants to be asked again.
    pub(crate) fn busy(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// When to try again, where the server was only busy.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The same in other words, where the server said no.
    pub(crate) fn reworded(self, words: impl FnOnce(&str) -> String) -> Self {
        if self.is_refusal() { Self { message: words(&self.message), ..self } } else { self }
    }

    /// Whether the server said no, rather than nobody being there.
    pub(crate) fn is_refusal(&self) -> bool {
        self.exit == Exit::Failed
    }

    /// Says why on standard error, and answers the exit code.
    pub(crate) fn report(&self) -> Exit {
        if !self.message.is_empty() {
            // Standard error may be closed as well; the exit code still tells.
            let _ = writeln!(io::stderr().lock(), "metricsd: {}", self.message);
        }
        self.exit
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Exit, &str) {
        (self.exit, &self.message)
    }
}

impl From<io::Error> for Failure {
    /// Errors of our own output. A reader that has gone (`metricsd … | head`) has what it wanted.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { exit: Exit::Done, message: String::new(), retry_after: None },
            _ => Self::failed(format!("cannot write the answer: {error}")),
        }
    }
}
