//! A hash table of ids alone: what an id stands for is kept elsewhere, and told through a closure.

/// Marks a slot that holds nothing; never given out as an id.
const VACANT: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Low half of the entry's hash: says without looking at the entry that it is another one, and where it belongs.
    hash: u32,
    id: u32,
}

/// Ids by hash: open addressing with linear probing, eight bytes a slot, at most 7/8 full.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Empty, or a power of two.
    slots: Vec<Slot>,
    len: usize,
}

impl Table {
    /// The id of the entry with this hash for which `same` holds.
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash as u32;
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.id == VACANT {
                return None;
            }
            if slot.hash == hash && same(slot.id) {
                return Some(slot.id);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an id that the table does not hold yet.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        self.place(Slot { hash: hash as u32, id });
        self.len += 1;
    }

    /// Removes an id; does nothing where it is not held under this hash.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        let mut hole = hash as u32 as usize & mask;
        while self.slots[hole].id != id {
            if self.slots[hole].id == VACANT {
                return;
            }
            hole = (hole + 1) & mask;
        }
        self.len -= 1;
        // Close the gap, so that no probe stops short of an entry behind it.
        let mut next = (hole + 1) & mask;
        while self.slots[next].id != VACANT {
            let home = self.slots[next].hash as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[hole].id = VACANT;
    }

    fn grow(&mut self) {
        let wider = vec![Slot { hash: 0, id: VACANT }; (self.slots.len() * 2).max(16)];
        for slot in std::mem::replace(&mut self.slots, wider) {
            if slot.id != VACANT {
                self.place(slot);
            }
        }
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].id != VACANT {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_finds_what_was_put_in_and_not_removed(
            steps in proptest::collection::vec((any::<bool>(), 0u32..40), 0..400),
        ) {
            // Few different hashes, so that probes are long and wrap around.
            let hash = |id: u32| u64::from(id % 7) * 5;
            let mut table = Table::default();
            let mut model = std::collections::BTreeSet::new();
            for (add, id) in steps {
                if !add {
                    table.remove(hash(id), id);
                    model.remove(&id);
                } else if model.insert(id) {
                    table.insert(hash(id), id);
                }
                for id in 0..40 {
                    prop_assert_eq!(table.find(hash(id), |other| other == id), model.get(&id).copied());
                }
            }
            prop_assert_eq!(table.len, model.len());
        }
    }
}
