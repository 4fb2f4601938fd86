//! What is remembered of items from one request to the next.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{MetricSource, MetricType};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::exposition::MetricKind;

/// What items of one name, labels and description become: all but their values.
#[derive(Debug)]
pub(super) struct Known {
    /// As [`crate::remote_write::label_bytes`] writes them.
    pub(super) labels: Box<[u8]>,
    pub(super) source: MetricSource,
    /// Absent where nothing is said of the family.
    pub(super) family: Option<Family>,
}

#[derive(Debug)]
pub(super) struct Family {
    /// Tells it from others, in this process.
    pub(super) id: u64,
    pub(super) kind: MetricKind,
    pub(super) name: Box<str>,
    pub(super) help: Box<str>,
    pub(super) unit: Box<str>,
}

/// The name under which an item is known: a hash, under a key of the process, of the bytes of everything but its values.
pub(super) type Key = u128;

/// Remembers the labels of items by the bytes in which clients write them, so that they need not be taken apart again.
/// What was not seen for long is forgotten.
pub struct Memory {
    seed: u64,
    max_bytes: usize,
    state: RwLock<State>,
    /// What could not be remembered at once; the next who can does it.
    pending: Mutex<Pending>,
}

/// What waits to be remembered may take this part of all.
const PENDING_PART: usize = 8;

/// How long it is waited for those who read: they are asked to make room now and then, and whoever comes meanwhile waits
/// no longer than this.
const PATIENCE: Duration = Duration::from_millis(1);

/// Two halves: when the newer is full it takes the place of the older.
#[derive(Default)]
pub(super) struct State {
    newer: Table,
    older: Table,
    bytes: usize,
}

pub(super) type Table = HashMap<Key, Arc<Known>, BuildHasherDefault<Plain>>;

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

impl Memory {
    /// Remembers items in at most so many bytes, or nothing where that is 0.
    pub fn new(max_bytes: usize) -> Self {
        let seed = RandomState::new().hash_one(max_bytes);
        Self { seed, max_bytes, state: RwLock::default(), pending: Mutex::default() }
    }

    /// The key of an item: begins with [`Self::key`], goes on with [`mix`].
    #[inline]
    pub(super) fn key(&self) -> Key {
        Key::from(self.seed)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Items that are remembered.
    pub fn len(&self) -> usize {
        let state = self.read();
        state.newer.len() + state.older.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Remembers what was new in a request, later where others read for long.
    pub(super) fn remember(&self, fresh: Table) {
        if fresh.is_empty() || self.max_bytes == 0 {
            return;
        }
        let Some(mut state) = self.state.try_write_for(PATIENCE) else {
            return self.pending.lock().add(fresh, self.max_bytes / PENDING_PART);
        };
        let pending = std::mem::take(&mut *self.pending.lock());
        for (key, known) in pending.table.into_iter().chain(fresh) {
            if state.bytes >= self.max_bytes / 2 {
                state.older = std::mem::take(&mut state.newer);
                state.bytes = 0;
            }
            state.bytes += known.size();
            state.newer.insert(key, known);
        }
    }
}

#[derive(Default)]
struct Pending {
    table: Table,
    bytes: usize,
}

impl Pending {
    /// Adds what there is room for; the rest is read field by field once more.
    fn add(&mut self, fresh: Table, max_bytes: usize) {
        for (key, known) in fresh {
            if self.bytes >= max_bytes {
                return;
            }
            self.bytes += known.size();
            self.table.insert(key, known);
        }
    }
}

impl State {
    /// What is known of an item, and whether it would soon be forgotten.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<(&Arc<Known>, bool)> {
        if let Some(known) = self.newer.get(&key) {
            return Some((known, false));
        }
        self.older.get(&key).map(|known| (known, true))
    }
}

impl Known {
    fn size(&self) -> usize {
        let family = self.family.as_ref();
        let texts = family.map_or(0, |family| family.name.len() + family.help.len() + family.unit.len());
        192 + self.labels.len() + texts
    }
}

impl Family {
    /// What is said of a metric; `None` where that is nothing.
    pub(super) fn of(name: &str, metric_type: MetricType, help: &str, unit: &str) -> Option<Self> {
        let kind = kind_of(metric_type);
        if kind == MetricKind::Unknown && help.is_empty() && unit.is_empty() {
            return None;
        }
        let mut id = mix(kind as u128, 0, name.as_bytes());
        id = mix(id, 1, help.as_bytes());
        id = mix(id, 2, unit.as_bytes());
        Some(Self { id: id as u64, kind, name: name.into(), help: help.into(), unit: unit.into() })
    }
}

fn kind_of(metric_type: MetricType) -> MetricKind {
    match metric_type {
        MetricType::Counter => MetricKind::Counter,
        MetricType::Gauge => MetricKind::Gauge,
        MetricType::Histogram => MetricKind::Histogram,
        MetricType::Summary => MetricKind::Summary,
        MetricType::Custom => MetricKind::Unknown,
    }
}

/// A key with one more field.
#[inline]
pub(super) fn mix(key: Key, field: u64, bytes: &[u8]) -> Key {
    let seed = (key as u64).wrapping_add((key >> 64) as u64).wrapping_add(field);
    xxh3_128_with_seed(bytes, seed) ^ key.rotate_left(1)
}
