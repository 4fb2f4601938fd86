//! Which series were active lately: their ids with the time of their last sample, a word each.

use crate::hash::{fold, random};

/// How long a series counts as active after its last sample, in epochs; beside the one that is under way.
pub(crate) const WINDOW: u64 = 12;

/// Epochs that a stamp tells apart; more than are ever kept.
const STAMPS: u64 = 15;

/// The low bits of a word are the stamp, the others the high bits of the id: enough to tell billions of series apart.
const STAMP: u64 = 0xf;

/// Fewest slots of a table that holds anything.
const LEAST: usize = 16;

/// Ids by hash: open addressing with linear probing, at most four fifths full. Nothing is removed but by
/// [`ActiveSet::sweep`].
#[derive(Debug)]
pub(crate) struct ActiveSet {
    /// Zero is vacant: stamps begin at one.
    slots: Vec<u64>,
    len: usize,
    /// The last epoch that a series was active in: the others are told by how far their stamps lie before its.
    latest: u64,
    /// Nobody outside can choose ids that meet.
    key: u64,
}

impl Default for ActiveSet {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0, latest: 0, key: random() }
    }
}

fn stamp_of(epoch: u64) -> u64 {
    epoch % STAMPS + 1
}

impl ActiveSet {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Notes that a series is active; answers whether it was known.
    pub(crate) fn touch(&mut self, id: u64, epoch: u64) -> bool {
        self.latest = self.latest.max(epoch);
        let place = self.place(id);
        match self.slots.get_mut(place) {
            Some(slot) if *slot != 0 => {
                *slot = *slot & !STAMP | stamp_of(epoch);
                true
            }
            _ => false,
        }
    }

    /// Adds a series; answers whether it was not known.
    pub(crate) fn insert(&mut self, id: u64, epoch: u64) -> bool {
        self.latest = self.latest.max(epoch);
        if (self.len + 1) * 5 > self.slots.len() * 4 {
            let words = std::mem::take(&mut self.slots);
            let room = (words.len() / 2 * 3).max(LEAST);
            self.refill(words.into_iter().filter(|word| *word != 0), room);
        }
        let place = self.place(id);
        let Some(slot) = self.slots.get_mut(place) else { return false };
        let new = *slot == 0;
        *slot = id & !STAMP | stamp_of(epoch);
        self.len += usize::from(new);
        new
    }

    /// Forgets what was not active within the `window` epochs before `epoch`; answers how many that were. To be called
    /// at the begin of each epoch in which any series is.
    pub(crate) fn sweep(&mut self, epoch: u64, window: u64) -> usize {
        let latest = self.latest;
        let before = |word: &u64| (stamp_of(latest) + STAMPS - (word & STAMP)) % STAMPS;
        self.retain(|word| epoch.saturating_sub(latest) + before(word) <= window)
    }

    /// Forgets half of the series, whichever; another half for each `bit` below 64.
    pub(super) fn halve(&mut self, bit: u32) -> usize {
        let key = self.key;
        self.retain(|word| fold(word & !STAMP ^ key, key | 1).rotate_right(bit) & 1 == 0)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn retain(&mut self, stays: impl Fn(&u64) -> bool) -> usize {
        let before = self.len;
        let kept = self.slots.iter().filter(|word| **word != 0 && stays(word)).count();
        if kept == before {
            return 0;
        }
        let words = std::mem::take(&mut self.slots);
        let room = if kept == 0 { 0 } else { (kept / 2 * 3).max(LEAST) };
        self.refill(words.into_iter().filter(|word| *word != 0 && stays(word)), room);
        before - kept
    }

    fn refill(&mut self, words: impl Iterator<Item = u64>, room: usize) {
        self.slots = vec![0; room];
        self.len = 0;
        for word in words {
            let place = self.place(word);
            if let Some(slot) = self.slots.get_mut(place) {
                *slot = word;
                self.len += 1;
            }
        }
    }

    /// Where an id stands or would stand. There is always a vacant slot where there is any.
    fn place(&self, id: u64) -> usize {
        let id = id & !STAMP;
        let hash = fold(id ^ self.key, 0x9e37_79b9_7f4a_7c15);
        let mut at = ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize;
        while let Some(slot) = self.slots.get(at) {
            if *slot == 0 || slot & !STAMP == id {
                return at;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Ids that differ where words do.
    fn id(number: u64) -> u64 {
        number << 4 | number & STAMP
    }

    #[test]
    fn a_million_series_take_some_bytes_each() {
        let mut set = ActiveSet::default();
        assert!((0..1_000_000).all(|number| set.insert(id(number), 3)));
        assert!((0..1_000_000).all(|number| set.touch(id(number), 4)));
        assert!((1_000_000..1_001_000).all(|number| !set.touch(id(number), 4)));
        assert_eq!(set.len(), 1_000_000);
        assert!(set.slots.len() * 8 <= 16_000_000, "{} slots", set.slots.len());
        let gone = set.halve(0);
        assert!((400_000..600_000).contains(&gone) && set.len() == 1_000_000 - gone, "{gone}");
    }

    proptest! {
        #[test]
        fn what_was_active_in_the_window_is_known(
            steps in proptest::collection::vec((0u64..60, 0u8..4), 0..600),
        ) {
            let (mut set, mut model, mut epoch) = (ActiveSet::default(), HashMap::new(), 0);
            for (number, kind) in steps {
                match kind {
                    0 => {
                        epoch += number / 20;
                        set.sweep(epoch, WINDOW);
                        model.retain(|_, last| *last + WINDOW >= epoch);
                    }
                    1 => {
                        let known = set.touch(id(number), epoch);
                        prop_assert_eq!(known, model.contains_key(&number));
                        model.entry(number).and_modify(|last| *last = epoch);
                    }
                    _ => prop_assert_eq!(set.insert(id(number), epoch), model.insert(number, epoch).is_none()),
                }
                prop_assert_eq!(set.len(), model.len());
            }
        }
    }
}
