//! What remote writers send: Prometheus and its kin.
//!
//! A request's way: [`Ingest::read_write`] walks the body once. Each series is looked up by the bytes of its labels
//! (`cache`); a new one is named and checked (`naming`), typed by what the sender said of its family (`families`), and
//! remembered when the body is through. Samples go straight into the columns of the batch (`intake`). A list of series
//! that has come before becomes a layout (`lists`), and from then on requests with that list are only followed (`track`).
//! [`Ingest::store_write`] then commits the batch.
//!
//! What cannot be stored is refused sample by sample and harms none of its neighbours; a body that does not read as a
//! whole is refused as a whole.

mod cache;
mod families;
mod intake;
#[cfg(test)]
mod list_tests;
mod lists;
mod naming;
mod places;
#[cfg(test)]
mod tests;
mod track;

use std::collections::BTreeMap;

use metricsd_codec::remote_write::WireError;
use metricsd_model::{Batch, BatchId, Millis, Refusal};
use metricsd_ports::Receipt;

use crate::{Admission, Ingest, IngestError};

pub(crate) use cache::SeriesCache;
use intake::Intake;
pub(crate) use lists::SeenLists;

/// One remote-write request.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// Who writes; at most 100 characters.
    pub source_id: &'a str,
    /// The body, unpacked.
    pub body: &'a [u8],
    /// Arrival.
    pub received_at: Millis,
}

/// Why a request is refused as a whole. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It is not a write request.
    #[error("the body is not a remote-write request: {0}")]
    Damaged(#[from] WireError),
    /// It holds more than one request may.
    #[error("the body holds more than {limit} {what}, the bound set by limits.max_write_samples")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

/// A request that was read, and is not stored yet.
#[derive(Debug)]
pub struct PreparedWrite {
    /// Absent where the request says nothing.
    batch: Option<Batch>,
    outcome: Written,
    doubt: Option<Admission>,
}

impl PreparedWrite {
    /// Present where a limit refused series that the store may know. Once it is settled, the request is to be read again
    /// by [`Ingest::read_write_again`].
    pub fn take_doubt(&mut self) -> Option<Admission> {
        self.doubt.take()
    }

    /// What will be stored; absent where the request says nothing.
    pub fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Under which it was, or had been, stored; absent where there was nothing to store.
    pub id: Option<BatchId>,
    /// The same request was stored before; this one changed nothing.
    pub duplicate: bool,
    /// Samples that the body held.
    pub received: u64,
    /// Samples stored.
    pub stored: u64,
    /// Samples that the body held twice with the same value; they are stored once.
    pub repeated: u64,
    /// Samples not stored, by reason; those that are only repeated are not among them.
    pub refused: BTreeMap<Refusal, u64>,
    /// The first few of them, each with its series and what is wrong.
    pub faults: Vec<String>,
    /// Exemplars not stored, which is no reason to refuse anything.
    pub exemplars_dropped: u64,
}

impl Written {
    /// Whether all samples are stored.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty()
    }
}

impl Ingest {
    /// Reads a request into a batch; takes time in proportion to the body, without waiting for anything.
    pub fn read_write(&self, request: WriteRequest<'_>) -> Result<PreparedWrite, WriteError> {
        self.read_write_again(request, self.series().admission(request.source_id))
    }

    /// The same for a request whose doubts are settled.
    pub fn read_write_again(
        &self,
        request: WriteRequest<'_>,
        admission: Admission,
    ) -> Result<PreparedWrite, WriteError> {
        let (cache, lists) = (self.write_cache(), self.seen_lists());
        Intake::new(cache, lists, self.limits(), request, admission).read()
    }

    /// Stores what was read. On `Ok` everything that was accepted is committed.
    pub async fn store_write(&self, prepared: PreparedWrite) -> Result<Written, IngestError> {
        let PreparedWrite { batch, mut outcome, .. } = prepared;
        self.metrics().remote_write.read(&outcome, self.write_cache().size());
        if let Some(batch) = batch {
            outcome.id = Some(batch.id);
            outcome.duplicate = self.commit(batch).await? == Receipt::Duplicate;
        }
        self.metrics().remote_write.committed(&outcome);
        Ok(outcome)
    }
}
