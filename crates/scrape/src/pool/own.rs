//! Targets that become this process's, and that are another's from some scheduled time on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metricsd_model::{Fence, Millis, TargetSpec};
use metricsd_ports::membership::{BUCKETS, Gap, bucket_of};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Entry, PoolOptions, ScrapePool, Shared};
use crate::schedule::{Due, next_slot};
use crate::scrape::LoopState;
use crate::{Load, Right};

/// What a target is taken for whose page nobody has seen yet.
const UNKNOWN_SAMPLES: u64 = 100;

impl ScrapePool {
    /// The ring has changed: schedules what is this process's now, forgets what is not, and notes what nobody did.
    pub(super) fn own(&mut self) {
        let ownership = self.shared.options.ownership.clone();
        let mut gaps: HashMap<u16, Vec<Gap>> = HashMap::new();
        for gap in ownership.take_gaps() {
            gaps.entry(gap.bucket).or_default().push(gap);
        }
        let now = self.shared.now();
        let mut missed = Vec::new();
        for (key, entry) in &mut self.targets {
            let gaps = gaps.get(&entry.bucket).into_iter().flatten();
            // What is due from the end of a gap on is to be scraped, though it took a moment to come here.
            let known = gaps.clone().map(|gap| gap.until - 1).max().unwrap_or(now).min(now);
            missed.extend(gaps.filter_map(|gap| self.shared.slots_of(entry, gap)));
            let granted = ownership.granted(entry.bucket);
            // Another may have scraped it meanwhile.
            if granted.is_some() && granted != entry.granted {
                entry.state = None;
            }
            entry.granted = granted.or(entry.granted);
            let concerned = ownership.concerns(entry.bucket, now);
            if !concerned {
                entry.state = None;
                self.shared.tell_rest(entry);
            } else if !entry.scheduled {
                entry.scheduled = true;
                self.timer.push(self.shared.first_due(entry, *key, known));
            }
        }
        self.shared.record(missed);
        self.count();
    }

    /// Counts what the targets come to, for the other workers and for `/metrics`.
    pub(super) fn count(&mut self) {
        let ownership = &self.shared.options.ownership;
        if !ownership.is_shared() {
            return;
        }
        let now = self.shared.now();
        let mut load = Load::default();
        let (mut own, mut buckets) = (0.0, vec![0.0; usize::from(BUCKETS)]);
        for entry in self.targets.values() {
            let samples = match entry.samples.load(Ordering::Relaxed) {
                0 => UNKNOWN_SAMPLES,
                samples => samples,
            };
            let interval = entry.spec.scrape_config.scrape_interval.millis().max(1);
            let rate = samples as f64 * 1e3 / interval as f64;
            if let Some(bucket) = buckets.get_mut(usize::from(entry.bucket)) {
                *bucket += rate;
            }
            if ownership.owns(entry.bucket, now) {
                load.targets += 1;
                own += rate;
            }
        }
        load.samples_per_second = own as u64;
        // A target that costs next to nothing is still one to be shared out.
        load.buckets = buckets.into_iter().map(|rate: f64| rate.ceil() as u64).collect();
        self.shared.options.metrics.targets.set(i64::try_from(load.targets).unwrap_or(i64::MAX));
        ownership.count(load);
    }
}

impl Shared {
    pub(super) fn now(&self) -> Millis {
        self.options.ownership.now(&self.clock)
    }

    pub(super) fn instant_of(&self, slot: Millis) -> Instant {
        self.options.ownership.instant_of(&self.clock, slot)
    }

    /// The first scheduled time after another.
    pub(super) fn first_due(&self, entry: &Entry, key: u64, after: Millis) -> Due {
        let interval = entry.spec.scrape_config.scrape_interval.millis();
        let slot = next_slot(&entry.spec.target_id, interval, after);
        Due { when: self.instant_of(slot), slot, key }
    }

    pub(super) fn is_own(&self, bucket: u16) -> bool {
        self.options.ownership.owns(bucket, self.now())
    }

    /// What goes with a batch that is dated `at`; nothing where there are no other processes.
    pub(super) fn fence(&self, target_id: &str, at: Millis) -> Option<Fence> {
        match self.options.ownership.right(bucket_of(target_id), at) {
            Right::Mine(fence) => fence,
            Right::None | Right::Lapsed => None,
        }
    }

    pub(super) fn new_state(&self, spec: &TargetSpec) -> Arc<Mutex<LoopState>> {
        let PoolOptions { limits, commit, ownership, .. } = &self.options;
        let state = LoopState::new(spec.clone(), limits.clone(), commit.series().clone());
        Arc::new(Mutex::new(if ownership.is_shared() { state.inheriting() } else { state }))
    }

    pub(super) fn state_of(&self, entry: &mut Entry) -> Arc<Mutex<LoopState>> {
        entry.state.get_or_insert_with(|| self.new_state(&entry.spec)).clone()
    }
}
