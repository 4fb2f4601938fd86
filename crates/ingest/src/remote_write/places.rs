//! Places in a list, found by the hashes of what stands there.

/// Fewest slots of a table that holds anything.
const LEAST: usize = 16;

/// Places by hash: open addressing with linear probing, at most four fifths full, four bytes a slot. Hashes and entries
/// are kept elsewhere, and told through closures.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// One more than the place; zero is vacant.
    slots: Vec<u32>,
    len: usize,
}

impl Places {
    /// A table of the first `len` places.
    pub(super) fn of(len: usize, hash: impl Fn(usize) -> u64) -> Self {
        let mut table = Self { slots: vec![0; (len / 5 * 7).max(LEAST)], len };
        for place in 0..len {
            table.put(place, hash(place));
        }
        table
    }

    /// The place with this hash for which `same` holds.
    pub(super) fn find(&self, hash: u64, same: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let place = (*self.slots.get(at)?).checked_sub(1)? as usize;
            if same(place) {
                return Some(place);
            }
            at = self.after(at);
        }
    }

    /// Adds the next place; `hash` knows that of each.
    pub(super) fn push(&mut self, hash: impl Fn(usize) -> u64) {
        if (self.len + 1) * 5 > self.slots.len() * 4 {
            *self = Self::of(self.len + 1, hash);
            return;
        }
        self.put(self.len, hash(self.len));
        self.len += 1;
    }

    fn put(&mut self, place: usize, hash: u64) {
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|slot| *slot != 0) {
            at = self.after(at);
        }
        // Entries are of many bytes each, so that their places fit.
        if let (Some(slot), Ok(place)) = (self.slots.get_mut(at), u32::try_from(place + 1)) {
            *slot = place;
        }
    }

    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_their_hashes() {
        let hash = |place: usize| (place as u64 / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut table = Places::default();
        assert_eq!(table.find(hash(0), |_| true), None);
        for place in 0..5_000 {
            table.push(hash);
            assert!((place / 2..=place).all(|at| table.find(hash(at), |found| found == at) == Some(at)));
        }
        assert_eq!(table.find(hash(5_001), |found| found == 5_001), None);
        assert!(table.slots.len() < 10_000);
        let table = Places::of(100, hash);
        assert!((0..100).all(|at| table.find(hash(at), |found| found == at) == Some(at)));
    }
}
