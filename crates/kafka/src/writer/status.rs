//! How a writer stands, for metrics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::group::now;

/// Written by the writer, read by anybody.
#[derive(Debug, Default)]
pub struct LogStatus {
    lag: AtomicU64,
    partitions: AtomicU64,
    records: AtomicU64,
    parked: AtomicU64,
    lost: AtomicU64,
    began_anew: AtomicU64,
    errors: AtomicU64,
    /// When the oldest collection that is being stored began; 0 where none is.
    held: AtomicI64,
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

    pub(super) fn holds(&self, oldest: Option<i64>) {
        self.held.store(oldest.map_or(0, |at| at.max(1)), Ordering::Relaxed);
    }

    pub(super) fn lost(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn began_anew(&self) {
        self.began_anew.fetch_add(1, Ordering::Relaxed);
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

    /// Records that the log's retention removed before they were stored.
    pub fn lost_records(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How often a partition ended before what was stored of it, and was read from its beginning.
    pub fn restarts(&self) -> u64 {
        self.began_anew.load(Ordering::Relaxed)
    }

    /// Failed attempts to read or to store.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// From the start of the oldest collection of the last group until it was stored; until now where it is not stored yet.
    pub fn age_seconds(&self) -> f64 {
        let stored = self.age_ms.load(Ordering::Relaxed);
        let waits = match self.held.load(Ordering::Relaxed) {
            0 => stored,
            oldest => (now() - oldest).max(0),
        };
        waits as f64 / 1e3
    }
}
