//! Series that remote writers have sent before, found by the bytes of their labels.
//!
//! Requests read under a shared lock and mark what they use; what is new is added at a request's end under one
//! exclusive lock. When the bound is reached, what was not used since the last time goes; where that is too little,
//! others go too.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metricsd_model::Series;
use parking_lot::{RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::families::Families;
use crate::hash::{AsIs, fold, random};

/// What a series costs beside its texts: table slot, allocations, the struct.
const ENTRY_BYTES: usize = 320;

/// Series of all remote writers.
pub(crate) struct SeriesCache {
    state: RwLock<State>,
    max_bytes: usize,
    /// Keeps hashes unpredictable.
    secret: [u8; 192],
}

/// What is remembered.
pub(super) struct State {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsIs>>,
    bytes: usize,
    generation: u32,
    /// What was said of metric families.
    pub(super) families: Families,
}

/// One series, as wide as a cache line with its key.
struct Entry {
    raw: Box<[u8]>,
    series: Arc<Series>,
    /// Who sent it.
    source: u64,
    /// The generation that used it last.
    used: AtomicU32,
    /// The version of the families by which it was typed.
    described: AtomicU32,
}

/// Which series a request asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    /// Keyed hash of source and labels.
    pub(super) hash: u64,
    /// Who sends it.
    pub(super) source: u64,
    /// The labels' bytes.
    pub(super) raw: &'a [u8],
}

/// What the cache knows of a series.
pub(super) enum Found<'c> {
    /// All that there is to know.
    Known(&'c Arc<Series>),
    /// More may have been said of its family since.
    Undescribed(&'c Arc<Series>),
    /// Nothing.
    Unknown,
}

/// A series to remember.
pub(super) struct Fresh {
    /// The labels' bytes.
    pub(super) raw: Box<[u8]>,
    /// The series.
    pub(super) series: Arc<Series>,
}

/// Series to remember, by the hash of their key.
pub(super) type FreshSeries = HashMap<u64, Fresh, BuildHasherDefault<AsIs>>;

impl SeriesCache {
    /// An empty cache of at most about `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let mut secret = [0; 192];
        secret.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random().to_le_bytes()));
        let state =
            State { entries: HashMap::default(), bytes: 0, generation: 1, families: Families::default() };
        Self { state: RwLock::new(state), max_bytes, secret }
    }

    /// Number of a source.
    pub(super) fn source(&self, source_id: &str) -> u64 {
        xxh3_64_with_secret(source_id.as_bytes(), &self.secret)
    }

    /// Key of a series of a source.
    #[inline]
    pub(super) fn key<'a>(&self, source: u64, raw: &'a [u8]) -> Key<'a> {
        let hash = fold(xxh3_64_with_secret(raw, &self.secret) ^ source, 0x9e37_79b9_7f4a_7c15);
        Key { hash, source, raw }
    }

    /// For a request's reading.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Notes what was said of families; later requests, and this one, type their series by it.
    pub(super) fn describe(&self, said: &[super::families::Described<'_>]) {
        if said.is_empty() || self.state.read().families.knows(said) {
            return;
        }
        self.state.write().families.note(said);
    }

    /// Remembers series that were typed by a version of the families.
    pub(super) fn remember(&self, source: u64, version: u32, fresh: FreshSeries) {
        if fresh.is_empty() {
            return;
        }
        let mut state = self.state.write();
        for (hash, Fresh { raw, series }) in fresh {
            let entry = Entry {
                raw,
                series,
                source,
                used: AtomicU32::new(state.generation),
                described: AtomicU32::new(version),
            };
            let size = entry.size();
            if state.bytes + size > self.max_bytes {
                state.make_room(self.max_bytes);
            }
            state.bytes += size;
            if let Some(replaced) = state.entries.insert(hash, entry) {
                state.bytes = state.bytes.saturating_sub(replaced.size());
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
        let texts = [&series.help, &series.unit].into_iter().flatten().map(String::len).sum::<usize>();
        ENTRY_BYTES + self.raw.len() + series.labels.as_bytes().len() + series.source.len() + texts
    }
}

impl State {
    /// Looks a series up, and marks it as used.
    #[inline]
    pub(super) fn find(&self, key: Key<'_>) -> Found<'_> {
        let Some(entry) = self.entries.get(&key.hash) else {
            return Found::Unknown;
        };
        if entry.source != key.source || *entry.raw != *key.raw {
            return Found::Unknown;
        }
        // Written only when it changes, so that requests at once do not fight for the line.
        if entry.used.load(Ordering::Relaxed) != self.generation {
            entry.used.store(self.generation, Ordering::Relaxed);
        }
        if entry.described.load(Ordering::Relaxed) == self.families.version() {
            Found::Known(&entry.series)
        } else {
            Found::Undescribed(&entry.series)
        }
    }

    /// Notes that a series' type is what it was.
    pub(super) fn still_described(&self, hash: u64) {
        if let Some(entry) = self.entries.get(&hash) {
            entry.described.store(self.families.version(), Ordering::Relaxed);
        }
    }

    /// Forgets what was not used since the last time, and others until there is a quarter of room.
    fn make_room(&mut self, max_bytes: usize) {
        let generation = self.generation;
        let mut bytes = 0;
        let keep = max_bytes / 4 * 3;
        self.entries.retain(|_, entry| {
            let stays = *entry.used.get_mut() == generation && bytes + entry.size() <= keep;
            bytes += if stays { entry.size() } else { 0 };
            stays
        });
        self.bytes = bytes;
        self.generation = generation.wrapping_add(1);
    }
}
