//! What SQLite says, in the words of the ports.

use metricsd_ports::{ErrorKind, PortError};

/// A failure inside this crate: SQLite's, or one that is already in the words of the ports.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(sqlx::Error),
    Port(PortError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<PortError> for Fault {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

/// Stored data that does not read: someone else wrote it, or it is damaged.
pub(crate) fn damaged(what: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Internal, what)
}

/// What is refused before anything is written.
pub(crate) fn invalid(what: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Invalid, what)
}

impl Fault {
    /// `what` was being done when this happened.
    pub(crate) fn into_port(self, what: &str) -> PortError {
        match self {
            Self::Port(error) => error,
            Self::Sql(error) => PortError::new(kind_of(&error), format!("cannot {what}")).caused_by(error),
        }
    }

    /// Whether another connection was in the way.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error))
            if matches!(primary(number(error.code().as_deref())), BUSY | LOCKED))
    }
}

const BUSY: u32 = 5;
const LOCKED: u32 = 6;

/// Not a number that SQLite uses.
const UNKNOWN: u32 = 0;

fn number(code: Option<&str>) -> u32 {
    code.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN)
}

/// An extended code says more in its upper bytes.
fn primary(code: u32) -> u32 {
    code & 0xff
}

fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(error) => kind_of_code(number(error.code().as_deref())),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => ErrorKind::Unavailable,
        sqlx::Error::Configuration(_) | sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Internal,
    }
}

fn kind_of_code(code: u32) -> ErrorKind {
    const INTERRUPT: u32 = 9;
    const TOO_BIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    const PRIMARY_KEY: u32 = 1555;
    const UNIQUE: u32 = 2067;
    match (code, primary(code)) {
        (PRIMARY_KEY | UNIQUE, _) => ErrorKind::Conflict,
        (_, CONSTRAINT | MISMATCH) => ErrorKind::Invalid,
        (_, TOO_BIG) => ErrorKind::Limit,
        (_, INTERRUPT) => ErrorKind::Timeout,
        // No permission (3), memory (7), write access (8), I/O (10), disk space (13), file (14), lock (15): the
        // machine's affairs, which someone sets right while the data waits.
        (_, BUSY | LOCKED | 3 | 7 | 8 | 10 | 13 | 14 | 15) => ErrorKind::Unavailable,
        // Damage (11), not a database (26), and whatever nobody thought of.
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        let check = |code, kind| assert_eq!(kind_of_code(code), kind, "{code}");
        check(5, ErrorKind::Unavailable);
        check(517, ErrorKind::Unavailable);
        check(778, ErrorKind::Unavailable);
        check(13, ErrorKind::Unavailable);
        check(11, ErrorKind::Internal);
        check(26, ErrorKind::Internal);
        check(1555, ErrorKind::Conflict);
        check(2067, ErrorKind::Conflict);
        check(275, ErrorKind::Invalid);
        check(1299, ErrorKind::Invalid);
        check(UNKNOWN, ErrorKind::Internal);
    }
}
