//! Series that remote writers have sent before, found by the bytes of their labels.
//!
//! They stand in the order in which they came first. Senders repeat that order, so the series after the last one found
//! is tried first: one comparison of bytes, without a hash. Requests read under a shared lock and mark what they use;
//! what is new is added at a request's end under one exclusive lock. When the bound is reached, what was not used since
//! the last time goes; where that is too little, others go too.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metricsd_model::{MetricType, Series, SeriesId};
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::families::{Described, Families};
use crate::hash::{AsIs, fold, random};

/// What a series costs beside its texts: places in the list and the index, allocations, the struct.
const ENTRY_BYTES: usize = 360;

/// Series of all remote writers.
pub(crate) struct SeriesCache {
    state: RwLock<State>,
    max_bytes: usize,
    /// Keeps hashes unpredictable.
    secret: [u8; 192],
}

/// Places by keyed hash.
type Index = HashMap<u64, usize, BuildHasherDefault<AsIs>>;

/// What is remembered.
pub(super) struct State {
    entries: Vec<Entry>,
    index: Index,
    bytes: usize,
    generation: u32,
    /// What was said of metric families.
    pub(super) families: Families,
}

/// One series, no wider than a cache line. What a sample needs of the series stands here too.
struct Entry {
    raw: Box<[u8]>,
    series: Arc<Series>,
    id: SeriesId,
    metric_type: MetricType,
    /// Who sent it.
    source: u64,
    hash: u64,
    /// The generation that used it last.
    used: AtomicU32,
    /// The version of the families by which it was typed.
    described: AtomicU32,
}

/// What the cache knows of a series.
pub(super) enum Found<'c> {
    /// All that there is to know.
    Known(Known<'c>),
    /// More may have been said of its family since.
    Undescribed(&'c Arc<Series>, Place),
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
    index: Index,
    series: Vec<Fresh>,
}

struct Fresh {
    hash: u64,
    raw: Box<[u8]>,
    series: Arc<Series>,
}

impl FreshSeries {
    /// Where it was noted, the series of these labels.
    pub(super) fn get(&self, hash: u64, raw: &[u8]) -> Option<&Arc<Series>> {
        let fresh = self.series.get(*self.index.get(&hash)?)?;
        (*fresh.raw == *raw).then_some(&fresh.series)
    }

    /// Notes a series under the hash of its source and labels.
    pub(super) fn note(&mut self, hash: u64, raw: &[u8], series: Arc<Series>) {
        self.index.insert(hash, self.series.len());
        self.series.push(Fresh { hash, raw: raw.into(), series });
    }
}

impl SeriesCache {
    /// An empty cache of at most about `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let mut secret = [0; 192];
        secret.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random().to_le_bytes()));
        let state = State {
            entries: Vec::new(),
            index: Index::default(),
            bytes: 0,
            generation: 1,
            families: Families::default(),
        };
        Self { state: RwLock::new(state), max_bytes, secret }
    }

    /// For a request of a source, at its begin.
    pub(super) fn cursor(&self, source_id: &str) -> Cursor {
        Cursor { source: xxh3_64_with_secret(source_id.as_bytes(), &self.secret), next: 0 }
    }

    /// Keyed hash of a series of a source.
    #[inline]
    pub(super) fn hash(&self, cursor: Cursor, raw: &[u8]) -> u64 {
        fold(xxh3_64_with_secret(raw, &self.secret) ^ cursor.source, 0x9e37_79b9_7f4a_7c15)
    }

    /// Looks a series up, and marks it as used. `state` is what [`Self::read`] gave.
    #[inline]
    pub(super) fn find<'c>(&self, state: &'c State, cursor: &mut Cursor, raw: &[u8]) -> Found<'c> {
        let predicted = state.entries.get(cursor.next).filter(|entry| entry.is(cursor.source, raw));
        match predicted {
            Some(entry) => state.found(entry, cursor),
            None => self.find_by_hash(state, cursor, raw),
        }
    }

    fn find_by_hash<'c>(&self, state: &'c State, cursor: &mut Cursor, raw: &[u8]) -> Found<'c> {
        let place = state.index.get(&self.hash(*cursor, raw)).copied();
        let entry = place.and_then(|place| Some((place, state.entries.get(place)?)));
        match entry.filter(|(_, entry)| entry.is(cursor.source, raw)) {
            Some((place, entry)) => {
                cursor.next = place;
                state.found(entry, cursor)
            }
            None => Found::Unknown,
        }
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
    pub(super) fn remember(&self, cursor: Cursor, version: u32, fresh: FreshSeries) {
        if fresh.series.is_empty() {
            return;
        }
        let mut state = self.state.write();
        for Fresh { hash, raw, series } in fresh.series {
            let entry = Entry {
                raw,
                id: series.id,
                metric_type: series.metric_type,
                series,
                source: cursor.source,
                hash,
                used: AtomicU32::new(state.generation),
                described: AtomicU32::new(version),
            };
            if state.bytes + entry.size() > self.max_bytes {
                state.make_room(self.max_bytes);
            }
            state.insert(entry);
        }
    }

    /// How many series are remembered, and in how many bytes, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.entries.len(), state.bytes)
    }
}

impl Entry {
    #[inline]
    fn is(&self, source: u64, raw: &[u8]) -> bool {
        self.source == source && *self.raw == *raw
    }

    fn size(&self) -> usize {
        let series = &*self.series;
        let texts = [&series.help, &series.unit].into_iter().flatten().map(String::len).sum::<usize>();
        ENTRY_BYTES + self.raw.len() + series.labels.as_bytes().len() + series.source.len() + texts
    }
}

impl State {
    /// What is found at the cursor's place, which moves on.
    #[inline]
    fn found<'c>(&'c self, entry: &'c Entry, cursor: &mut Cursor) -> Found<'c> {
        let place = Place(cursor.next);
        cursor.next += 1;
        // Written only when it changes, so that requests at once do not fight for the line.
        if entry.used.load(Ordering::Relaxed) != self.generation {
            entry.used.store(self.generation, Ordering::Relaxed);
        }
        if entry.described.load(Ordering::Relaxed) == self.families.version() {
            Found::Known(Known { series: &entry.series, id: entry.id, metric_type: entry.metric_type })
        } else {
            Found::Undescribed(&entry.series, place)
        }
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
        let place = *self.index.entry(entry.hash).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some(taken) => {
                let replaced = std::mem::replace(taken, entry);
                self.bytes = self.bytes.saturating_sub(replaced.size());
            }
            None => self.entries.push(entry),
        }
    }

    /// Forgets what was not used since the last time, and others until there is a quarter of room. Those that stay keep
    /// their order.
    fn make_room(&mut self, max_bytes: usize) {
        let generation = self.generation;
        let mut bytes = 0;
        let keep = max_bytes / 4 * 3;
        self.entries.retain_mut(|entry| {
            let stays = *entry.used.get_mut() == generation && bytes + entry.size() <= keep;
            bytes += if stays { entry.size() } else { 0 };
            stays
        });
        self.bytes = bytes;
        self.index.clear();
        self.index.extend(self.entries.iter().enumerate().map(|(place, entry)| (entry.hash, place)));
        self.generation = generation.wrapping_add(1);
    }
}
