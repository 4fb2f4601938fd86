//! When each target is due: every interval, at an offset of its own, so that load spreads evenly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use metricsd_model::Millis;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// The first time after `after` at which a target is due: times `k * interval + offset` since the epoch, where the offset is
/// hashed from the id. Every process that knows the target finds the same times.
pub(crate) fn next_slot(target_id: &str, interval: Millis, after: Millis) -> Millis {
    let interval = interval.max(1);
    let offset = (xxh3_64(target_id.as_bytes()) % interval.cast_unsigned()).cast_signed();
    (after - offset).div_euclid(interval) * interval + offset + interval
}

/// One target's next scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) when: Instant,
    /// The scheduled time, which is also the timestamp of its samples.
    pub(crate) slot: Millis,
    /// Which target.
    pub(crate) key: u64,
}

/// All targets' next scrapes in one heap. An entry whose key is no longer known is simply passed over when it comes up.
#[derive(Default)]
pub(crate) struct Timer {
    heap: BinaryHeap<Reverse<Due>>,
}

impl Timer {
    pub(crate) fn push(&mut self, due: Due) {
        self.heap.push(Reverse(due));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.when)
    }

    /// The next one, if it is due by now.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_an_interval_apart_and_after_now() {
        for id in ["a", "b", "node-17"] {
            for after in [0, 1, 14_999, 15_000, 1_750_000_000_123] {
                let slot = next_slot(id, 15_000, after);
                assert!(slot > after && slot <= after + 15_000, "{id} {after} {slot}");
                assert_eq!(next_slot(id, 15_000, slot), slot + 15_000);
                assert_eq!(next_slot(id, 15_000, slot - 1), slot);
            }
        }
    }

    #[test]
    fn offsets_spread_over_the_interval() {
        let mut buckets = [0u32; 10];
        for target in 0..10_000 {
            let slot = next_slot(&format!("target-{target}"), 10_000, 0);
            buckets[((slot - 1) / 1_000) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (850..1150).contains(count)), "{buckets:?}");
    }

    #[test]
    fn the_timer_gives_what_is_due_in_order() {
        let start = Instant::now();
        let mut timer = Timer::default();
        for seconds in [3u64, 1, 2] {
            timer.push(Due { when: start + std::time::Duration::from_secs(seconds), slot: 0, key: seconds });
        }
        let now = start + std::time::Duration::from_secs(2);
        let due: Vec<u64> = std::iter::from_fn(|| timer.pop_due(now)).map(|due| due.key).collect();
        assert_eq!(due, [1, 2]);
        assert_eq!(timer.next(), Some(start + std::time::Duration::from_secs(3)));
    }
}
