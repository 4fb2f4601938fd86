//! Maps by series id. Ids are hashes already, so that hashing them again costs more than it gives.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// The places of the series that a selection wants, by their ids as the database keeps them.
pub type Wanted = HashMap<i64, usize, IdState>;

/// New for every process, so that nobody can choose labels whose ids meet in a map.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Builds [`IdHasher`]s.
#[derive(Debug, Clone, Copy)]
pub struct IdState(u64);

impl Default for IdState {
    fn default() -> Self {
        Self(*SEED)
    }
}

impl BuildHasher for IdState {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.0)
    }
}

/// One multiplication an id.
#[derive(Debug)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        let product = u128::from(self.0 ^ id) * u128::from(SPREAD);
        // Both halves: the low bits of a product know little of the high bits of its factors.
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn write_i64(&mut self, id: i64) {
        self.write_u64(id.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spread_over_high_and_low_bits() {
        let state = IdState::default();
        let hashes: Vec<u64> = (0..4_096_i64).map(|id| state.hash_one(id << 40)).collect();
        for shift in [0, 57] {
            let mut buckets = [0usize; 128];
            hashes.iter().for_each(|hash| buckets[(hash >> shift & 127) as usize] += 1);
            assert!(buckets.iter().all(|count| (1..160).contains(count)), "{buckets:?}");
        }
    }

    #[test]
    fn wanted_series_are_found_by_their_ids() {
        let wanted: Wanted = [(i64::MIN, 0), (-1, 1), (0, 2), (i64::MAX, 3)].into_iter().collect();
        assert_eq!(
            [i64::MIN, -1, 0, i64::MAX, 1].map(|id| wanted.get(&id).copied()),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }
}
