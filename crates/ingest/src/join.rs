//! Small pushes of one source that come close upon each other share a collection: one job row, one event.
//!
//! The first push of a source is committed at once. What comes while that is under way becomes the next collection; when that holds
//! several, the one after it is made `within` of it, and so on until they come one by one again. So a client that waits
//! for its answer before it pushes again never waits longer for it, and many at once make some twenty collections a second. Every push is
//! answered by itself, once its collection is committed; whoever goes away before that leaves the others, and what it
//! brought, as they are.
//!
//! Only pushes without a key are joined. The store remembers the ids that they would have had alone
//! (`Batch::joined`), and stores each once, whether it comes alone or among others.

mod merge;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Batch, BatchId, CollectionMethod, Millis};
use metricsd_ports::{Receipt, StoredPush};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::commit::Reserved;
use crate::{GroupCommit, IngestError, Protocol};
use merge::merge;

/// Samples, families and exemplars of a push that is joined, at most. A job row and an event take about as much room and
/// time as this many samples: larger pushes are worth their own.
const MAX_PUSH_WEIGHT: usize = 200;

/// Samples, families and exemplars that make a collection without waiting.
const ENOUGH: usize = 10_000;

/// Pushes that make a collection without waiting.
const ENOUGH_PUSHES: usize = 2_000;

/// How long a collection waits to learn which of its pushes are stored already, so that they are answered so. Without an
/// answer the store leaves them out all the same.
const LOOK_UP: Duration = Duration::from_millis(500);

/// What became of a push that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Of the push itself, whatever its neighbours are.
    pub(crate) receipt: Receipt,
    /// The collection that it shares with others, and when that began.
    pub(crate) shared: Option<(BatchId, Millis)>,
}

impl Stored {
    /// In a collection of its own.
    pub(crate) fn alone(receipt: Receipt) -> Self {
        Self { receipt, shared: None }
    }
}

/// Pushes that may share a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source_id: String,
    target_id: String,
    protocol: Protocol,
    method: CollectionMethod,
}

/// What a push adds to a collection: a family or an exemplar is a row, and counts as much as a sample.
fn weight(batch: &Batch) -> usize {
    batch.samples() + batch.families.len() + batch.exemplars.len()
}

/// Whoever waits for the answer of one push.
type Asker = oneshot::Sender<Result<Stored, IngestError>>;

/// One push that waits.
struct Part {
    batch: Batch,
    /// What it takes of the queue before the store.
    _room: Reserved,
    /// Those that wait for what becomes of it: several where it came twice.
    askers: Vec<Asker>,
}

/// What waits of one source.
#[derive(Default)]
struct Waiting {
    parts: Vec<Part>,
    weight: usize,
    /// Told when there is enough.
    enough: Arc<Notify>,
}

impl Waiting {
    fn is_enough(&self) -> bool {
        self.weight >= ENOUGH || self.parts.len() >= ENOUGH_PUSHES
    }

    fn push(&mut self, part: Part) {
        let before = self.is_enough();
        self.weight += weight(&part.batch);
        self.parts.push(part);
        if self.is_enough() && !before {
            self.enough.notify_one();
        }
    }

    /// The first of them, no more than what is enough.
    fn take(&mut self) -> Vec<Part> {
        let mut sum = 0;
        let fits = |part: &&Part| {
            sum += weight(&part.batch);
            sum <= ENOUGH
        };
        let count =
            self.parts.iter().take(ENOUGH_PUSHES).take_while(fits).count().max(1).min(self.parts.len());
        let taken: Vec<Part> = self.parts.drain(..count).collect();
        self.weight = self.weight.saturating_sub(taken.iter().map(|part| weight(&part.batch)).sum());
        taken
    }
}

/// Joins pushes. Clones share what waits.
#[derive(Clone)]
pub(crate) struct Joiner {
    commit: GroupCommit,
    within: Duration,
    sources: Arc<Mutex<HashMap<Key, Waiting>>>,
}

/// Whether pushes of a protocol are joined: not those that are joined already where they come in, or that come one
/// behind the other.
fn is_joined(protocol: Protocol) -> bool {
    use Protocol as P;
    matches!(protocol, P::RemoteWrite | P::RemoteWrite2 | P::Custom | P::Otlp | P::Influx)
}

impl Joiner {
    /// One that lets pushes wait for at most `within`.
    pub(crate) fn new(commit: GroupCommit, within: Duration) -> Self {
        Self { commit, within, sources: Arc::default() }
    }

    /// Whether a push without a key is joined with others.
    pub(crate) fn takes(&self, protocol: Protocol, batch: &Batch) -> bool {
        is_joined(protocol) && weight(batch) <= MAX_PUSH_WEIGHT
    }

    /// Brings a push; on `Ok` it is committed.
    pub(crate) async fn put(&self, protocol: Protocol, batch: Batch) -> Result<Stored, IngestError> {
        let room = self.commit.reserve(&batch)?;
        let collection = &batch.collection;
        let key = Key {
            source_id: collection.source_id.clone(),
            target_id: collection.target_id.clone(),
            protocol,
            method: collection.method,
        };
        let (asker, answered) = oneshot::channel();
        let part = Part { batch, _room: room, askers: vec![asker] };
        let quiet = {
            let mut sources = self.sources.lock();
            let quiet = !sources.contains_key(&key);
            sources.entry(key.clone()).or_default().push(part);
            quiet
        };
        if quiet {
            let turn = Turn { joiner: self.clone(), key: key.clone(), over: false };
            tokio::spawn(turn.serve());
        }
        match timeout(self.commit.patience() + self.within, answered).await {
            Ok(answer) => answer.unwrap_or(Err(IngestError::Closed)),
            // It is committed all the same when its turn comes.
            Err(_) => Err(self.commit.too_slow((&key.target_id, &key.source_id))),
        }
    }
}

/// Serves one source until it is quiet: one collection after the other, so that what came first is stored first.
struct Turn {
    joiner: Joiner,
    key: Key,
    over: bool,
}

impl Drop for Turn {
    /// Whoever still waits is told that nothing comes, should the turn end before its time.
    fn drop(&mut self) {
        if !self.over {
            self.joiner.sources.lock().remove(&self.key);
        }
    }
}

impl Turn {
    async fn serve(mut self) {
        loop {
            let until = Instant::now() + self.joiner.within;
            let Some((parts, enough)) = self.next() else { return };
            let several = parts.len() > 1;
            self.joiner.commit(parts, self.key.protocol).await;
            let is_enough = || self.joiner.sources.lock().get(&self.key).is_some_and(Waiting::is_enough);
            if several && !is_enough() {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = enough.notified() => {}
                }
            }
        }
    }

    /// What is to be committed now. Where nothing waits the turn is over.
    fn next(&mut self) -> Option<(Vec<Part>, Arc<Notify>)> {
        let mut sources = self.joiner.sources.lock();
        let waiting = sources.get_mut(&self.key).filter(|waiting| !waiting.parts.is_empty());
        let Some(waiting) = waiting else {
            sources.remove(&self.key);
            self.over = true;
            return None;
        };
        Some((waiting.take(), waiting.enough.clone()))
    }
}

/// Tells those who brought a push what became of it: the first that it was stored, the others that it was by then.
fn tell(askers: Vec<Asker>, answer: &Result<Stored, IngestError>) {
    for (place, asker) in askers.into_iter().enumerate() {
        let again = |answer: Stored| match place {
            0 => answer,
            _ => Stored { receipt: Receipt::Duplicate, ..answer },
        };
        // Who has gone away need not be told.
        let _ = asker.send(answer.clone().map(again));
    }
}

impl Joiner {
    /// Commits parts, and answers each.
    async fn commit(&self, parts: Vec<Part>, protocol: Protocol) {
        let parts = if parts.len() > 1 { self.without_repeats(parts).await } else { parts };
        let mut batches = Vec::with_capacity(parts.len());
        let mut askers = Vec::with_capacity(parts.len());
        // They are queued as one, in their place.
        for Part { batch, askers: several, .. } in parts {
            batches.push(batch);
            askers.push(several);
        }
        if batches.len() <= 1 {
            return self.each_alone(batches, askers).await;
        }
        let Some(joined) = merge(&batches) else { return };
        let shared = Some((joined.id, joined.collection.started));
        self.commit.metrics().pushes.joined(protocol, askers.len() as u64);
        let answer = match self.commit.append(joined).await {
            Ok(receipt) => Ok(Stored { receipt, shared }),
            Err(error) if !error.is_retryable() => {
                warn!(%error, pushes = askers.len(), "joined pushes are stored one by one");
                return self.each_alone(batches, askers).await;
            }
            Err(error) => Err(error),
        };
        for several in askers {
            tell(several, &answer);
        }
    }

    async fn each_alone(&self, batches: Vec<Batch>, askers: Vec<Vec<Asker>>) {
        for (batch, several) in batches.into_iter().zip(askers) {
            tell(several, &self.alone(batch).await);
        }
    }

    /// Stores a push in a collection of its own.
    async fn alone(&self, batch: Batch) -> Result<Stored, IngestError> {
        let id = batch.id;
        let receipt = self.commit.append(batch.as_joined()).await?;
        let shared = match receipt {
            Receipt::Duplicate => self.stored(&[id]).await.iter().find_map(shared_by),
            _ => None,
        };
        Ok(Stored { receipt, shared })
    }

    /// Answers those that are stored already, or come twice; the others are left.
    async fn without_repeats(&self, parts: Vec<Part>) -> Vec<Part> {
        let ids: Vec<BatchId> = parts.iter().map(|part| part.batch.id).collect();
        let stored: HashMap<BatchId, StoredPush> =
            self.stored(&ids).await.into_iter().map(|push| (push.id, push)).collect();
        let mut left: Vec<Part> = Vec::with_capacity(parts.len());
        let mut places: HashMap<BatchId, usize> = HashMap::new();
        for part in parts {
            if let Some(push) = stored.get(&part.batch.id) {
                let answer = Stored { receipt: Receipt::Duplicate, shared: shared_by(push) };
                tell(part.askers, &Ok(answer));
                continue;
            }
            let place = *places.entry(part.batch.id).or_insert(left.len());
            match left.get_mut(place) {
                Some(first) => first.askers.extend(part.askers),
                None => left.push(part),
            }
        }
        left
    }

    /// Those of the pushes that are stored, as far as that can be learnt now.
    async fn stored(&self, ids: &[BatchId]) -> Vec<StoredPush> {
        match timeout(LOOK_UP, self.commit.store().stored_pushes(ids)).await {
            Ok(Ok(stored)) => stored,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

/// The collection that a stored push shares with others.
fn shared_by(push: &StoredPush) -> Option<(BatchId, Millis)> {
    (push.batch != push.id).then_some((push.batch, push.started))
}
