//! What the server says, in the words of the ports; and which failures are tried again here.

use std::error::Error;
use std::time::Duration;

use metricsd_ports::{ErrorKind, PortError};
use sqlx::error::DatabaseError;

/// A failure inside this crate: the server's, or one that is already in the words of the ports.
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
pub(crate) fn damaged(what: impl Into<String>) -> Fault {
    Fault::Port(PortError::new(ErrorKind::Internal, what))
}

impl Fault {
    /// The same with its cause, where it has none yet.
    pub(crate) fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match self {
            Self::Port(error) => Self::Port(error.caused_by(source)),
            Self::Sql(error) => Self::Sql(error),
        }
    }

    /// `what` was being done when this happened.
    pub(crate) fn into_port(self, what: &'static str) -> PortError {
        let passes = self.met_dropped_chunk();
        match self {
            Self::Port(error) => error,
            Self::Sql(error) => {
                let kind = match kind_of(&error) {
                    // Contention that outlasted the retries: what is to be stored must wait, not go.
                    ErrorKind::Internal if passes => ErrorKind::Unavailable,
                    kind => kind,
                };
                PortError::new(kind, format!("cannot {what}")).caused_by(said(error))
            }
        }
    }

    /// Whether the server undid the transaction because of others, so that doing it again can succeed.
    pub(crate) fn is_contention(&self) -> bool {
        // Two more that pass: a chunk that two writers made at once, and a lock that was not had in time.
        matches!(self.code().as_deref(), Some("40001" | "40P01" | "42P07" | "55P03"))
            || self.met_dropped_chunk()
    }

    /// Whether a chunk was dropped after the server had found it. The server calls that an internal error and has no code
    /// for it.
    fn met_dropped_chunk(&self) -> bool {
        let says =
            |error: &dyn DatabaseError| error.message().starts_with("could not open relation with OID");
        self.code().as_deref() == Some("XX000") && self.database().is_some_and(says)
    }

    /// Whether frames of a batch that is being written are there already.
    pub(crate) fn is_frame_replay(&self) -> bool {
        // Each chunk has an index of its own, whose name ends with that of the table's.
        let constraint =
            |error: &dyn DatabaseError| error.constraint().is_some_and(|name| name.ends_with("frames_batch"));
        self.code().as_deref() == Some("23505") && self.database().is_some_and(constraint)
    }

    /// Whether a series that is being written is there already.
    pub(crate) fn is_series_race(&self) -> bool {
        let constraint = |error: &dyn DatabaseError| error.constraint() == Some("series_pkey");
        self.code().as_deref() == Some("23505") && self.database().is_some_and(constraint)
    }

    fn database(&self) -> Option<&dyn DatabaseError> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => Some(error.as_ref()),
            _ => None,
        }
    }

    fn code(&self) -> Option<String> {
        self.database().and_then(|error| error.code()).map(|code| code.into_owned())
    }
}

/// The server's own words and code. The error that carries them says everything twice in a chain.
fn said(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            format!("the database says: {} (SQLSTATE {code})", error.message()).into()
        }
        error => error.into(),
    }
}

/// What a caller may do about an error of the server or of the way to it.
pub(crate) fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(error) => kind_of_code(error.code().as_deref().unwrap_or("")),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        // A server that dies in the middle of a message leaves one that does not read.
        | sqlx::Error::Protocol(_) => ErrorKind::Unavailable,
        sqlx::Error::Configuration(_) | sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        "57014" | "55P03" => ErrorKind::Timeout,
        // Contention that outlasted the retries, and a server that is a replica for now.
        "40001" | "40P01" | "42P07" | "25006" => ErrorKind::Unavailable,
        "23505" | "23P01" => ErrorKind::Conflict,
        "54000" | "54001" => ErrorKind::Limit,
        _ => match code.get(..2) {
            // 28 and 3D: credentials and databases change under a running service; its data must wait, not go.
            Some("08" | "53" | "55" | "57" | "58" | "28" | "3D") => ErrorKind::Unavailable,
            Some("22" | "23") => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        },
    }
}

/// How often a transaction that met contention is begun again.
pub(crate) const MAX_ATTEMPTS: u32 = 6;

/// Waits before the next attempt: longer each time, and not in step with the other side.
pub(crate) async fn back_off(attempt: u32) {
    let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    tokio::time::sleep(Duration::from_millis((5 << attempt.min(6)) + jitter / 8)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        let check = |code: &str, kind: ErrorKind| assert_eq!(kind_of_code(code), kind, "{code}");
        check("57P01", ErrorKind::Unavailable);
        check("53300", ErrorKind::Unavailable);
        check("28P01", ErrorKind::Unavailable);
        check("55000", ErrorKind::Unavailable);
        check("42P07", ErrorKind::Unavailable);
        check("57014", ErrorKind::Timeout);
        check("22001", ErrorKind::Invalid);
        check("23505", ErrorKind::Conflict);
        check("42601", ErrorKind::Internal);
        check("", ErrorKind::Internal);
    }

    /// What a server says, with its code.
    #[derive(Debug)]
    struct Said(&'static str, &'static str);

    impl std::fmt::Display for Said {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.1)
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.1
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn what_passes_may_be_tried_again() {
        let check = |code, message, is_contention, kind| {
            let fault = || Fault::Sql(sqlx::Error::Database(Box::new(Said(code, message))));
            assert_eq!(fault().is_contention(), is_contention, "{code} {message}");
            assert_eq!(fault().into_port("append").kind(), kind, "{code} {message}");
        };
        check("XX000", "could not open relation with OID 4711", true, ErrorKind::Unavailable);
        check("XX000", "tuple concurrently updated", false, ErrorKind::Internal);
        check("42601", "could not open relation with OID 4711", false, ErrorKind::Internal);
        check("40001", "could not serialize access", true, ErrorKind::Unavailable);
        check("42P07", "relation already exists", true, ErrorKind::Unavailable);
        check("55P03", "lock not available", true, ErrorKind::Timeout);
    }
}
