//! What can keep a batch from being stored.

use std::time::Duration;

use metricsd_ports::PortError;

use crate::{Denied, DeniedKind};

/// Why a batch was not stored. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// Too much waits for the store already.
    #[error("the queue before the store is full")]
    Overloaded {
        /// When trying again may succeed.
        retry_after: Duration,
    },
    /// The store could not take it.
    #[error("the store could not take the batch: {message}")]
    Store {
        /// The whole chain of causes.
        message: String,
        /// Whether the same batch may be stored later.
        retryable: bool,
    },
    /// Who sent it may not: a quota is used up, or it is another's. Not counted as a fault of ours.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// metricsd is shutting down.
    #[error("metricsd is shutting down")]
    Closed,
}

impl IngestError {
    /// Whether sending the same batch again can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::Closed => true,
            Self::Denied(denied) => denied.kind() == DeniedKind::Limited,
            Self::Store { retryable, .. } => *retryable,
        }
    }
}

impl From<&PortError> for IngestError {
    fn from(error: &PortError) -> Self {
        Self::Store { message: error.chain(), retryable: error.is_retryable() }
    }
}
