//! The scrape pool: follows the catalogue, keeps one loop a target, and starts each scrape when it is due.
//!
//! One task and one heap for all targets: a target that waits costs no task and no timer.

mod end;
mod hand_in;
mod missed;
mod own;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metricsd_ingest::{AfterCommit, Committed, GroupCommit, Limits};
use metricsd_model::{Batch, Fence, Millis, Missed, Target, TargetSpec};
use metricsd_ports::membership::bucket_of;
use metricsd_ports::{Catalog, SampleSource};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::client::PageClient;
use crate::clock::Clock;
use crate::missed::MissedScrapes;
use crate::schedule::{Due, Timer, next_slot};
use crate::scrape::LoopState;
use crate::{Ownership, Right, ScrapeMetrics};

/// How long one question for changes waits at the catalogue.
const CHANGES_WAIT: Duration = Duration::from_secs(10);

/// Changes that may wait to be applied.
const MAX_CHANGES: usize = 1_000;

/// How often it is counted what the targets come to.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// How far ahead of this process's clock a scrape out of turn may be dated.
const MAX_AHEAD_MS: i64 = 1_000;

/// What the pool works with.
pub struct PoolOptions {
    /// Targets.
    pub catalog: Arc<dyn Catalog>,
    /// Tells which series a target had before this process started.
    pub source: Arc<dyn SampleSource>,
    /// Fetches pages.
    pub client: PageClient,
    /// Where batches go.
    pub commit: GroupCommit,
    /// Hears of health and schedules.
    pub after: AfterCommit,
    /// Limits on pages.
    pub limits: Arc<Limits>,
    /// Scrapes that may be under way at once.
    pub concurrency: usize,
    /// How often all targets are read, changed or not.
    pub resync_every: Duration,
    /// Counters.
    pub metrics: ScrapeMetrics,
    /// Which targets are this process's.
    pub ownership: Ownership,
}

/// Scrapes every target of the catalogue that is this process's.
pub struct ScrapePool {
    shared: Arc<Shared>,
    targets: HashMap<u64, Entry>,
    keys: HashMap<String, u64>,
    /// States of disabled targets.
    paused: HashMap<String, Arc<Mutex<LoopState>>>,
    timer: Timer,
    next_key: u64,
    /// Whether all targets were read once.
    has_read: bool,
}

struct Shared {
    options: PoolOptions,
    clock: Clock,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// States of targets whose deletion is under way.
    ending: parking_lot::Mutex<HashMap<String, Arc<Mutex<LoopState>>>>,
    stop: CancellationToken,
}

struct Entry {
    spec: TargetSpec,
    bucket: u16,
    /// What its scrapes remember; absent before the first, and while the target is another process's.
    state: Option<Arc<Mutex<LoopState>>>,
    /// The change of the ring by which the target became this process's.
    granted: Option<u64>,
    /// Whether the timer has it.
    scheduled: bool,
    requested: Option<Millis>,
    /// Since when it has been to be scraped as it is, as far as this process knows.
    since: Millis,
    /// Samples of its last page, as far as this process knows.
    samples: Arc<AtomicU64>,
    /// What the target's next batch tells of those that were not done.
    untold: Arc<MissedScrapes>,
}

impl ScrapePool {
    /// A pool that has not begun.
    pub fn new(options: PoolOptions, stop: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(options.concurrency.max(1)));
        let shared = Shared {
            options,
            clock: Clock::new(),
            permits,
            tasks: TaskTracker::new(),
            ending: parking_lot::Mutex::default(),
            stop,
        };
        Self {
            shared: Arc::new(shared),
            targets: HashMap::new(),
            keys: HashMap::new(),
            paused: HashMap::new(),
            timer: Timer::default(),
            next_key: 0,
            has_read: false,
        }
    }

    /// Runs until told to stop, then waits for the scrapes under way.
    pub async fn run(mut self) {
        let (sender, mut changes) = mpsc::channel(MAX_CHANGES);
        let mut ring = self.shared.options.ownership.changes();
        let mut count = tokio::time::interval(COUNT_EVERY);
        let follower = tokio::spawn(follow(self.shared.clone(), sender));
        loop {
            let next = self.timer.next().unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => self.start_due(),
                Ok(()) = ring.changed() => self.own(),
                Some(change) = changes.recv() => self.apply(change),
                _ = count.tick(), if self.has_read => self.count(),
            }
        }
        follower.abort();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.timer.pop_due(now) {
            let Some(entry) = self.targets.get_mut(&due.key) else {
                continue;
            };
            let interval = entry.spec.scrape_config.scrape_interval.millis();
            let time = self.shared.now();
            // Slots that went by while the process slept are not made up for.
            let late = due.slot + interval <= time;
            let slot = next_slot(&entry.spec.target_id, interval, if late { time } else { due.slot });
            let ownership = &self.shared.options.ownership;
            match ownership.right(entry.bucket, due.slot) {
                _ if late => self.shared.passed_over(entry, due.slot, slot, "late"),
                Right::Mine(fence) => {
                    let next = self.shared.next_scrape(entry, slot);
                    self.shared.options.after.tell(Committed::Schedule(entry.spec.target_id.clone(), next));
                    self.shared.begin(entry, due.slot, fence);
                }
                Right::Lapsed => self.shared.passed_over(entry, due.slot, slot, "lease"),
                Right::None => {}
            }
            entry.scheduled = self.shared.options.ownership.concerns(entry.bucket, slot);
            match entry.scheduled {
                true => self.timer.push(Due { when: self.shared.instant_of(slot), slot, key: due.key }),
                // Whoever has it next begins where this one ends, and should it come back, so does this one.
                false => {
                    entry.state = None;
                    self.shared.tell_rest(entry);
                }
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::One(target) => self.apply_one(*target),
            Change::All(targets) => {
                let ids: HashSet<String> =
                    targets.iter().map(|target| target.spec.target_id.clone()).collect();
                let gone: Vec<String> = self.keys.keys().filter(|id| !ids.contains(*id)).cloned().collect();
                for id in gone {
                    self.drop_gone(&id);
                }
                for target in targets {
                    self.apply_one(target);
                }
                if !std::mem::replace(&mut self.has_read, true) {
                    self.count();
                }
            }
        }
        if !self.shared.options.ownership.is_shared() {
            self.shared.options.metrics.targets.set(self.targets.len() as i64);
        }
    }

    /// Takes over one target as the catalogue has it. What is already so changes nothing.
    fn apply_one(&mut self, target: Target) {
        let id = target.spec.target_id.clone();
        let known = self.keys.get(&id).copied();
        if target.deleting || !target.spec.enabled {
            self.keys.remove(&id);
            let entry = known.and_then(|key| self.targets.remove(&key));
            match self.shared.is_own(bucket_of(&id)) {
                true => self.retire(target, entry),
                // Its owner sees to it.
                false => drop(self.paused.remove(&id)),
            }
        } else if let Some(key) = known {
            self.update(key, target);
        } else {
            self.add(target);
        }
    }

    /// The target was deleted while this process was not looking.
    fn drop_gone(&mut self, id: &str) {
        let entry = self.keys.remove(id).and_then(|key| self.targets.remove(&key));
        if let Some(entry) = entry.filter(|entry| self.shared.is_own(entry.bucket)) {
            info!(target_id = id, "target is gone from the catalogue");
            let state = entry.state.unwrap_or_else(|| self.shared.new_state(&entry.spec));
            self.shared.retire(id.to_owned(), state, false, None);
        }
    }

    /// A target is scraped no more. The state of one that is only disabled stays, so that whatever comes next, a scrape
    /// after it is enabled again or its end, comes after what is still under way.
    fn retire(&mut self, target: Target, entry: Option<Entry>) {
        let id = target.spec.target_id.clone();
        // What its provider no longer finds may still answer for a moment.
        let last = target.deleting && entry.is_some() && target.origin.job().is_some();
        let last = last.then(|| target.spec.clone());
        let paused = self.paused.remove(&id);
        let state = match (entry, paused) {
            (Some(entry), _) => entry.state.unwrap_or_else(|| self.shared.new_state(&entry.spec)),
            (None, Some(state)) if target.deleting => state,
            (None, Some(state)) => {
                self.paused.insert(id, state);
                return;
            }
            (None, None) if target.deleting => self.shared.new_state(&target.spec),
            (None, None) => return,
        };
        if !target.deleting {
            self.paused.insert(id.clone(), state.clone());
        } else {
            let mut ending = self.shared.ending.lock();
            if ending.contains_key(&id) {
                return;
            }
            ending.insert(id.clone(), state.clone());
        }
        self.shared.retire(id, state, target.deleting, last);
    }

    fn add(&mut self, target: Target) {
        let spec = target.spec;
        debug!(target_id = spec.target_id, url = spec.scrape_url(), "target added");
        // One that comes back while it is being deleted goes on where its end was.
        let ending = self.shared.ending.lock().get(&spec.target_id).cloned();
        let state = self.paused.remove(&spec.target_id).or(ending);
        if let Some(state) = &state {
            self.replace(state, &spec);
        }
        // What there was at the start was to be scraped before; what comes later is from now on.
        let since = if self.has_read { self.shared.now() } else { target.created_at };
        let bucket = bucket_of(&spec.target_id);
        let mut entry = Entry {
            granted: self.shared.options.ownership.granted(bucket),
            samples: Arc::new(AtomicU64::new(target.health.samples_scraped)),
            requested: target.scrape_requested,
            scheduled: false,
            spec,
            bucket,
            state,
            since,
            untold: Arc::default(),
        };
        let unanswered =
            target.scrape_requested.filter(|at| target.health.last_scrape.is_none_or(|last| last < *at));
        if unanswered.is_some() {
            self.shared.begin_now(&mut entry);
        }
        self.schedule(entry);
    }

    /// A scrape under way ends with the old settings.
    fn replace(&self, state: &Arc<Mutex<LoopState>>, spec: &TargetSpec) {
        let (state, spec, limits) = (state.clone(), spec.clone(), self.shared.options.limits.clone());
        self.shared.tasks.spawn(async move { state.lock().await.replace(spec, limits) });
    }

    fn update(&mut self, key: u64, target: Target) {
        let Some(entry) = self.targets.get(&key) else { return };
        let changed = entry.spec != target.spec;
        if changed && let Some(state) = &entry.state {
            self.replace(state, &target.spec);
        }
        let Some(entry) = self.targets.get_mut(&key) else { return };
        if !entry.scheduled {
            entry.samples.store(target.health.samples_scraped, Ordering::Relaxed);
        }
        if entry.requested < target.scrape_requested {
            entry.requested = target.scrape_requested;
            self.shared.begin_now(entry);
        }
        // A new key, so that what the timer still holds for the old interval is passed over.
        if changed && let Some(mut entry) = self.targets.remove(&key) {
            entry.spec = target.spec;
            entry.since = self.shared.now();
            self.schedule(entry);
        }
    }

    fn schedule(&mut self, mut entry: Entry) {
        let key = self.next_key;
        self.next_key += 1;
        entry.scheduled = self.shared.options.ownership.concerns(entry.bucket, self.shared.now());
        if entry.scheduled {
            self.timer.push(self.shared.first_due(&entry, key, self.shared.now()));
        }
        self.keys.insert(entry.spec.target_id.clone(), key);
        self.targets.insert(key, entry);
    }
}

/// What the pool hears of the catalogue.
enum Change {
    /// One target is new or has changed.
    One(Box<Target>),
    /// All targets there are: whoever is not among them is gone.
    All(Vec<Target>),
}

/// Hands on the catalogue's changes for as long as the pool lives. A row that is gone says nothing any more, so all of
/// them are read now and then, and after every time that the catalogue was away.
async fn follow(shared: Arc<Shared>, sender: mpsc::Sender<Change>) {
    let mut revision = 0;
    let mut failing = false;
    let mut resync = Instant::now();
    loop {
        let all = Instant::now() >= resync;
        let catalog = &shared.options.catalog;
        let answer = match all {
            true => catalog.changes(0, Duration::ZERO).await,
            false => {
                let wait = CHANGES_WAIT.min(resync.saturating_duration_since(Instant::now()));
                catalog.changes(revision, wait).await
            }
        };
        let changes = match answer {
            Ok(targets) => {
                if std::mem::take(&mut failing) {
                    info!("the catalogue answers again");
                }
                revision = targets.iter().map(|target| target.revision).fold(revision, i64::max);
                match all {
                    true => {
                        resync = Instant::now() + shared.options.resync_every;
                        vec![Change::All(targets)]
                    }
                    false => targets.into_iter().map(|target| Change::One(Box::new(target))).collect(),
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let what = "the catalogue is away; scraping goes on with what is known";
                    warn!(error = error.chain(), "{what}");
                }
                resync = Instant::now();
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for change in changes {
            if sender.send(change).await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    /// When the next scrape is, given the next scheduled time: later where the target's values do not change.
    fn next_scrape(&self, entry: &Entry, slot: Millis) -> Millis {
        if entry.spec.scrape_config.options.adaptive_interval_max_ms.is_none() {
            return slot;
        }
        // One that is being scraped may be found to have changed.
        let state = entry.state.as_ref().and_then(|state| state.try_lock().ok());
        state.map_or(slot, |state| state.next_due(slot))
    }

    /// Starts a scheduled scrape unless something speaks against it; what is skipped is counted, not queued.
    fn begin(self: &Arc<Self>, entry: &mut Entry, slot: Millis, fence: Option<Fence>) {
        let Ok(state) = self.state_of(entry).try_lock_owned() else {
            return self.skip(entry, slot, fence, Missed::Busy);
        };
        if !state.is_due(slot) {
            return;
        }
        let (target_id, source_id) = (&entry.spec.target_id, &entry.spec.source_id);
        if self.options.commit.is_full(target_id, source_id) {
            return self.skip(entry, slot, fence, Missed::QueueFull);
        }
        let every = self.options.commit.stretch(target_id, source_id);
        if every > 1 && (slot / entry.spec.scrape_config.scrape_interval.millis().max(1)) % every != 0 {
            return self.skip(entry, slot, fence, Missed::Stretched);
        }
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.skip(entry, slot, fence, Missed::Concurrency);
        };
        let delay = (self.now() - slot).max(0) as f64 / 1e3;
        self.options.metrics.start_delay.observe(delay);
        let (shared, samples, untold) = (self.clone(), entry.samples.clone(), entry.untold.clone());
        let slept = self.slept(entry, slot, fence);
        self.tasks.spawn(async move {
            let Some((target, mut batch, started)) = shared.scrape(state, slot).await else {
                drop(permit);
                return shared.slept_through(slept, &untold).await;
            };
            drop(permit);
            samples.store(batch.collection.ledger.received, Ordering::Relaxed);
            batch.fence = fence;
            shared.hand_in(target, batch, started, &untold).await;
        });
    }

    /// Starts a scrape out of turn, after the one that may be under way.
    fn begin_now(self: &Arc<Self>, entry: &mut Entry) {
        let requested = entry.requested.unwrap_or_default().min(self.now() + MAX_AHEAD_MS);
        let bucket = entry.bucket;
        if !matches!(self.options.ownership.right(bucket, self.now()), Right::Mine(_)) {
            return;
        }
        let (shared, state) = (self.clone(), self.state_of(entry));
        self.tasks.spawn(async move {
            let state = state.lock_owned().await;
            // The asker's clock may be ahead of ours; it waits for a scrape that is not older than its question.
            let at = shared.now().max(requested);
            let Right::Mine(fence) = shared.options.ownership.right(bucket, at) else { return };
            let Some((target, mut batch, started)) = shared.scrape(state, at).await else { return };
            batch.fence = fence;
            shared.store(target, batch, started).await;
        });
    }

    /// `None` where the process was held up on the way.
    async fn scrape(
        &self,
        mut state: OwnedMutexGuard<LoopState>,
        at: Millis,
    ) -> Option<(String, Batch, Instant)> {
        let metrics = &self.options.metrics;
        metrics.in_flight.inc();
        let started = Instant::now();
        let id = state.target_id().to_owned();
        let batch = state.scrape(&self.options.client, at, async || self.known_series(&id).await).await;
        metrics.in_flight.dec();
        let batch = batch?;
        metrics.ended(batch.collection.reason);
        Some((batch.collection.target_id.clone(), batch, started))
    }
}
