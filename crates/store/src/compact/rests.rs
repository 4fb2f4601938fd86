//! Hours that rest: late samples trickle in, and each pass over an hour writes anew every segment that they touch.

use std::collections::HashMap;
use std::time::Duration;

use metricsd_model::Millis;
use tokio::time::Instant;

/// Hours that this process compacted lately. An hour whose first pass is over is taken again only when its rest is;
/// what comes for it meanwhile waits and is merged at once. Another process, or this one after a restart, knows nothing of it.
#[derive(Debug, Default)]
pub struct Rests {
    passed: HashMap<Millis, Instant>,
}

/// Hours that are remembered; beyond, those that rested longest are forgotten.
const REMEMBERED: usize = 10_000;

impl Rests {
    /// Notes that a pass over an hour ended now.
    pub fn begin(&mut self, hour: Millis) {
        if self.passed.len() >= REMEMBERED
            && let Some(oldest) = self.passed.iter().min_by_key(|(_, ended)| **ended).map(|(hour, _)| *hour)
        {
            self.passed.remove(&oldest);
        }
        self.passed.insert(hour, Instant::now());
    }

    /// Whether an hour rests, and is to be left alone, when each rests so long.
    pub fn rests(&self, hour: Millis, rest: Duration) -> bool {
        self.passed.get(&hour).is_some_and(|ended| ended.elapsed() < rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_rests_after_its_pass() {
        let mut rests = Rests::default();
        let rest = Duration::from_secs(60);
        assert!(!rests.rests(5, rest));
        rests.begin(5);
        assert!(rests.rests(5, rest) && !rests.rests(6, rest) && !rests.rests(5, Duration::ZERO));
        tokio::time::advance(rest).await;
        assert!(!rests.rests(5, rest));
        (0..2 * REMEMBERED as i64).for_each(|hour| rests.begin(hour));
        assert_eq!(rests.passed.len(), REMEMBERED);
    }
}
