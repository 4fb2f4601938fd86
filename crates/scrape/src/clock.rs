//! Wall time that never goes back: schedules and timestamps must not repeat when the system's clock is set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metricsd_model::Millis;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How far the system's clock may run ahead before it is followed.
const TOLERANCE_MS: i64 = 50;

/// Milliseconds since the epoch, from the monotonic clock; follows the system's clock forward, never back.
pub(crate) struct Clock {
    anchor: Mutex<(Instant, Millis)>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { anchor: Mutex::new((Instant::now(), wall())) }
    }

    pub(crate) fn now(&self) -> Millis {
        self.at(Instant::now(), wall())
    }

    fn at(&self, instant: Instant, wall: Millis) -> Millis {
        let mut anchor = self.anchor.lock();
        let elapsed = instant.saturating_duration_since(anchor.0);
        let now = anchor.1 + i64::try_from(elapsed.as_millis()).unwrap_or(0);
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
        let clock = Clock { anchor: Mutex::new((start, 1_000)) };
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.at(after(10), 1_010), 1_010);
        assert_eq!(clock.at(after(20), 400), 1_020, "set back: goes on as before");
        assert_eq!(clock.at(after(30), 5_000), 5_000, "set forward: followed");
        assert_eq!(clock.at(after(40), 4_000), 5_010);
    }
}
