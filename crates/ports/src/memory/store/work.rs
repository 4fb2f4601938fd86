//! The table of work in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::Millis;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::MemoryStore;
use crate::PortError;
use crate::work::{
    Hold, NewWork, Outcome, Stored, Submitted, Work, WorkFilter, WorkKind, WorkQueue, WorkState,
};

/// All work, in order of arrival.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
}

struct Entry {
    work: Work,
    /// When it may be claimed: it waits, or its lease ends.
    due: Instant,
    keep: Duration,
    touched: Instant,
    bytes: BTreeMap<u64, Vec<u8>>,
}

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

impl Entry {
    fn touch(&mut self) {
        self.work.updated_at = now();
        self.touched = Instant::now();
    }

    fn end(&mut self, state: WorkState) {
        self.work.state = state;
        self.work.worker = None;
        self.bytes.clear();
        if state != WorkState::Done {
            self.work.content = None;
        }
        self.touch();
    }

    fn is_claimed_by(&self, id: Uuid, claim: i64) -> bool {
        self.work.id == id && self.work.claim == claim && self.work.state == WorkState::Running
    }
}

impl Table {
    fn find(&mut self, id: Uuid) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.work.id == id)
    }

    fn same(&self, kind: WorkKind, source_id: &str, content: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            let work = &entry.work;
            work.kind == kind && work.source_id == source_id && work.content.as_deref() == Some(content)
        })
    }

    fn submit(&mut self, new: &NewWork) -> Option<Submitted> {
        let by_id = self.entries.iter().find(|entry| entry.work.id == new.id);
        let content = new.content.as_deref();
        let standing = by_id.or_else(|| self.same(new.kind, &new.source_id, content?));
        if let Some(entry) = standing {
            return Some(Submitted::Existing(entry.work.clone()));
        }
        let receiving = self.entries.iter().filter(|entry| entry.work.state == WorkState::Receiving).count();
        if new.receiving && receiving >= new.max_receiving as usize {
            return None;
        }
        let work = Work {
            id: new.id,
            kind: new.kind,
            state: if new.receiving { WorkState::Receiving } else { WorkState::Queued },
            source_id: new.source_id.clone(),
            spec: new.spec.clone(),
            progress: Value::Null,
            content: new.content.clone(),
            received: 0,
            tries: 0,
            max_tries: new.max_tries.max(1),
            claim: 0,
            worker: None,
            cancelling: false,
            error: None,
            created_at: now(),
            updated_at: now(),
        };
        let at = Instant::now();
        let entry =
            Entry { work: work.clone(), due: at, keep: new.keep, touched: at, bytes: BTreeMap::new() };
        self.entries.push(entry);
        Some(Submitted::New(work))
    }

    fn store(&mut self, id: Uuid, offset: u64, bytes: &[u8], bound: u64) -> Stored {
        let size = |entry: &Entry| entry.bytes.values().map(|piece| piece.len() as u64).sum::<u64>();
        let all: u64 = self.entries.iter().map(size).sum();
        let Some(entry) = self.find(id).filter(|entry| entry.work.state == WorkState::Receiving) else {
            return Stored::Closed;
        };
        if entry.work.received != offset {
            return Stored::Elsewhere(entry.work.received);
        }
        if all + bytes.len() as u64 > bound {
            return Stored::Full;
        }
        if !bytes.is_empty() {
            entry.bytes.insert(offset, bytes.to_vec());
            entry.work.received += bytes.len() as u64;
        }
        entry.touch();
        Stored::Kept(entry.work.received)
    }

    fn seal(&mut self, id: Uuid, content: &str) -> Option<Submitted> {
        let entry = self.find(id).filter(|entry| entry.work.state == WorkState::Receiving)?;
        let (kind, source_id) = (entry.work.kind, entry.work.source_id.clone());
        let other = self.same(kind, &source_id, content).filter(|entry| entry.work.id != id);
        if let Some(other) = other.map(|entry| entry.work.clone()) {
            self.entries.retain(|entry| entry.work.id != id);
            return Some(Submitted::Existing(other));
        }
        let entry = self.find(id)?;
        entry.work.content = Some(content.to_owned());
        entry.work.state = WorkState::Queued;
        entry.due = Instant::now();
        entry.touch();
        Some(Submitted::New(entry.work.clone()))
    }

    fn claim(&mut self, worker: Uuid, kinds: &[WorkKind], lease: Duration) -> Option<Work> {
        let at = Instant::now();
        for entry in &mut self.entries {
            let work = &mut entry.work;
            let waits = matches!(work.state, WorkState::Queued | WorkState::Running);
            if !waits || entry.due > at || !kinds.contains(&work.kind) {
                continue;
            }
            if work.cancelling {
                entry.end(WorkState::Cancelled);
                continue;
            }
            if work.tries >= work.max_tries {
                work.error.get_or_insert_with(|| LOST_WORKER.to_owned());
                entry.end(WorkState::Dead);
                continue;
            }
            work.state = WorkState::Running;
            work.tries += 1;
            work.claim += 1;
            work.worker = Some(worker);
            entry.due = at + lease;
            entry.touch();
            return Some(entry.work.clone());
        }
        None
    }

    fn finish(&mut self, id: Uuid, claim: i64, outcome: &Outcome, progress: Option<&Value>) -> bool {
        let Some(entry) = self.find(id).filter(|entry| entry.is_claimed_by(id, claim)) else {
            return false;
        };
        if let Some(progress) = progress {
            entry.work.progress = progress.clone();
        }
        let mut pause = Duration::ZERO;
        match outcome {
            Outcome::Done => {
                entry.work.error = None;
                entry.end(WorkState::Done);
                return true;
            }
            Outcome::Cancelled => {
                entry.end(WorkState::Cancelled);
                return true;
            }
            Outcome::Hopeless { message } => {
                entry.work.error = Some(message.clone());
                entry.end(WorkState::Dead);
                return true;
            }
            Outcome::Failed { message, pause: asked } => {
                entry.work.error = Some(message.clone());
                if entry.work.tries >= entry.work.max_tries {
                    entry.end(WorkState::Dead);
                    return true;
                }
                pause = *asked;
            }
            Outcome::Released => entry.work.tries = entry.work.tries.saturating_sub(1),
        }
        entry.work.state = WorkState::Queued;
        entry.work.worker = None;
        entry.due = Instant::now() + pause;
        entry.touch();
        true
    }

    fn expire(&mut self) -> u64 {
        let before = self.entries.len();
        self.entries.retain(|entry| {
            let waits = matches!(entry.work.state, WorkState::Queued | WorkState::Running);
            waits || entry.touched.elapsed() < entry.keep
        });
        (before - self.entries.len()) as u64
    }
}

/// Why work is given up of which no worker said why it failed.
const LOST_WORKER: &str = "every worker that tried it was lost";

#[async_trait]
impl WorkQueue for MemoryStore {
    async fn submit(&self, work: &NewWork) -> Result<Option<Submitted>, PortError> {
        Ok(self.state.lock().work.submit(work))
    }

    async fn store_bytes(
        &self,
        id: Uuid,
        offset: u64,
        bytes: &[u8],
        bound: u64,
    ) -> Result<Stored, PortError> {
        Ok(self.state.lock().work.store(id, offset, bytes, bound))
    }

    async fn bytes_at(&self, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, PortError> {
        let mut state = self.state.lock();
        let piece = state.work.find(id).and_then(|entry| entry.bytes.range(..=offset).next_back());
        let holds = |(start, piece): &(&u64, &Vec<u8>)| **start + piece.len() as u64 > offset;
        Ok(piece.filter(holds).map(|(start, piece)| (*start, piece.clone())))
    }

    async fn seal(&self, id: Uuid, content: &str) -> Result<Option<Submitted>, PortError> {
        Ok(self.state.lock().work.seal(id, content))
    }

    async fn claim(
        &self,
        worker: Uuid,
        kinds: &[WorkKind],
        lease: Duration,
    ) -> Result<Option<Work>, PortError> {
        Ok(self.state.lock().work.claim(worker, kinds, lease))
    }

    async fn renew(
        &self,
        id: Uuid,
        claim: i64,
        lease: Duration,
        progress: Option<&Value>,
    ) -> Result<Hold, PortError> {
        let mut state = self.state.lock();
        let Some(entry) = state.work.find(id).filter(|entry| entry.is_claimed_by(id, claim)) else {
            return Ok(Hold::Lost);
        };
        entry.due = Instant::now() + lease;
        if let Some(progress) = progress {
            entry.work.progress = progress.clone();
            entry.work.tries = 1;
        }
        entry.touch();
        Ok(if entry.work.cancelling { Hold::Cancelling } else { Hold::Held })
    }

    async fn finish(
        &self,
        id: Uuid,
        claim: i64,
        outcome: &Outcome,
        progress: Option<&Value>,
    ) -> Result<bool, PortError> {
        Ok(self.state.lock().work.finish(id, claim, outcome, progress))
    }

    async fn work(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        Ok(self.state.lock().work.find(id).map(|entry| entry.work.clone()))
    }

    async fn list_work(&self, filter: &WorkFilter, limit: usize) -> Result<Vec<Work>, PortError> {
        let state = self.state.lock();
        let passes = |work: &&Work| {
            filter.kind.is_none_or(|kind| kind == work.kind)
                && filter.state.is_none_or(|state| state == work.state)
                && filter.source_id.as_ref().is_none_or(|source| *source == work.source_id)
        };
        let newest = state.work.entries.iter().rev().map(|entry| &entry.work);
        Ok(newest.filter(passes).take(limit).cloned().collect())
    }

    async fn cancel(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        let mut state = self.state.lock();
        let Some(entry) = state.work.find(id) else { return Ok(None) };
        match entry.work.state {
            WorkState::Receiving | WorkState::Queued => {
                entry.work.cancelling = true;
                entry.end(WorkState::Cancelled);
            }
            WorkState::Running => {
                entry.work.cancelling = true;
                entry.touch();
            }
            WorkState::Done | WorkState::Dead | WorkState::Cancelled => {}
        }
        Ok(Some(entry.work.clone()))
    }

    async fn expire_work(&self) -> Result<u64, PortError> {
        Ok(self.state.lock().work.expire())
    }

    async fn count_work(&self) -> Result<BTreeMap<(WorkKind, &'static str), u64>, PortError> {
        let mut counts = BTreeMap::new();
        for entry in &self.state.lock().work.entries {
            *counts.entry((entry.work.kind, entry.work.state.as_str())).or_default() += 1;
        }
        Ok(counts)
    }
}
