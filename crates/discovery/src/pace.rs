//! How often a provider asks: its interval with jitter, and longer and longer waits while it fails.

use std::time::Duration;

/// The first wait after a failure, unless the interval is shorter.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Waits after failures grow up to the interval, but never past this …
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// … and at least to this, so that an interval of a second does not hammer a server that is down.
const SHORTEST_CAP: Duration = Duration::from_secs(30);
/// Below this nothing is polled, whatever a configuration says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Waits are shortened by up to this part, so that many providers of one interval do not ask in step.
const JITTER: f64 = 0.1;

/// When the next attempt is due.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    failures: u32,
}

impl Pace {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval: interval.max(SHORTEST_INTERVAL), failures: 0 }
    }

    /// The wait after an answer: never longer than the interval.
    pub(crate) fn succeeded(&mut self) -> Duration {
        self.failures = 0;
        jittered(self.interval)
    }

    /// The wait after a failure: doubled each time, up to a cap.
    pub(crate) fn failed(&mut self) -> Duration {
        let cap = self.interval.clamp(SHORTEST_CAP, LONGEST_RETRY);
        let first = self.interval.min(FIRST_RETRY);
        let wait = first.saturating_mul(2_u32.saturating_pow(self.failures)).min(cap);
        self.failures = self.failures.saturating_add(1);
        jittered(wait)
    }
}

/// Up to a tenth less.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(wait: Duration, expected: Duration) {
        assert!(wait <= expected && wait >= expected.mul_f64(0.9), "{wait:?} is not near {expected:?}");
    }

    #[test]
    fn failures_wait_longer_up_to_the_interval() {
        let mut pace = Pace::new(Duration::from_secs(60));
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            near(pace.failed(), Duration::from_secs(seconds));
        }
        near(pace.succeeded(), Duration::from_secs(60));
        near(pace.failed(), Duration::from_secs(1));
    }

    #[test]
    fn short_intervals_back_off_further_and_long_ones_are_capped() {
        let mut pace = Pace::new(Duration::from_millis(500));
        near(pace.failed(), Duration::from_millis(500));
        (0..40).for_each(|_| _ = pace.failed());
        near(pace.failed(), SHORTEST_CAP);
        let mut pace = Pace::new(Duration::from_secs(86_400));
        (0..40).for_each(|_| _ = pace.failed());
        near(pace.failed(), LONGEST_RETRY);
    }
}
