//! Bounds on what comes over sockets.

use std::time::Duration;

/// Bounds of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenLimits {
    /// TCP connections that may be open at once. When one more comes, the one that has been silent for longest is closed.
    pub max_connections: usize,
    /// Bytes of one line; longer ones are dropped.
    pub max_line_bytes: usize,
    /// A connection without a whole line for so long is closed.
    pub idle_timeout: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self { max_connections: 1_024, max_line_bytes: 8 << 10, idle_timeout: Duration::from_secs(300) }
    }
}
