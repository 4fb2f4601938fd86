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
mod origin;
mod places;
#[cfg(test)]
mod tests;
mod track;

use std::collections::BTreeMap;

use metricsd_codec::remote_write::WireError;
use metricsd_model::{Batch, BatchId, Millis, Refusal};
use metricsd_ports::Receipt;

use crate::join::Stored;
use crate::{Admission, Caller, Denied, Ingest, IngestError};

pub(crate) use cache::SeriesCache;
use intake::Intake;
pub(crate) use lists::SeenLists;
pub use metricsd_model::Protocol;
pub use origin::{Unreadable, WriteOrigin};

/// One remote-write request.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// Who writes, and how.
    pub origin: &'a WriteOrigin,
    /// The body, unpacked.
    pub body: &'a [u8],
    /// Arrival.
    pub received_at: Millis,
}

/// The same with a body of its own.
#[derive(Debug, Clone)]
pub struct OwnedWrite {
    /// Who writes, and how.
    pub origin: WriteOrigin,
    /// The body, unpacked.
    pub body: bytes::Bytes,
    /// Arrival.
    pub received_at: Millis,
}

/// Why nothing of a request was stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// It is at fault itself: sending it again cannot help.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// We are: sending it again may help.
    #[error(transparent)]
    Failed(#[from] IngestError),
}

/// Bodies above this are read on a thread of their own, so that they do not hold up others.
const LARGE: usize = 128 << 10;

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
    protocol: Protocol,
    caller: Caller,
    /// It has a name of its own, and so a collection of its own.
    keyed: bool,
}

impl PreparedWrite {
    /// Present where a limit refused series that the store may know. Once it is settled, the request is to be read again
    /// by [`Ingest::read_write_again`].
    pub fn take_doubt(&mut self) -> Option<Admission> {
        self.doubt.take()
    }

    /// What was found when it was read; `stored` and `id` are not yet so.
    pub fn outcome(&self) -> &Written {
        &self.outcome
    }

    /// What will be stored; absent where the request says nothing.
    pub fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }
}

/// One sample that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFault {
    /// Place of its series in the body, from 0.
    pub series: usize,
    /// Closed-set reason.
    pub reason: Refusal,
    /// Its series and time, and what is wrong.
    pub message: String,
    /// What is wrong alone.
    pub problem: String,
    /// With which part: `name`, `labels`, `timestamp`, `histogram`, …
    pub field: String,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Under which it was, or had been, stored; absent where there was nothing to store.
    pub id: Option<BatchId>,
    /// The same request was stored before; this one changed nothing.
    pub duplicate: bool,
    /// It is durable, and not yet in the store: readers see it later.
    pub kept: bool,
    /// It shares the collection `id` with others, which began then. Absent where it has one of its own.
    pub shared_since: Option<Millis>,
    /// Samples that the body held.
    pub received: u64,
    /// Samples stored.
    pub stored: u64,
    /// Samples that the body held twice with the same value; they are stored once.
    pub repeated: u64,
    /// Samples not stored, by reason; those that are only repeated are not among them.
    pub refused: BTreeMap<Refusal, u64>,
    /// The first hundred of them.
    pub faults: Vec<WriteFault>,
    /// Places in the body of all series of which samples are refused, each once, in order.
    pub refused_series: Vec<u32>,
    /// Native histograms among those stored and those repeated.
    pub histograms: u64,
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
        self.read_write_again(request, self.series().admission(&request.origin.source_id))
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

    /// Reads a request that owns its body, on a thread of its own where that takes long, and settles its doubts. Nothing is
    /// stored yet: whoever bounds the bodies in memory lets go of this one now, and calls [`Self::store_write`].
    pub async fn prepare_write(&self, write: OwnedWrite) -> Result<PreparedWrite, WriteFailure> {
        let mut prepared = self.read_owned(write.clone(), None).await?;
        if let Some(mut admission) = prepared.take_doubt()
            && admission.settle().await?
        {
            prepared = self.read_owned(write, Some(admission)).await?;
        }
        Ok(prepared)
    }

    /// Reads and stores a request.
    pub async fn write(&self, write: OwnedWrite) -> Result<Written, WriteFailure> {
        let prepared = self.prepare_write(write).await?;
        Ok(self.store_write(prepared).await?)
    }

    async fn read_owned(
        &self,
        write: OwnedWrite,
        admission: Option<Admission>,
    ) -> Result<PreparedWrite, WriteFailure> {
        let (ingest, large) = (self.clone(), write.body.len() > LARGE);
        let read = move || {
            let OwnedWrite { origin, body, received_at } = &write;
            let request = WriteRequest { origin, body, received_at: *received_at };
            match admission {
                Some(admission) => ingest.read_write_again(request, admission),
                None => ingest.read_write(request),
            }
        };
        if !large {
            return Ok(read()?);
        }
        match tokio::task::spawn_blocking(read).await {
            Ok(prepared) => Ok(prepared?),
            Err(_) => Err(WriteFailure::Failed(IngestError::Store {
                message: "reading the request failed".to_owned(),
                retryable: false,
            })),
        }
    }

    /// Stores what was read. On `Ok` everything that was accepted is committed.
    pub async fn store_write(&self, prepared: PreparedWrite) -> Result<Written, IngestError> {
        let PreparedWrite { batch, mut outcome, protocol, caller, keyed, .. } = prepared;
        let counts = self.metrics();
        counts.remote_write.remembered(self.write_cache().size());
        counts.pushes.received(protocol, outcome.received);
        if let Err(denied) = may_store(&caller, batch.as_ref(), outcome.received) {
            counts.pushes.refused(protocol, denied.reason(), outcome.received);
            return Err(denied.into());
        }
        if let Some(batch) = batch {
            outcome.id = Some(batch.id);
            let stored = match self.joiner().filter(|joiner| !keyed && joiner.takes(protocol, &batch)) {
                Some(joiner) => joiner.put(protocol, batch).await,
                None => self.commit(batch).await.map(Stored::alone),
            };
            let stored = stored.inspect_err(|_| caller.put_back_samples(outcome.received))?;
            if let Some((collection, started)) = stored.shared {
                (outcome.id, outcome.shared_since) = (Some(collection), Some(started));
            }
            outcome.duplicate = stored.receipt == Receipt::Duplicate;
            outcome.kept = stored.receipt == Receipt::Kept;
        }
        counts.pushes.committed(protocol, &outcome);
        Ok(outcome)
    }
}

/// Whether who sends it may still do so, and their quotas have room for it. Nothing is taken of what is refused.
pub(crate) fn may_store(caller: &Caller, batch: Option<&Batch>, received: u64) -> Result<(), Denied> {
    // A stream goes on for long: its token may have ended since it was opened.
    caller.check()?;
    if let Some(batch) = batch {
        caller.check_source(&batch.collection.source_id)?;
    }
    take_quotas(caller, batch, received)
}

/// Takes a push out of the quotas of who sent it, whose rights were looked at before.
pub(crate) fn take_quotas(caller: &Caller, batch: Option<&Batch>, received: u64) -> Result<(), Denied> {
    caller.take_samples(received)?;
    let Some(batch) = batch else { return Ok(()) };
    let series = batch.frames.iter().flat_map(|frame| frame.layout.ids.iter().copied());
    caller.admit_series(series).inspect_err(|_| caller.put_back_samples(received))
}
