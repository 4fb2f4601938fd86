//! The integrity ledger: what became of every collection, summed.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use async_trait::async_trait;
use metricsd_model::{Job, JobStatus, Ledger, Millis, Missed, Refusal, Waited};

use crate::PortError;

/// Milliseconds of one hour.
pub const HOUR: Millis = 3_600_000;

/// What became of some collections. Of the samples `received = dropped + refused + stored`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerSum {
    /// Collections that were done.
    pub collections: u64,
    /// Of these, those in which nothing could be collected.
    pub failed: u64,
    /// Of these, those that waited in the spool.
    pub spooled: u64,
    /// Of these, those that came through the sample log.
    pub logged: u64,
    /// Samples that pages and bodies held.
    pub received: u64,
    /// Samples dropped by filters and relabelling.
    pub dropped: u64,
    /// Samples refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Samples stored.
    pub stored: u64,
    /// Samples that metricsd added, beside those.
    pub added: u64,
    /// Scrapes that were due and were not done, by reason.
    pub missed: BTreeMap<Missed, u64>,
}

impl LedgerSum {
    /// Adds a collection.
    pub fn add(&mut self, status: JobStatus, ledger: &Ledger) {
        self.collections += 1;
        self.failed += u64::from(status == JobStatus::Failed);
        self.spooled += u64::from(ledger.waited == Some(Waited::Spool));
        self.logged += u64::from(ledger.waited == Some(Waited::Log));
        self.received += ledger.received;
        self.dropped += ledger.dropped;
        self.stored += ledger.stored;
        self.added += ledger.added;
        add_counts(&mut self.refused, &ledger.refused);
        add_counts(&mut self.missed, &ledger.missed);
    }

    /// All refused samples.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// All scrapes that were not done.
    pub fn missed_total(&self) -> u64 {
        self.missed.values().sum()
    }

    /// Received samples of which it is not known what became of them: 0, or there is a fault.
    pub fn unexplained(&self) -> i64 {
        let explained = self.dropped.saturating_add(self.refused_total()).saturating_add(self.stored);
        i64::try_from(i128::from(self.received) - i128::from(explained)).unwrap_or(i64::MAX)
    }
}

impl AddAssign<&LedgerSum> for LedgerSum {
    fn add_assign(&mut self, other: &LedgerSum) {
        self.collections += other.collections;
        self.failed += other.failed;
        self.spooled += other.spooled;
        self.logged += other.logged;
        self.received += other.received;
        self.dropped += other.dropped;
        self.stored += other.stored;
        self.added += other.added;
        add_counts(&mut self.refused, &other.refused);
        add_counts(&mut self.missed, &other.missed);
    }
}

fn add_counts<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sum.entry(*key).or_default() += count;
    }
}

/// Which collections: by when they began.
#[derive(Debug, Clone, Default)]
pub struct LedgerRange {
    /// From here on.
    pub start: Millis,
    /// Until before this.
    pub end: Millis,
    /// Of this target; of all where absent.
    pub target_id: Option<String>,
}

/// The beginning of an hour, its target, its source.
pub type LedgerKey = (Millis, String, String);

/// Sums by hour, target and source, in this order.
pub type LedgerHours = BTreeMap<LedgerKey, LedgerSum>;

/// Adds a job to the hour that it belongs to.
pub fn add_job(hours: &mut LedgerHours, job: &Job) {
    let hour = job.created_at.div_euclid(HOUR) * HOUR;
    let key = (hour, job.target_id.clone(), job.source_id.clone());
    hours.entry(key).or_default().add(job.status, &job.ledger);
}

/// A batch of which other samples are stored than its ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its job.
    pub job_id: String,
    /// Its target.
    pub target_id: String,
    /// Samples by its ledger, those that metricsd added included.
    pub expected: u64,
    /// Samples in the store.
    pub found: u64,
}

/// What was found by counting what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recount {
    /// Batches with samples by the ledger.
    pub batches: u64,
    /// Their samples by the ledger, those that metricsd added included.
    pub expected: u64,
    /// Batches whose samples were counted one by one.
    pub counted_batches: u64,
    /// Samples that were found of these.
    pub counted: u64,
    /// Batches that were compacted since, so that their samples lie with those of others, or of whose time nothing is kept any more.
    pub compacted_batches: u64,
    /// Samples of these by the ledger.
    pub compacted: u64,
    /// Batches that differ, some hundreds at most.
    pub differing: Vec<Difference>,
    /// How many differ.
    pub differences: u64,
}

impl AddAssign for Recount {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.expected += other.expected;
        self.counted_batches += other.counted_batches;
        self.counted += other.counted;
        self.compacted_batches += other.compacted_batches;
        self.compacted += other.compacted;
        self.differing.extend(other.differing);
        self.differing.truncate(MAX_DIFFERING);
        self.differences += other.differences;
    }
}

/// Differences that are told one by one.
pub const MAX_DIFFERING: usize = 200;

/// Answers for what became of every collection.
#[async_trait]
pub trait Integrity: Send + Sync + 'static {
    /// Sums of the collections that began within a range, by hour, target and source; more than `limit` of them are an error
    /// of kind [`crate::ErrorKind::Limit`]. Jobs are counted one by one for as long as their rows are kept; what
    /// `Catalog::purge_jobs` has removed is counted by whole hours, each that the range touches: every collection once.
    async fn ledger(&self, range: &LedgerRange, limit: usize) -> Result<LedgerHours, PortError>;

    /// The sum of all that [`Self::ledger`] answers for the range, however many hours and targets that are.
    async fn ledger_total(&self, range: &LedgerRange) -> Result<LedgerSum, PortError>;

    /// Counts the samples of every batch whose job is kept and compares with the job's ledger.
    async fn recount(&self, range: &LedgerRange) -> Result<Recount, PortError>;

    /// Removes sums of hours before, and what was parked before; answers how many sums.
    async fn purge_ledger(&self, before: Millis) -> Result<u64, PortError>;
}
