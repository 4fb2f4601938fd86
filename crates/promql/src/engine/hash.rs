//! Maps by label sets: one hash of the canonical bytes rather than one of every byte for itself.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use metricsd_model::LabelSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A map by label sets.
pub(crate) type LabelMap<V> = HashMap<LabelSet, V, Seeded>;

/// New for every process, so that nobody can choose labels that collide.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// Builds hashers with the process's seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seeded;

/// XXH3 over each write, the one before being the seed.
pub(crate) struct LabelHasher(u64);

impl BuildHasher for Seeded {
    type Hasher = LabelHasher;

    fn build_hasher(&self) -> LabelHasher {
        LabelHasher(*SEED)
    }
}

impl Hasher for LabelHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// Lengths of slices: the bytes that follow say as much.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
