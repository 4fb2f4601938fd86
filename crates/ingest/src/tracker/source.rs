//! What is known of one source's series: which are active, how many are new, how many were refused.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use metricsd_model::{Refusal, SeriesId};
use parking_lot::Mutex;

use super::active::{ActiveSet, WINDOW};
use super::{Acquaintance, EPOCH_MILLIS, LEARNING_MILLIS, SeriesLimits};
use crate::hash::Keyed;

/// Series of one source for which the store is asked in a minute and which it does not have: beyond, it is not asked,
/// so that a flood of new series is not a flood of questions.
const MAX_STRANGERS: usize = 100_000;

const MINUTE: u64 = 60_000;

/// One source.
pub(super) struct Source {
    pub(super) source_id: Box<str>,
    pub(super) state: Mutex<State>,
    /// When it was last looked up, in milliseconds of the tracker.
    pub(super) used: AtomicU64,
    refused_active: AtomicU64,
    refused_new: AtomicU64,
}

/// What changes.
pub(super) struct State {
    pub(super) active: ActiveSet,
    bucket: Bucket,
    new: Minutes,
    /// Series that the store was asked for lately and does not have.
    strangers: HashSet<SeriesId, Keyed>,
    strangers_minute: u64,
}

/// What becomes of a sample of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The series was active already.
    Active,
    /// It is from now on.
    Added,
    /// It is new, and a limit is reached. `doubtful`: unless the store has it.
    Refused { reason: Refusal, doubtful: bool },
}

impl Source {
    pub(super) fn new(source_id: &str, limits: &SeriesLimits, now: u64) -> Self {
        let state = State {
            active: ActiveSet::default(),
            bucket: Bucket { tokens: limits.max_new_per_minute as f64, filled: now },
            new: Minutes::default(),
            strangers: HashSet::default(),
            strangers_minute: 0,
        };
        Self {
            source_id: source_id.into(),
            state: Mutex::new(state),
            used: AtomicU64::new(now),
            refused_active: AtomicU64::new(0),
            refused_new: AtomicU64::new(0),
        }
    }

    /// Counts samples that were refused.
    pub(super) fn refused(&self, active: u64, new: u64) {
        self.refused_active.fetch_add(active, Ordering::Relaxed);
        self.refused_new.fetch_add(new, Ordering::Relaxed);
    }

    /// Samples refused so far by the limit on active series, and by that on new ones.
    pub(super) fn refusals(&self) -> (u64, u64) {
        (self.refused_active.load(Ordering::Relaxed), self.refused_new.load(Ordering::Relaxed))
    }
}

impl State {
    /// Decides over a series that has a sample at `now`.
    pub(super) fn admit(
        &mut self,
        id: SeriesId,
        acquaintance: Acquaintance,
        limits: &SeriesLimits,
        now: u64,
    ) -> Answer {
        let epoch = now / EPOCH_MILLIS;
        if self.active.touch(id.0, epoch) {
            return Answer::Active;
        }
        if limits.max_active > 0 && self.active.len() >= limits.max_active {
            // Before a process knows who was active before it came, those that are stored may have been.
            return self.refuse(id, Refusal::SeriesLimit, now < LEARNING_MILLIS, now);
        }
        if acquaintance == Acquaintance::New {
            if !self.bucket.take(limits.max_new_per_minute, now) {
                return self.refuse(id, Refusal::SeriesRateLimit, true, now);
            }
            self.new.add(now);
        }
        self.active.insert(id.0, epoch);
        Answer::Added
    }

    fn refuse(&self, id: SeriesId, reason: Refusal, doubtful: bool, now: u64) -> Answer {
        let fresh = self.strangers_minute == now / MINUTE;
        let asked = fresh && (self.strangers.len() >= MAX_STRANGERS || self.strangers.contains(&id));
        Answer::Refused { reason, doubtful: doubtful && !asked }
    }

    /// What the store says of series that were in doubt: those it has are active from now on. Answers how many were
    /// added.
    pub(super) fn learn(&mut self, asked: &[SeriesId], stored: &HashSet<SeriesId>, now: u64) -> usize {
        let minute = now / MINUTE;
        if std::mem::replace(&mut self.strangers_minute, minute) != minute {
            self.strangers = HashSet::default();
        }
        let mut added = 0;
        for id in asked {
            if stored.contains(id) {
                added += usize::from(self.active.insert(id.0, now / EPOCH_MILLIS));
            } else if self.strangers.len() < MAX_STRANGERS {
                self.strangers.insert(*id);
            }
        }
        added
    }

    /// Forgets who is no longer active; answers how many that were.
    pub(super) fn sweep(&mut self, now: u64) -> usize {
        if self.strangers_minute != now / MINUTE {
            self.strangers = HashSet::default();
        }
        self.active.sweep(now / EPOCH_MILLIS, WINDOW)
    }

    /// Series that were new within the last minute, and within the last hour.
    pub(super) fn new_series(&self, now: u64) -> (u64, u64) {
        (self.new.within(1, now), self.new.within(MINUTES, now))
    }
}

/// New series that may still come: a minute's worth at most, filled evenly.
struct Bucket {
    tokens: f64,
    filled: u64,
}

impl Bucket {
    /// Takes one; `false` where there is none. A limit of 0 is none.
    fn take(&mut self, per_minute: usize, now: u64) -> bool {
        if per_minute == 0 {
            return true;
        }
        let passed = now.saturating_sub(self.filled) as f64;
        self.filled = self.filled.max(now);
        let most = per_minute as f64;
        self.tokens = (self.tokens + passed * most / MINUTE as f64).min(most);
        let there = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(there));
        there
    }
}

/// Minutes that are counted each by itself.
const MINUTES: u64 = 60;

/// How many there were in each of the last minutes, the one under way included.
struct Minutes {
    counts: [u32; MINUTES as usize],
    minute: u64,
}

impl Default for Minutes {
    fn default() -> Self {
        Self { counts: [0; MINUTES as usize], minute: 0 }
    }
}

impl Minutes {
    fn add(&mut self, now: u64) {
        let minute = now / MINUTE;
        let gone = minute.saturating_sub(self.minute).min(MINUTES);
        for past in 0..gone {
            if let Some(count) = self.counts.get_mut(((minute - past) % MINUTES) as usize) {
                *count = 0;
            }
        }
        self.minute = self.minute.max(minute);
        if let Some(count) = self.counts.get_mut((minute % MINUTES) as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// In the last `minutes`, the one under way included.
    fn within(&self, minutes: u64, now: u64) -> u64 {
        let first = (now / MINUTE + 1).saturating_sub(minutes);
        let earliest = (self.minute + 1).saturating_sub(MINUTES);
        (first.max(earliest)..=self.minute)
            .filter_map(|minute| self.counts.get((minute % MINUTES) as usize))
            .map(|count| u64::from(*count))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(max_active: usize, max_new_per_minute: usize) -> (Source, SeriesLimits) {
        let limits = SeriesLimits { max_active, max_new_per_minute };
        (Source::new("s", &limits, 0), limits)
    }

    fn admit(of: &(Source, SeriesLimits), id: u64, now: u64) -> Answer {
        of.0.state.lock().admit(SeriesId(id << 8), Acquaintance::New, &of.1, now)
    }

    #[test]
    fn active_series_flow_on_and_new_ones_wait_for_room() {
        let of = source(2, 0);
        assert_eq!(admit(&of, 1, 0), Answer::Added);
        assert_eq!(admit(&of, 2, 1), Answer::Added);
        let refused = |doubtful| Answer::Refused { reason: Refusal::SeriesLimit, doubtful };
        assert_eq!(admit(&of, 3, 2), refused(true));
        for now in [3, EPOCH_MILLIS, 12 * EPOCH_MILLIS] {
            assert_eq!(admit(&of, 1, now), Answer::Active);
        }
        let late = LEARNING_MILLIS + EPOCH_MILLIS;
        assert_eq!(admit(&of, 3, late), refused(false), "whoever was active is known by now");
        assert_eq!(of.0.state.lock().sweep(late), 1);
        assert_eq!(admit(&of, 3, late), Answer::Added);
    }

    #[test]
    fn new_series_come_at_the_rate_that_is_allowed() {
        let of = source(0, 60);
        assert!((0..60).all(|id| admit(&of, id, 0) == Answer::Added));
        let refused = Answer::Refused { reason: Refusal::SeriesRateLimit, doubtful: true };
        assert_eq!(admit(&of, 60, 0), refused);
        assert_eq!(admit(&of, 0, 0), Answer::Active);
        assert_eq!(admit(&of, 60, 999), refused);
        assert_eq!(admit(&of, 60, 1_000), Answer::Added);
        assert_eq!(admit(&of, 61, 1_000), refused);
        // What the caches know is not new, however long it was away.
        let known = of.0.state.lock().admit(SeriesId(99 << 8), Acquaintance::Known, &of.1, 1_000);
        assert_eq!(known, Answer::Added);
        assert_eq!(of.0.state.lock().new_series(1_000), (61, 61));
        assert_eq!(of.0.state.lock().new_series(60_000), (0, 61));
        assert_eq!(of.0.state.lock().new_series(61 * 60_000), (0, 0));
    }

    #[test]
    fn the_store_tells_who_is_not_new_and_is_not_asked_twice_a_minute() {
        let of = source(0, 1);
        assert_eq!(admit(&of, 1, 0), Answer::Added);
        let asked = [SeriesId(2 << 8), SeriesId(3 << 8)];
        let stored = HashSet::from([asked[0]]);
        assert_eq!(of.0.state.lock().learn(&asked, &stored, 0), 1);
        assert_eq!(admit(&of, 2, 0), Answer::Active);
        let refused = |doubtful| Answer::Refused { reason: Refusal::SeriesRateLimit, doubtful };
        assert_eq!(admit(&of, 3, 0), refused(false));
        assert_eq!(admit(&of, 4, 0), refused(true));
        assert_eq!(admit(&of, 3, MINUTE), Answer::Added);
        assert_eq!(admit(&of, 4, MINUTE), refused(true));
    }

    #[test]
    fn minutes_are_counted_each_by_itself() {
        let mut minutes = Minutes::default();
        for minute in [0, 0, 1, 59, 60, 130] {
            minutes.add(minute * MINUTE);
        }
        let check = |back, now, expected| assert_eq!(minutes.within(back, now * MINUTE), expected, "{now}");
        check(1, 130, 1);
        check(60, 130, 1);
        check(60, 189, 1);
        check(60, 190, 0);
    }
}
