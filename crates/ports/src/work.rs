//! The table of work: what is to be done once, by whichever process comes first, and must survive that process.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Millis, names};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::PortError;

/// What is to be done. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Take the samples of an uploaded file.
    Upload,
}

names!(WorkKind { Upload = "upload" });

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkState {
    /// Its bytes are still arriving; nobody works on it.
    Receiving,
    /// It waits for a worker.
    Queued,
    /// A worker holds it. When its lease runs out, another takes it.
    Running,
    /// It is done.
    Done,
    /// It was given up: it cannot be done, or was tried too often.
    Dead,
    /// Somebody asked for it to stop, and it did.
    Cancelled,
}

names!(WorkState {
    Receiving = "receiving",
    Queued = "queued",
    Running = "running",
    Done = "done",
    Dead = "dead",
    Cancelled = "cancelled",
});

impl WorkState {
    /// Whether nothing more will happen to it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

/// Work as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWork {
    /// Its name for ever.
    pub id: Uuid,
    /// What is to be done.
    pub kind: WorkKind,
    /// Who it is done for; at most 100 characters.
    pub source_id: String,
    /// What a worker must know; a few kilobytes at most.
    pub spec: Value,
    /// [`WorkState::Receiving`] where bytes are to come first, else [`WorkState::Queued`].
    pub receiving: bool,
    /// Where bytes are to come first: so much work may be receiving at once, this included.
    pub max_receiving: u32,
    /// What makes two pieces of work the same: of one kind and source only one that is not dead or cancelled has it.
    pub content: Option<String>,
    /// Tries until it is given up, at least 1.
    pub max_tries: u32,
    /// How long it is kept after its last change.
    pub keep: Duration,
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Its name.
    pub id: Uuid,
    /// What is to be done.
    pub kind: WorkKind,
    /// How far it is.
    pub state: WorkState,
    /// Who it is done for.
    pub source_id: String,
    /// What a worker must know.
    pub spec: Value,
    /// What workers noted.
    pub progress: Value,
    /// What makes two pieces of work the same.
    pub content: Option<String>,
    /// Bytes that arrived for it.
    pub received: u64,
    /// Tries so far since it last moved on, the one under way included.
    pub tries: u32,
    /// Tries until it is given up.
    pub max_tries: u32,
    /// Counts claims; only who names the newest may say anything about it.
    pub claim: i64,
    /// Who holds it.
    pub worker: Option<Uuid>,
    /// Somebody asked for it to stop.
    pub cancelling: bool,
    /// Why the last try failed, or why it was given up.
    pub error: Option<String>,
    /// When it was asked for, by the store's clock.
    pub created_at: Millis,
    /// When something about it last changed, by the store's clock.
    pub updated_at: Millis,
}

/// What asking for work found.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is new.
    New(Work),
    /// The same was asked for before, by its id or its content; this is what stands there.
    Existing(Work),
}

impl Submitted {
    /// What stands there now.
    pub fn work(&self) -> &Work {
        match self {
            Self::New(work) | Self::Existing(work) => work,
        }
    }
}

/// Which work to list, newest first. An absent field does not narrow.
#[derive(Debug, Clone, Default)]
pub struct WorkFilter {
    /// Of this kind.
    pub kind: Option<WorkKind>,
    /// In this state.
    pub state: Option<WorkState>,
    /// For this source.
    pub source_id: Option<String>,
}

/// What a worker's word about its work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is still this worker's.
    Held,
    /// It is, but somebody asked for it to stop: end it with [`Outcome::Cancelled`].
    Cancelling,
    /// It is not: another has it, or it is over. Leave it alone.
    Lost,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// This try failed; another comes after `pause`, unless there were too many: then it is dead.
    Failed {
        /// What was wrong.
        message: String,
        /// How long to wait.
        pause: Duration,
    },
    /// It can never be done.
    Hopeless {
        /// What is wrong.
        message: String,
    },
    /// It was stopped because somebody asked.
    Cancelled,
    /// The worker leaves; the try does not count and another worker may begin at once.
    Released,
}

/// What became of bytes that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// They are kept; so many bytes are there now.
    Kept(u64),
    /// They do not begin where those that are there end: so many are there.
    Elsewhere(u64),
    /// The work takes no bytes (any more), or there is none.
    Closed,
    /// All work together would keep more than the bound.
    Full,
}

/// Work that is claimed, leased, retried and given up, with its bytes.
///
/// All times are by the store's clock. A claim is a lease: it ends when it is not renewed. Every claim of a piece of work
/// has a number above all before, and what is said under an older number changes nothing, so that a worker that slept
/// too long does no harm. Of several workers that claim at once each gets another piece, or none.
#[async_trait]
pub trait WorkQueue: Send + Sync + 'static {
    /// Asks for work. Atomic: of two calls with one id, or one kind, source and content, one finds `New`. `None` where bytes
    /// are to come first and [`NewWork::max_receiving`] others are receiving already; calls at the same moment may exceed it
    /// by as many as they are.
    async fn submit(&self, work: &NewWork) -> Result<Option<Submitted>, PortError>;

    /// Appends bytes to work that is receiving. `offset` says where they belong; `bound` is on the bytes of all work
    /// together. On [`Stored::Kept`] they are durable.
    async fn store_bytes(&self, id: Uuid, offset: u64, bytes: &[u8], bound: u64)
    -> Result<Stored, PortError>;

    /// The piece of bytes that holds the byte at `offset`: where it begins, and the bytes; `None` behind the end. Pieces are
    /// as they were stored.
    async fn bytes_at(&self, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, PortError>;

    /// Says that all bytes have arrived: receiving work is queued under this content. Where other work stands for the same
    /// kind, source and content, this one is removed and that one answered. `None` where nothing is receiving under this id.
    async fn seal(&self, id: Uuid, content: &str) -> Result<Option<Submitted>, PortError>;

    /// Takes the oldest work of these kinds that waits, or whose worker's lease ran out, for `lease`. One that was tried too
    /// often is given up instead, and one whose cancellation its worker did not live to see is cancelled.
    async fn claim(
        &self,
        worker: Uuid,
        kinds: &[WorkKind],
        lease: Duration,
    ) -> Result<Option<Work>, PortError>;

    /// Holds on to claimed work for `lease` more. With `progress` the work has moved on: it is noted, and tries count from
    /// here.
    async fn renew(
        &self,
        id: Uuid,
        claim: i64,
        lease: Duration,
        progress: Option<&Value>,
    ) -> Result<Hold, PortError>;

    /// Ends a try. Whatever is over loses its bytes. `false` where the claim is not the newest any more.
    async fn finish(
        &self,
        id: Uuid,
        claim: i64,
        outcome: &Outcome,
        progress: Option<&Value>,
    ) -> Result<bool, PortError>;

    /// One piece of work; `None` where there is none.
    async fn work(&self, id: Uuid) -> Result<Option<Work>, PortError>;

    /// Work that passes the filter, newest first, at most `limit`.
    async fn list_work(&self, filter: &WorkFilter, limit: usize) -> Result<Vec<Work>, PortError>;

    /// Asks for work to stop: at once where nobody works on it, else as soon as its worker hears of it. What is over stays as
    /// it is. `None` where there is none.
    async fn cancel(&self, id: Uuid) -> Result<Option<Work>, PortError>;

    /// Removes work that nobody changed for as long as it is to be kept, with its bytes; work that waits or runs stays.
    /// Answers how many.
    async fn expire_work(&self) -> Result<u64, PortError>;

    /// How much work there is, by kind and state.
    async fn count_work(&self) -> Result<BTreeMap<(WorkKind, &'static str), u64>, PortError>;
}
