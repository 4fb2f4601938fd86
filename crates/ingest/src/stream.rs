//! Streams: items that a client sends over a connection that it keeps open, acknowledged as they commit.
//!
//! Every item of a named stream has a number, one more than that of the item before. [`Streams::open`] answers the number
//! of the last item that is committed; whatever comes again up to it is passed over. Items are gathered while a commit is
//! under way and then committed together, one batch behind the other (`committer`), so that the batches of a stream are a
//! chain: each begins behind the end of one that is committed. The id of a batch is made of the stream and the number
//! before its first item, so that of two connections that go on from the same place, in whatever processes, one commits
//! and the other is told to come back. The last number is a sample of the batch itself (`position`).

mod committer;
mod hub;
mod input;
mod position;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble_tests;

use std::time::Duration;

use metricsd_ports::PortError;

use crate::{IngestError, Rejected};

pub use hub::{OpenStream, Streams};
pub use input::StreamInput;
pub use position::POSITION_METRIC;

/// Bounds on streams.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Streams that may be open in this process.
    pub max_streams: usize,
    /// Bytes of one stream that may be read and not yet committed; beyond, its client waits.
    pub max_bytes_in_flight: usize,
    /// How long a client may be silent, and how long it may leave what it is told unread.
    pub idle: Duration,
    /// How long a batch that is kept before the store is waited for: it is acknowledged once it can be read.
    pub patience: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            max_streams: 256,
            max_bytes_in_flight: 8 << 20,
            idle: Duration::from_secs(300),
            patience: Duration::from_secs(10),
        }
    }
}

/// What a client is told once a part of its stream is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// Number of the last item that is committed or refused.
    pub last: u64,
    /// Items stored since the acknowledgement before.
    pub stored: u64,
    /// Items refused since then.
    pub refused: u64,
    /// Items passed over since then, as they were acknowledged before.
    pub repeated: u64,
    /// The first of those refused, by number.
    pub errors: Vec<NumberedError>,
}

/// An item that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedError {
    /// Its number.
    pub number: u64,
    /// What was wrong; its index says nothing.
    pub error: Rejected,
}

/// Why a stream does not begin, or ends before its client ends it. What was acknowledged is stored; the rest is to be
/// sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// There are as many as may be.
    #[error("{limit} streams are open, which is as many as may")]
    TooMany {
        /// How many.
        limit: usize,
    },
    /// The name of a stream is no name.
    #[error("the name of a stream is 1 to 100 letters, digits and ._:@/-, beginning with a letter or digit")]
    Name,
    /// The same stream was opened again.
    #[error("the stream was opened by another connection, which goes on with it")]
    Superseded,
    /// Another process committed a part of the same stream.
    #[error("another connection has written to this stream; open it again and go on behind item {position}")]
    Overtaken {
        /// What is committed now.
        position: u64,
    },
    /// A number is lower than one that was sent before.
    #[error("item {found} comes behind item {last}: numbers do not go back within a connection")]
    Backwards {
        /// What was said.
        found: u64,
        /// What was last.
        last: u64,
    },
    /// What was sent is no part of a stream.
    #[error("{0}")]
    Unreadable(String),
    /// The store did not take it.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The store did not say where the stream is.
    #[error("it is not known where the stream is: {0}")]
    Position(String),
}

impl StreamError {
    /// Whether opening the stream again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TooMany { .. } | Self::Overtaken { .. } | Self::Position(_) => true,
            Self::Ingest(error) => error.is_retryable(),
            Self::Name | Self::Superseded | Self::Backwards { .. } | Self::Unreadable(_) => false,
        }
    }
}

impl From<PortError> for StreamError {
    fn from(error: PortError) -> Self {
        Self::Position(error.chain())
    }
}
