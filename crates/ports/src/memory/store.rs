//! Samples, catalogue and outbox of one process, behind one lock.

mod access;
mod catalog;
mod compact;
mod discovery;
mod durable;
mod lookups;
mod pushed;
mod samples;
mod work;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{BatchId, Frame, Job, LabelSet, Millis, Series, SeriesId, Target};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use compact::Segments;
use lookups::{ExemplarKey, Statement, StoredExemplar};

use crate::{LocalMembership, Outbox, OutboxEvent, PortError, Process, StoredPush};

/// A store without durability. Keeps all promises of the ports but that of surviving its process.
pub struct MemoryStore {
    state: Mutex<State>,
    revision: watch::Sender<i64>,
    members: LocalMembership,
}

crate::delegate_membership!(MemoryStore, members);

#[derive(Default)]
struct State {
    batches: HashSet<BatchId>,
    /// Pushes that share a batch, and which.
    joined: HashMap<BatchId, StoredPush>,
    series: BTreeMap<LabelSet, Arc<Series>>,
    ids: HashMap<SeriesId, LabelSet>,
    first_seen: HashMap<LabelSet, Millis>,
    /// In order of commit, each with the target that it belongs to.
    frames: Vec<StoredFrame>,
    /// What was compacted; wins over what is in frames.
    segments: Segments,
    exemplars: BTreeMap<ExemplarKey, StoredExemplar>,
    /// When each was said last, as a place in the order of all.
    families: BTreeMap<Statement, u64>,
    statements: u64,
    jobs: Vec<(BatchId, Job)>,
    total_samples: u64,
    targets: BTreeMap<String, Target>,
    revision: i64,
    discovery: discovery::Discovery,
    work: work::Table,
    groups: BTreeMap<Uuid, crate::PushedGroup>,
    tokens: access::Tokens,
    durable: durable::Durable,
    outbox: BTreeMap<i64, OutboxEvent>,
    last_seq: i64,
    relay: Option<(Uuid, Instant)>,
    processes: BTreeMap<Uuid, (Process, Instant)>,
}

struct StoredFrame {
    batch: BatchId,
    target_id: String,
    /// Label sets of the columns, which stay apart even where their ids collide.
    columns: Vec<LabelSet>,
    frame: Frame,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Mutex::default(), revision: watch::Sender::new(0), members: LocalMembership::default() }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The newest sample's time of a frame.
    fn end_of(frame: &Frame) -> Millis {
        (0..frame.values.len()).map(|column| frame.timestamp(column)).max().unwrap_or(frame.time)
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn pending(
        &self,
        relay: Uuid,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, PortError> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.relay.is_some_and(|(holder, until)| holder != relay && until > now) {
            return Ok(Vec::new());
        }
        state.relay = Some((relay, now + lease));
        Ok(state.outbox.values().take(limit).cloned().collect())
    }

    async fn published(&self, seqs: &[i64]) -> Result<(), PortError> {
        let mut state = self.state.lock();
        for seq in seqs {
            state.outbox.remove(seq);
        }
        Ok(())
    }

    async fn backlog(&self) -> Result<u64, PortError> {
        Ok(self.state.lock().outbox.len() as u64)
    }
}
