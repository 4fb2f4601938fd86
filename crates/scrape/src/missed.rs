//! Scrapes that were due and were not done: counted by reason, and told by the target's next batch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use metricsd_model::{Millis, Missed};
use parking_lot::Mutex;

/// Those of one target since its last batch.
#[derive(Debug, Default)]
pub(crate) struct MissedScrapes(Mutex<BTreeMap<Missed, u64>>, AtomicI64);

impl MissedScrapes {
    /// Counts some.
    pub(crate) fn note(&self, reason: Missed, count: u64) {
        if count > 0 {
            *self.0.lock().entry(reason).or_default() += count;
        }
    }

    /// Counts one, and remembers when it was due.
    pub(crate) fn note_at(&self, reason: Missed, slot: Millis) {
        self.1.fetch_max(slot, Ordering::Relaxed);
        self.note(reason, 1);
    }

    /// All of them where no batch of this process will tell, with the time of the last one.
    pub(crate) fn take_rest(&self) -> Option<(Millis, BTreeMap<Missed, u64>)> {
        let (missed, last) = (self.take(), self.1.swap(0, Ordering::Relaxed));
        (!missed.is_empty() && last > 0).then_some((last, missed))
    }

    /// All of them, for the batch that tells.
    pub(crate) fn take(&self) -> BTreeMap<Missed, u64> {
        std::mem::take(&mut *self.0.lock())
    }

    /// The batch that was to tell is not stored: the next one tells.
    pub(crate) fn give_back(&self, missed: &BTreeMap<Missed, u64>) {
        missed.iter().for_each(|(reason, count)| self.note(*reason, *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_told_once() {
        let missed = MissedScrapes::default();
        missed.note(Missed::Busy, 1);
        missed.note(Missed::Late, 3);
        missed.note(Missed::Late, 0);
        let told = missed.take();
        assert_eq!(told, BTreeMap::from([(Missed::Busy, 1), (Missed::Late, 3)]));
        assert!(missed.take().is_empty());
        missed.note_at(Missed::Busy, 7_000);
        missed.note_at(Missed::Busy, 6_000);
        assert_eq!(missed.take_rest(), Some((7_000, BTreeMap::from([(Missed::Busy, 2)]))));
        assert_eq!(missed.take_rest(), None);
        missed.give_back(&told);
        missed.note(Missed::NotStored, 1);
        missed.note(Missed::Busy, 1);
        let told = missed.take();
        assert_eq!(told, BTreeMap::from([(Missed::Busy, 2), (Missed::Late, 3), (Missed::NotStored, 1)]));
    }
}
