//! Random numbers from a seed that is printed, so that a course can be run again.

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    /// From `METRICSD_TEST_FAULTS_SEED`, else from the time.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("METRICSD_TEST_FAULTS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| chrono::Utc::now().timestamp_millis().unsigned_abs());
        println!("METRICSD_TEST_FAULTS_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// From `from` on and before `until`, in milliseconds.
    pub(crate) fn millis(&mut self, from: u64, until: u64) -> std::time::Duration {
        std::time::Duration::from_millis(from + self.next() % (until - from).max(1))
    }

    /// Once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn of<T: Copy>(&mut self, several: &[T]) -> Option<T> {
        several.get(self.below(several.len())).copied()
    }
}

/// A number of which each bit depends on all bits of another.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
