//! How a writer stands, for metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Written by the writer, read by anybody.
#[derive(Debug, Default)]
pub struct LogStatus {
    lag: AtomicU64,
    partitions: AtomicU64,
    records: AtomicU64,
    parked: AtomicU64,
    errors: AtomicU64,
    age_ms: AtomicI64,
}

impl LogStatus {
    pub(super) fn stands(&self, lag: u64, partitions: usize) {
        self.lag.store(lag, Ordering::Relaxed);
        self.partitions.store(partitions as u64, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, records: usize, age_ms: i64) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.age_ms.store(age_ms, Ordering::Relaxed);
    }

    pub(super) fn parked_one(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Records between what is stored and the end, over the partitions that this writer reads.
    pub fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// Partitions that this writer reads.
    pub fn partitions(&self) -> u64 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Records stored.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Records put aside.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// Failed attempts to read or to store.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// From the start of the oldest collection of the last group until it was stored.
    pub fn age_seconds(&self) -> f64 {
        self.age_ms.load(Ordering::Relaxed) as f64 / 1e3
    }
}
