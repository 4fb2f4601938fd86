//! Quotas as they are used up.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use metricsd_model::SeriesId;
use parking_lot::Mutex;

use crate::hash::Keyed;
use crate::tracker::ActiveSet;
use crate::tracker::{ACTIVE_EPOCHS, EPOCH_MILLIS};

/// Seconds' worth of a rate that may come at once: clients collect for some time and send then.
const BURST_SECONDS: f64 = 10.0;

/// Seconds' worth of a rate that may be owed for what came whether it was there or not.
const DEBT_SECONDS: f64 = 60.0;

/// A token bucket: fills at a steady rate, and what comes takes out of it.
///
/// What is more than the whole bucket holds passes when it is full, and leaves a debt: on average the rate holds.
#[derive(Debug)]
pub(super) struct Meter {
    rate: u64,
    state: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    level: f64,
    at: Instant,
}

impl Meter {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, state: Mutex::new(Level { level: rate as f64 * BURST_SECONDS, at: now }) }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    fn most(&self) -> f64 {
        self.rate as f64 * BURST_SECONDS
    }

    /// Takes so many; where they are not there, nothing, and answers how long to wait.
    pub(super) fn take(&self, count: u64, now: Instant) -> Result<(), Duration> {
        if count == 0 {
            return Ok(());
        }
        let most = self.most();
        let mut state = self.filled(now);
        if self.rate > 0 && (state.level >= count as f64 || state.level >= most) {
            state.level -= count as f64;
            return Ok(());
        }
        Err(self.until((count as f64).min(most), state.level))
    }

    /// Takes so many whether they are there or not, and answers how long to pause before more is taken.
    pub(super) fn take_anyway(&self, count: u64, now: Instant) -> Duration {
        let mut state = self.filled(now);
        // Many that send at once do not make one wait for ever.
        let least = -(self.rate as f64 * DEBT_SECONDS);
        state.level = (state.level - count as f64).max(least.min(state.level));
        self.until(0.0, state.level)
    }

    /// Puts back what was not used after all.
    pub(super) fn put_back(&self, count: u64, now: Instant) {
        let most = self.most();
        let mut state = self.filled(now);
        state.level = (state.level + count as f64).min(most);
    }

    fn filled(&self, now: Instant) -> parking_lot::MutexGuard<'_, Level> {
        let mut state = self.state.lock();
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        state.at = state.at.max(now);
        state.level = (state.level + passed * self.rate as f64).min(self.most());
        state
    }

    fn until(&self, wanted: f64, level: f64) -> Duration {
        let seconds = (wanted - level).max(0.0) / self.rate as f64;
        // Of a rate of nothing it is infinite, or no number.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Series that were active within the last hour, up to a bound.
#[derive(Debug)]
pub(super) struct SeriesMeter {
    most: u64,
    began: Instant,
    state: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    set: ActiveSet,
    swept: u64,
}

impl SeriesMeter {
    pub(super) fn new(most: u64, now: Instant) -> Self {
        Self { most, began: now, state: Mutex::default() }
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Notes that these are active; where they would be too many none of the new ones is noted, and it answers how long
    /// to wait at least.
    pub(super) fn admit(&self, ids: impl Iterator<Item = SeriesId>, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.began).as_millis();
        let epoch = u64::try_from(passed).unwrap_or(u64::MAX) / EPOCH_MILLIS;
        let mut state = self.state.lock();
        if state.swept < epoch {
            state.swept = epoch;
            state.set.sweep(epoch, ACTIVE_EPOCHS);
        }
        let mut new: HashSet<SeriesId, Keyed> = HashSet::default();
        for id in ids {
            if state.set.touch(id.0, epoch) || !new.insert(id) {
                continue;
            }
            if (state.set.len() + new.len()) as u64 > self.most {
                return Err(Duration::from_millis(EPOCH_MILLIS));
            }
        }
        for id in new {
            state.set.insert(id.0, epoch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_bounded_on_average() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let meter = Meter::new(100, start);
        assert_eq!(meter.take(1_000, start), Ok(()), "ten seconds' worth at once");
        assert_eq!(meter.take(1, start), Err(Duration::from_millis(10)));
        assert_eq!(meter.take(200, at(1.0)), Err(Duration::from_secs(1)));
        assert_eq!(meter.take(100, at(1.0)), Ok(()));
        assert_eq!(meter.take(0, at(1.0)), Ok(()));
        // More than it ever holds: passes when it is full, and leaves a debt.
        assert_eq!(meter.take(3_000, at(6.0)), Err(Duration::from_secs(5)));
        assert_eq!(meter.take(3_000, at(11.0)), Ok(()));
        assert_eq!(meter.take(1, at(11.0)), Err(Duration::from_secs_f64(20.01)));
        meter.put_back(3_000, at(11.0));
        assert_eq!(meter.take(1_000, at(11.0)), Ok(()));
        assert_eq!(meter.take_anyway(50, at(11.0)), Duration::from_millis(500));
        assert_eq!(meter.take_anyway(0, at(12.0)), Duration::ZERO);
        assert_eq!(meter.take_anyway(1_000_000, at(12.0)), Duration::from_secs(60), "no more is owed");
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_pass() {
        let meter = Meter::new(0, Instant::now());
        assert_eq!(meter.take(1, Instant::now()), Err(Duration::MAX));
        assert_eq!(meter.take(0, Instant::now()), Ok(()));
    }

    #[test]
    fn series_beyond_the_bound_wait_until_others_are_idle() {
        let start = Instant::now();
        let later = |epochs: u64| start + Duration::from_millis(epochs * EPOCH_MILLIS);
        let ids = |range: std::ops::Range<u64>| range.map(|number| SeriesId(number << 16));
        let meter = SeriesMeter::new(10, start);
        assert_eq!(meter.admit(ids(0..8), start), Ok(()));
        assert_eq!(meter.admit(ids(0..8).chain(ids(0..8)), start), Ok(()));
        assert!(meter.admit(ids(7..11), start).is_err(), "eleven");
        assert_eq!(meter.admit(ids(8..10), later(5)), Ok(()), "nothing of what was refused counts");
        assert!(meter.admit(ids(20..21), later(12)).is_err());
        assert_eq!(meter.admit(ids(20..27), later(14)), Ok(()), "all but one are idle");
    }
}
