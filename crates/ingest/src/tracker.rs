//! Which series are active, whose they are, and whether more may come: the one place where the limits on series hold.
//!
//! Whoever names a series that its cache does not know, be it of a page, of a push or of a remote write, asks an
//! [`Admission`] first; what the caches know asks again now and then, so that it stays active. A process counts what it
//! takes itself: several have each their own counts.
//!
//! A series that the store has is not new, though this process may not have met it yet. The store is asked only when a
//! limit would refuse a series ([`Admission::settle`]); then the request is read once more.

mod active;
mod admission;
mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use metricsd_ports::SampleSink;
use parking_lot::RwLock;
use prometheus_client::metrics::gauge::Gauge;

pub(crate) use active::{ActiveSet, WINDOW as ACTIVE_EPOCHS};
pub use admission::{Acquaintance, Admission};
use source::Source;

/// Time by which a series' last sample is remembered: a series is active for an hour after it, and up to this longer.
pub(crate) const EPOCH_MILLIS: u64 = 300_000;

/// How long a process does not know all that was active before it began.
const LEARNING_MILLIS: u64 = (active::WINDOW + 1) * EPOCH_MILLIS;

/// How long after its last sample a series counts as active.
pub const ACTIVE_WINDOW: std::time::Duration =
    std::time::Duration::from_millis(active::WINDOW * EPOCH_MILLIS);

/// Sources that are counted; beyond, those used least recently begin anew.
const MAX_SOURCES: usize = 10_000;

/// Series that are counted, of all sources together, in some 10 bytes each; beyond, the longest idle are forgotten.
const MAX_SERIES: usize = 16_000_000;

/// Limits on the series of each source; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeriesLimits {
    /// Active series.
    pub max_active: usize,
    /// Series that are new within a minute; as many may come at once.
    pub max_new_per_minute: usize,
}

/// Counts active series by source, and holds the limits.
pub struct SeriesTracker {
    limits: SeriesLimits,
    store: Arc<dyn SampleSink>,
    began: Instant,
    sources: RwLock<HashMap<Box<str>, Arc<Source>>>,
    /// Series of all sources.
    total: AtomicUsize,
    /// The last epoch in which sources were swept.
    swept: AtomicU64,
    crowded: AtomicBool,
    max_series: usize,
    gauge: Gauge,
}

/// What a tracker knows of one source, or of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceSeries {
    /// Which source.
    pub source_id: String,
    /// Active series.
    pub active: u64,
    /// Series new to this process within the last minute.
    pub new_last_minute: u64,
    /// The same within the last hour.
    pub new_last_hour: u64,
    /// Samples refused so far by the limit on active series.
    pub refused_active: u64,
    /// Samples refused so far by the limit on new series a minute.
    pub refused_new: u64,
}

impl SeriesTracker {
    /// A tracker that knows of nothing yet. `store` is asked which series are stored, `gauge` shows how many are active.
    pub fn new(limits: SeriesLimits, store: Arc<dyn SampleSink>, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            limits,
            store,
            began: Instant::now(),
            sources: RwLock::default(),
            total: AtomicUsize::new(0),
            swept: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
            max_series: MAX_SERIES,
            gauge,
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> SeriesLimits {
        self.limits
    }

    /// The store, asked which series it has.
    pub(crate) fn store(&self) -> &Arc<dyn SampleSink> {
        &self.store
    }

    /// Which epoch it is. A series that had a sample in each stays active.
    pub fn epoch(&self) -> u64 {
        self.now() / EPOCH_MILLIS
    }

    /// For one request, or one page, of a source.
    pub fn admission(self: &Arc<Self>, source_id: &str) -> Admission {
        self.admission_at(source_id, self.now())
    }

    /// What is known of each source, most active series first, then by id; of one, or of the first `limit`.
    pub fn by_source(&self, source_id: Option<&str>, limit: usize) -> Vec<SourceSeries> {
        let now = self.now();
        self.tidy(now);
        let sources = self.sources.read();
        let wanted = sources.values().filter(|source| source_id.is_none_or(|id| *source.source_id == *id));
        let mut found: Vec<SourceSeries> = wanted.map(|source| seen(source, now)).collect();
        drop(sources);
        found.sort_by(|a, b| b.active.cmp(&a.active).then_with(|| a.source_id.cmp(&b.source_id)));
        found.truncate(limit);
        found
    }

    /// Active series of all sources.
    pub fn active(&self) -> usize {
        self.tidy(self.now());
        self.total.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn admission_at(self: &Arc<Self>, source_id: &str, now: u64) -> Admission {
        self.tidy(now);
        let known = self.sources.read().get(source_id).cloned();
        let source = known.unwrap_or_else(|| self.add_source(source_id, now));
        source.used.fetch_max(now, Ordering::Relaxed);
        Admission::new(Arc::clone(self), source, now)
    }

    fn add_source(&self, source_id: &str, now: u64) -> Arc<Source> {
        let mut sources = self.sources.write();
        if sources.len() >= MAX_SOURCES && !sources.contains_key(source_id) {
            let used = |source: &Arc<Source>| source.used.load(Ordering::Relaxed);
            let oldest = sources.iter().min_by_key(|(_, source)| used(source)).map(|(id, _)| id.clone());
            if let Some(gone) = oldest.and_then(|id| sources.remove(&id)) {
                let mut state = gone.state.lock();
                self.subtract(state.active.len());
                state.active.clear();
            }
        }
        let new = || Arc::new(Source::new(source_id, &self.limits, now));
        Arc::clone(sources.entry(source_id.into()).or_insert_with(new))
    }

    fn added(&self, count: usize) {
        let total = self.total.fetch_add(count, Ordering::Relaxed) + count;
        self.gauge.set(total as i64);
        if total > self.max_series {
            self.crowded.store(true, Ordering::Relaxed);
        }
    }

    fn subtract(&self, count: usize) {
        let total = self.total.fetch_sub(count, Ordering::Relaxed).saturating_sub(count);
        self.gauge.set(total as i64);
    }

    /// Once an epoch, forgets who is no longer active; whenever there are too many, the longest idle of all sources.
    fn tidy(&self, now: u64) {
        let epoch = now / EPOCH_MILLIS;
        if self.swept.fetch_max(epoch, Ordering::Relaxed) < epoch {
            let mut idle = Vec::new();
            for source in self.sources.read().values() {
                let mut state = source.state.lock();
                self.subtract(state.sweep(now));
                if state.active.len() == 0 && state.new_series(now).1 == 0 {
                    idle.push(source.source_id.clone());
                }
            }
            self.forget(&idle, now);
        }
        if self.crowded.swap(false, Ordering::Relaxed) {
            self.make_room(epoch);
        }
    }

    /// Sources that are idle, and were not asked for within the window.
    fn forget(&self, idle: &[Box<str>], now: u64) {
        let mut sources = self.sources.write();
        for id in idle {
            let unused = |source: &Arc<Source>| {
                source.used.load(Ordering::Relaxed) + LEARNING_MILLIS < now
                    && source.state.lock().active.len() == 0
            };
            if sources.get(id).is_some_and(unused) {
                sources.remove(id);
            }
        }
    }

    fn make_room(&self, epoch: u64) {
        let enough = self.max_series / 8 * 7;
        let sources = self.sources.read();
        for window in (0..active::WINDOW).rev() {
            if self.total.load(Ordering::Relaxed) <= enough {
                return;
            }
            for source in sources.values() {
                self.subtract(source.state.lock().active.sweep(epoch, window));
            }
        }
        for bit in 0..u64::BITS {
            if self.total.load(Ordering::Relaxed) <= enough {
                return;
            }
            for source in sources.values() {
                self.subtract(source.state.lock().active.halve(bit));
            }
        }
    }
}

fn seen(source: &Source, now: u64) -> SourceSeries {
    let (refused_active, refused_new) = source.refusals();
    let state = source.state.lock();
    let (new_last_minute, new_last_hour) = state.new_series(now);
    SourceSeries {
        source_id: source.source_id.to_string(),
        active: state.active.len() as u64,
        new_last_minute,
        new_last_hour,
        refused_active,
        refused_new,
    }
}

#[cfg(test)]
mod tests;
