//! Series that remote writers have sent before, found by a keyed hash of the bytes of their labels: 128 bits that nobody
//! outside can aim at, so that the bytes themselves need not be kept.
//!
//! They stand in the order in which they came first. Senders repeat that order, so the series after the last one found
//! is tried first, which takes no look-up. Requests read under a shared lock and mark what they use;
//! what is new is added at a request's end under one exclusive lock. When the bound is reached, an eighth goes: what was
//! used least recently.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metricsd_model::{MetricType, Series, SeriesId};
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_secret};

use super::families::{Described, Families};
use super::places::Places;
use crate::hash::{AsIs, fold, random};

/// What a series costs beside its texts: its entry, its place in the index, two allocations with their counts.
const ENTRY_BYTES: usize = size_of::<Entry>() + 16 + size_of::<Series>() + 2 * 24;

/// Generations that are told apart when room is made.
const AGES: usize = 64;

/// Series of all remote writers.
pub(crate) struct SeriesCache {
    state: RwLock<State>,
    max_bytes: usize,
    /// Keeps hashes unpredictable.
    secret: [u8; 192],
}

/// What is remembered.
pub(super) struct State {
    entries: Vec<Entry>,
    index: Places,
    bytes: usize,
    /// Changes with the epoch, and with every sixteenth of the room that new series take.
    generation: u32,
    /// What new series took in this generation.
    taken: usize,
    epoch: u64,
    /// What was said of metric families.
    pub(super) families: Families,
}

/// One series. What a sample needs of it stands here too.
struct Entry {
    hash: u128,
    series: Arc<Series>,
    id: SeriesId,
    /// The generation that used it last.
    used: AtomicU32,
    /// The version of the families by which it was typed.
    described: AtomicU32,
    metric_type: MetricType,
}

/// What the cache knows of a series.
pub(super) enum Found<'c> {
    /// All that there is to know.
    Known(Known<'c>),
    /// More may have been said of its family since.
    Undescribed(&'c Arc<Series>, Place),
    /// It was not used in this generation: whether it may come is to be asked before [`State::used`].
    Idle(SeriesId, Place),
    /// Nothing.
    Unknown,
}

/// A series and what a sample needs of it, without a look at the series itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'c> {
    /// The series.
    pub(super) series: &'c Arc<Series>,
    /// Its id.
    pub(super) id: SeriesId,
    /// Its type.
    pub(super) metric_type: MetricType,
}

impl<'c> From<&'c Arc<Series>> for Known<'c> {
    fn from(series: &'c Arc<Series>) -> Self {
        Self { series, id: series.id, metric_type: series.metric_type }
    }
}

/// Where an entry stands, while the lock is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

/// The source of a request, and where the series is looked for first that comes next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    source: u64,
    next: usize,
}

/// Series to remember, in their order.
#[derive(Default)]
pub(super) struct FreshSeries {
    index: HashMap<u64, usize, BuildHasherDefault<AsIs>>,
    series: Vec<(u128, Arc<Series>)>,
}

impl FreshSeries {
    /// Where it was noted, the series of this hash.
    pub(super) fn get(&self, hash: u128) -> Option<&Arc<Series>> {
        let (noted, series) = self.series.get(*self.index.get(&(hash as u64))?)?;
        (*noted == hash).then_some(series)
    }

    /// Notes a series under the hash of its source and labels.
    pub(super) fn note(&mut self, hash: u128, series: Arc<Series>) {
        self.index.insert(hash as u64, self.series.len());
        self.series.push((hash, series));
    }
}

impl SeriesCache {
    /// An empty cache of at most about `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let mut secret = [0; 192];
        secret.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random().to_le_bytes()));
        let state = State {
            entries: Vec::new(),
            index: Places::default(),
            bytes: 0,
            generation: 1,
            taken: 0,
            epoch: 0,
            families: Families::default(),
        };
        Self { state: RwLock::new(state), max_bytes, secret }
    }

    /// For a request of a source, at its begin.
    pub(super) fn cursor(&self, source_id: &str) -> Cursor {
        Cursor { source: xxh3_64_with_secret(source_id.as_bytes(), &self.secret), next: 0 }
    }

    /// Begins a generation where another epoch has begun, so that each series is asked for once an epoch.
    pub(super) fn turn(&self, epoch: u64) {
        if self.state.read().epoch != epoch {
            let mut state = self.state.write();
            if state.epoch != epoch {
                state.epoch = epoch;
                state.generation = state.generation.wrapping_add(1);
            }
        }
    }

    /// Keyed hash of a series of a source.
    #[inline]
    pub(super) fn hash(&self, cursor: Cursor, raw: &[u8]) -> u128 {
        let hash = xxh3_128_with_secret(raw, &self.secret);
        let source = u128::from(cursor.source);
        hash ^ (source << 64 | u128::from(fold(cursor.source, 0x9e37_79b9_7f4a_7c15)))
    }

    /// Looks a series up, and marks it as used. `state` is what [`Self::read`] gave.
    #[inline]
    pub(super) fn find<'c>(&self, state: &'c State, cursor: &mut Cursor, raw: &[u8]) -> Found<'c> {
        let hash = self.hash(*cursor, raw);
        let predicted = state.entries.get(cursor.next).filter(|entry| entry.hash == hash);
        let place = match predicted {
            Some(_) => cursor.next,
            None => match state.place(hash) {
                Some(place) => place,
                None => return Found::Unknown,
            },
        };
        cursor.next = place + 1;
        state.at(Place(place))
    }

    /// For a request's reading.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Notes what was said of families; later requests, and this one, type their series by it.
    pub(super) fn describe(&self, source_id: &str, said: &[Described<'_>]) {
        if said.is_empty() || self.state.read().families.knows(source_id, said) {
            return;
        }
        self.state.write().families.note(source_id, said);
    }

    /// Remembers series that were typed by a version of the families.
    pub(super) fn remember(&self, version: u32, fresh: FreshSeries) {
        if fresh.series.is_empty() {
            return;
        }
        let mut state = self.state.write();
        for (hash, series) in fresh.series {
            let entry = Entry {
                hash,
                id: series.id,
                metric_type: series.metric_type,
                series,
                used: AtomicU32::new(state.generation),
                described: AtomicU32::new(version),
            };
            if state.bytes + entry.size() > self.max_bytes {
                state.make_room(self.max_bytes);
            }
            state.taken += entry.size();
            state.insert(entry);
            if state.taken > self.max_bytes / 16 {
                state.taken = 0;
                state.generation = state.generation.wrapping_add(1);
            }
        }
    }

    /// How many series are remembered, and in how many bytes, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.entries.len(), state.bytes)
    }
}

impl Entry {
    fn size(&self) -> usize {
        let series = &*self.series;
        let texts = [&series.help, &series.unit].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        ENTRY_BYTES + series.labels.as_bytes().len() + series.source.len() + texts
    }
}

impl State {
    fn place(&self, hash: u128) -> Option<usize> {
        let same = |place: usize| self.entries.get(place).is_some_and(|entry| entry.hash == hash);
        self.index.find(hash as u64, same)
    }

    /// What stands at a place.
    #[inline]
    fn at(&self, place: Place) -> Found<'_> {
        let Some(entry) = self.entries.get(place.0) else { return Found::Unknown };
        if entry.used.load(Ordering::Relaxed) != self.generation {
            Found::Idle(entry.id, place)
        } else if entry.described.load(Ordering::Relaxed) == self.families.version() {
            Found::Known(Known { series: &entry.series, id: entry.id, metric_type: entry.metric_type })
        } else {
            Found::Undescribed(&entry.series, place)
        }
    }

    /// The same once it is used in this generation.
    pub(super) fn used(&self, place: Place) -> Found<'_> {
        if let Some(entry) = self.entries.get(place.0) {
            entry.used.store(self.generation, Ordering::Relaxed);
        }
        self.at(place)
    }

    /// Within one generation every series is asked for once.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Notes that a series' type is what it was.
    pub(super) fn still_described(&self, place: Place) {
        if let Some(entry) = self.entries.get(place.0) {
            entry.described.store(self.families.version(), Ordering::Relaxed);
        }
    }

    /// Adds an entry, or puts it where its hash has one already.
    fn insert(&mut self, entry: Entry) {
        self.bytes += entry.size();
        if let Some(taken) = self.place(entry.hash).and_then(|place| self.entries.get_mut(place)) {
            let replaced = std::mem::replace(taken, entry);
            self.bytes = self.bytes.saturating_sub(replaced.size());
            return;
        }
        if self.entries.len() == self.entries.capacity() {
            // Less than twice: a list of a million that doubles would leave as much unused.
            self.entries.reserve_exact(self.entries.len() / 8 + 64);
        }
        self.entries.push(entry);
        let entries = &self.entries;
        self.index.push(|place| entries.get(place).map_or(0, |entry| entry.hash as u64));
    }

    /// Forgets what was used least recently, until an eighth of the room is free. Those that stay keep their order.
    fn make_room(&mut self, max_bytes: usize) {
        let generation = self.generation;
        let age = |entry: &Entry| {
            (generation.wrapping_sub(entry.used.load(Ordering::Relaxed)) as usize).min(AGES - 1)
        };
        let mut by_age = [0usize; AGES];
        for entry in &self.entries {
            if let Some(bytes) = by_age.get_mut(age(entry)) {
                *bytes += entry.size();
            }
        }
        let mut excess = self.bytes.saturating_sub(max_bytes / 8 * 7);
        // How much of each age goes, oldest first.
        for bytes in by_age.iter_mut().rev() {
            *bytes = excess.min(*bytes);
            excess -= *bytes;
        }
        let mut freed = 0;
        self.entries.retain(|entry| {
            let size = entry.size();
            let Some(left) = by_age.get_mut(age(entry)).filter(|left| **left > 0) else { return true };
            *left = left.saturating_sub(size);
            freed += size;
            false
        });
        self.bytes = self.bytes.saturating_sub(freed);
        let entries = &self.entries;
        let hash = |place: usize| entries.get(place).map_or(0, |entry| entry.hash as u64);
        self.index = Places::of(entries.len(), hash);
    }
}
