//! Adaptive intervals: a target whose values do not change is scraped less, until they do.

use metricsd_model::{Millis, PromDuration, SampleValue};
use xxhash_rust::xxh3::Xxh3;

use crate::page::Scraped;

/// Scrapes without a change before the interval is stretched.
const PATIENCE: u32 = 3;

/// How often a target is worth scraping. The scrapes that are left are some of the scheduled ones.
#[derive(Debug)]
pub(crate) struct Pace {
    base: Millis,
    /// The longest that the interval may become; the interval itself where nothing is to be adapted.
    longest: Millis,
    /// What the last page held, in short.
    seen: Option<u64>,
    /// Scrapes in a row that found what the one before had found.
    unchanged: u32,
}

impl Pace {
    /// Of an interval, and the longest one that is wanted, both in milliseconds.
    pub(crate) fn new(base: Millis, longest: Option<u64>) -> Self {
        let longest = longest.map_or(base, |longest| i64::try_from(longest).unwrap_or(i64::MAX));
        Self { base: base.max(1), longest: longest.max(base), seen: None, unchanged: 0 }
    }

    fn adapts(&self) -> bool {
        self.longest > self.base
    }

    /// Takes note of a page.
    pub(crate) fn observe(&mut self, scraped: &Scraped) {
        if !self.adapts() {
            return;
        }
        let now = Some(fingerprint(scraped));
        self.unchanged = if now == self.seen { self.unchanged.saturating_add(1) } else { 0 };
        self.seen = now;
    }

    /// The target could not be scraped: that is watched as closely as may be.
    pub(crate) fn reset(&mut self) {
        (self.seen, self.unchanged) = (None, 0);
    }

    /// How far apart scrapes are for now: twice as far with every scrape without a change, once there were a few.
    pub(crate) fn interval(&self) -> Millis {
        let doublings = self.unchanged.saturating_sub(PATIENCE - 1).min(30);
        let stretched = self.base.saturating_mul(1 << doublings);
        // Whole intervals, as only scheduled scrapes can be left out.
        stretched.min(self.longest / self.base * self.base).max(self.base)
    }

    /// The first scheduled time from `slot` on at which a scrape is to take place, given when the last one did.
    pub(crate) fn next_due(&self, slot: Millis, last: Millis) -> Millis {
        if !self.adapts() {
            return slot;
        }
        // Half an interval is what a scrape out of turn or one that was late may shift things.
        let earliest = last.saturating_add(self.interval() - self.base / 2);
        let left_out = (earliest.saturating_sub(slot).max(0) + self.base - 1) / self.base;
        slot.saturating_add(left_out * self.base)
    }

    /// What people are told.
    pub(crate) fn note(&self) -> Option<String> {
        if self.interval() == self.base {
            return None;
        }
        let duration = |millis: Millis| {
            PromDuration(std::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
        };
        Some(format!(
            "its values did not change in {} scrapes: it is scraped every {} instead of every {}, until they do",
            self.unchanged,
            duration(self.interval()),
            duration(self.base)
        ))
    }
}

/// What a page says, without when it says it.
fn fingerprint(scraped: &Scraped) -> u64 {
    let mut hash = Xxh3::new();
    for (id, value) in scraped.layout.ids.iter().zip(&scraped.values) {
        hash.update(&id.0.to_le_bytes());
        hash.update(&value.to_bits().to_le_bytes());
    }
    for (_, histogram) in &scraped.histograms {
        hash.update(&histogram.pack());
    }
    for (series, _, value) in &scraped.timed {
        hash.update(&series.id.0.to_le_bytes());
        match value {
            SampleValue::Float(value) => hash.update(&value.to_bits().to_le_bytes()),
            SampleValue::Histogram(histogram) => hash.update(&histogram.pack()),
            SampleValue::Stale => {}
        }
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace after so many scrapes that changed nothing.
    fn after(unchanged: u32, longest: Option<u64>) -> Pace {
        Pace { unchanged, ..Pace::new(10_000, longest) }
    }

    #[test]
    fn intervals_double_within_bounds() {
        let intervals = |longest| [0, 1, 2, 3, 4, 5, 6, 1_000].map(|n| after(n, longest).interval() / 1_000);
        assert_eq!(intervals(None), [10; 8]);
        assert_eq!(intervals(Some(5_000)), [10; 8], "shorter than the interval says nothing");
        assert_eq!(intervals(Some(65_000)), [10, 10, 10, 20, 40, 60, 60, 60]);
        assert_eq!(after(u32::MAX, Some(u64::MAX)).interval(), 10_000 << 30);
    }

    #[test]
    fn what_is_left_out_are_scheduled_scrapes() {
        let pace = after(4, Some(60_000));
        let due = |slot: i64| pace.next_due(slot * 1_000, 0) / 1_000;
        assert_eq!([10, 20, 30, 40, 50].map(due), [40, 40, 40, 40, 50]);
        assert_eq!(pace.next_due(40_000, 1_200), 40_000, "a scrape that was late does not shift the next");
        let plain = after(4, None);
        assert_eq!(plain.next_due(1, 0), 1);
        assert!(plain.note().is_none() && after(2, Some(60_000)).note().is_none());
        let note = pace.note().unwrap();
        assert!(note.contains("every 40s instead of every 10s"), "{note}");
    }
}
