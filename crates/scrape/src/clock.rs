//! Wall time that never goes back: schedules and timestamps must not repeat when the system's clock is set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metricsd_model::Millis;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How far the system's clock may run ahead before it is followed.
const TOLERANCE_MS: i64 = 50;

/// Milliseconds since the epoch, from the monotonic clock; follows the system's clock forward, never back. Once it is
/// steered, it follows the one who steers alone.
pub(crate) struct Clock {
    anchor: Mutex<(Instant, Millis)>,
    /// What it showed last, once it is steered.
    steered: Mutex<Option<Millis>>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { anchor: Mutex::new((Instant::now(), wall())), steered: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Millis {
        self.at(Instant::now(), wall())
    }

    /// Someone whose time counts for all showed `time` at `instant`. The first time it is taken as it is, for nothing has been
    /// done by this clock; later a difference within the tolerance is left, and the clock stands still instead of going back.
    pub(crate) fn steer(&self, instant: Instant, time: Millis) {
        let mut anchor = self.anchor.lock();
        let mut shown = self.steered.lock();
        let own = anchor.1 + elapsed(anchor.0, instant);
        if shown.is_none() || (time - own).abs() > TOLERANCE_MS {
            *anchor = (instant, time);
        }
        let now = anchor.1 + elapsed(anchor.0, Instant::now());
        *shown = Some(shown.map_or(now, |shown| shown.max(now)));
    }

    fn at(&self, instant: Instant, wall: Millis) -> Millis {
        let mut anchor = self.anchor.lock();
        let now = anchor.1 + elapsed(anchor.0, instant);
        if let Some(shown) = &mut *self.steered.lock() {
            *shown = now.max(*shown);
            return *shown;
        }
        if wall > now + TOLERANCE_MS {
            *anchor = (instant, wall);
            return wall;
        }
        now
    }

    /// When a time comes, as far as the timer is concerned.
    pub(crate) fn instant_of(&self, at: Millis) -> Instant {
        let wait = u64::try_from(at - self.now()).unwrap_or(0);
        Instant::now() + Duration::from_millis(wait)
    }
}

fn elapsed(since: Instant, until: Instant) -> Millis {
    i64::try_from(until.saturating_duration_since(since).as_millis()).unwrap_or(0)
}

fn wall() -> Millis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_forward_and_never_back() {
        let start = Instant::now();
        let clock = Clock { anchor: Mutex::new((start, 1_000)), steered: Mutex::default() };
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.at(after(10), 1_010), 1_010);
        assert_eq!(clock.at(after(20), 400), 1_020, "set back: goes on as before");
        assert_eq!(clock.at(after(30), 5_000), 5_000, "set forward: followed");
        assert_eq!(clock.at(after(40), 4_000), 5_010);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steered_clock_follows_the_one_who_steers() {
        let clock = Clock::new();
        let start = Instant::now();
        clock.steer(start, 10_000);
        assert_eq!(
            (clock.now(), clock.at(start, 99_000)),
            (10_000, 10_000),
            "the system's clock does not count"
        );
        tokio::time::advance(std::time::Duration::from_millis(500)).await;
        clock.steer(Instant::now(), 10_480);
        assert_eq!(clock.now(), 10_500, "within the tolerance");
        clock.steer(Instant::now(), 10_300);
        assert_eq!(clock.now(), 10_500, "stands still");
        tokio::time::advance(std::time::Duration::from_millis(300)).await;
        assert_eq!(clock.now(), 10_600);
        clock.steer(Instant::now(), 20_000);
        assert_eq!(clock.now(), 20_000);
    }
}
