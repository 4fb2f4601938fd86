//! Scrapes that were due and were not done: counted by reason, and told by the target's next batch.

use std::collections::BTreeMap;

use metricsd_model::Missed;
use parking_lot::Mutex;

/// Those of one target since its last batch.
#[derive(Debug, Default)]
pub(crate) struct MissedScrapes(Mutex<BTreeMap<Missed, u64>>);

impl MissedScrapes {
    /// Counts some.
    pub(crate) fn note(&self, reason: Missed, count: u64) {
        if count > 0 {
            *self.0.lock().entry(reason).or_default() += count;
        }
    }

    /// All of them, for the batch that tells.
    pub(crate) fn take(&self) -> BTreeMap<Missed, u64> {
        std::mem::take(&mut *self.0.lock())
    }

    /// The batch that was to tell is not stored: the next one tells, and that this one is missing.
    pub(crate) fn give_back(&self, missed: &BTreeMap<Missed, u64>) {
        missed.iter().for_each(|(reason, count)| self.note(*reason, *count));
        self.note(Missed::NotStored, 1);
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
        missed.give_back(&told);
        missed.note(Missed::Busy, 1);
        let told = missed.take();
        assert_eq!(told, BTreeMap::from([(Missed::Busy, 2), (Missed::Late, 3), (Missed::NotStored, 1)]));
    }
}
