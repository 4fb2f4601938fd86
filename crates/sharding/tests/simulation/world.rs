//! What the simulation consists of: its constants, its generator of numbers, events, messages, workers and the account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metricsd_sharding::{Gap, Keeper, Plan, Renewal, Report, Snapshot};
use uuid::Uuid;

pub(crate) const BUCKETS: u16 = 24;
pub(crate) const LEASE: i64 = 5_000;
pub(crate) const HEARTBEAT: i64 = 1_000;
pub(crate) const LEAD: i64 = 2_500;
pub(crate) const INTERVAL: i64 = 1_000;
/// A schedule's length, of which trouble ends some time before the end.
pub(crate) const LENGTH: i64 = 75_000;
pub(crate) const CALM_FROM: i64 = 40_000;

/// A small generator of numbers: the same from the same seed on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }
}

/// What may go wrong in a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    /// Messages take up to so long.
    pub(crate) latency: i64,
    /// Percent of messages that are lost.
    pub(crate) loss: i64,
    /// Processes crash and stop.
    pub(crate) faults: bool,
    /// Parts in a thousand by which clocks go wrong.
    pub(crate) drift: i64,
    /// Workers are cut off from the database for a while.
    pub(crate) cuts: bool,
    /// Percent of heartbeats at which somebody evens the ring out unasked.
    pub(crate) rebalance: i64,
    /// Workers at the beginning, and of which at least two thirds are left.
    pub(crate) workers: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A worker does what it does at every heartbeat.
    Tick(usize),
    /// A worker reads the table between two heartbeats: it was told of a change.
    Told(usize),
    Arrive(usize, Request),
    Answer(usize, Answer),
    /// A scheduled scrape of a bucket.
    Slot(usize, u16, i64),
    Store {
        from: Uuid,
        bucket: u16,
        slot: i64,
        epoch: u64,
        spooled: bool,
    },
    Missed {
        bucket: u16,
        slot: i64,
    },
    Trouble,
    CutOff(usize, i64),
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Join(Report, u64, Duration),
    Renew(Report, u64, Duration),
    Snapshot { rebalance: bool },
    Propose(Plan),
    Leave(Uuid),
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Renewed { sent: Duration, draining: bool, renewal: Option<Renewal> },
    Snapshot(Box<Snapshot>, bool),
}

pub(crate) struct Worker {
    pub(crate) keeper: Keeper,
    pub(crate) alive: bool,
    pub(crate) draining: bool,
    pub(crate) joined: bool,
    /// Stopped until then; events wait.
    pub(crate) stopped_until: i64,
    /// Cut off from the database until then: what it sends is lost, and what it stores waits in its spool.
    pub(crate) cut_until: i64,
    /// The worker's monotonic clock: how fast it goes, in thousandths.
    pub(crate) rate: i64,
    /// Since when its lease is valid without interruption.
    pub(crate) steady_since: Option<i64>,
    pub(crate) planned_at: i64,
}

#[derive(Default)]
pub(crate) struct Ledger {
    /// Who stored a scheduled scrape, and the epoch of the grant by which.
    pub(crate) stored: BTreeMap<(u16, i64), (Uuid, u64)>,
    pub(crate) missed: BTreeSet<(u16, i64)>,
    /// How often each was done, stored or not.
    pub(crate) done: BTreeMap<(u16, i64), u32>,
    pub(crate) refused: u32,
    /// Gaps that were told.
    pub(crate) gaps: Vec<Gap>,
}

impl Ledger {
    pub(crate) fn is_in_gap(&self, bucket: u16, slot: i64) -> bool {
        self.gaps.iter().any(|gap| gap.bucket == bucket && (gap.from..gap.until).contains(&slot))
    }
}
