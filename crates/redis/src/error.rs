//! What Redis' errors mean to a caller.

use metricsd_ports::{ErrorKind, PortError};
use redis::{ErrorKind as Cause, RedisError, ServerErrorKind};

/// The longest text of a server that an error repeats: a failed pipeline lists every one of its commands.
const MAX_TEXT: usize = 200;

/// An error whose message is `message` and whose cause is the server's or the connection's.
pub(crate) fn port_error(message: String, error: &RedisError) -> PortError {
    PortError::new(kind_of(error), message).caused_by(text_of(error))
}

/// The error's own words, shortened. Neither Redis nor the client repeats what was sent, so no secret is in them.
pub(crate) fn text_of(error: &RedisError) -> String {
    let text = error.to_string();
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn kind_of(error: &RedisError) -> ErrorKind {
    match error.kind() {
        _ if error.is_timeout() => ErrorKind::Timeout,
        Cause::Io | Cause::AuthenticationFailed => ErrorKind::Unavailable,
        Cause::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoPerm,
        ) => ErrorKind::Unavailable,
        // Codes that the client has no name for: a full memory, a failed snapshot, too few replicas, a busy script.
        // All pass, except for a key that others have filled with something that is no text.
        Cause::Extension if !error.to_string().contains("WRONGTYPE") => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
