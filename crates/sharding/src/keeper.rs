//! What a worker knows of its lease and of the table, and so whether it may scrape. Reads no clock: `now` is always the
//! worker's monotonic time, and scheduled times are by the database's clock.

use std::time::Duration;

use uuid::Uuid;

use crate::registry::Renewal;
use crate::table::{Grant, Table};

/// The part of a lease that a worker does not use, so that it has stopped when the lease runs out although its clock may go
/// slower than the database's and a scrape takes a moment to begin.
const MARGIN_PARTS: u32 = 10;

/// Scrapes that may not have been done, of a bucket that is the worker's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which bucket.
    pub bucket: u16,
    /// The first scheduled time in doubt.
    pub from: i64,
    /// The first that is not.
    pub until: i64,
    /// Whether a member was lost; otherwise the worker came to know late that the bucket is its own.
    pub lost: bool,
}

/// A worker's view. The lease is valid from the moment before a renewal was sent for as long as it was asked for, less a
/// margin.
#[derive(Debug, Clone)]
pub struct Keeper {
    member: Uuid,
    lease: Duration,
    valid_until: Option<Duration>,
    /// Whether there was no other member at the last renewal.
    alone: bool,
    table: Table,
    /// Whether the database is known to know that the worker wants to go.
    drained: bool,
    /// Gaps that have not ended yet, each with the epoch of its grant.
    pending: Vec<(u64, Gap)>,
}

/// How long after its end a gap is told where another was to go on until then, in milliseconds: what that one has done
/// gets time to be stored.
const PATIENCE_MS: i64 = 2_000;

impl Keeper {
    /// Of a member that has no lease yet. A table that is known from before may be taken along.
    pub fn new(member: Uuid, lease: Duration, table: Table) -> Self {
        Self { member, lease, valid_until: None, alone: false, table, drained: false, pending: Vec::new() }
    }

    /// Who.
    pub fn member(&self) -> Uuid {
        self.member
    }

    /// The table as far as it is known.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A renewal that was sent at `sent`, and said whether the worker wants to go, was answered. Answers which scrapes of buckets that have become the worker's
    /// may be missing: `at` is the database's time now, as the worker reckons it; what is scheduled later it scrapes itself.
    pub fn renewed(&mut self, sent: Duration, draining: bool, renewal: &Renewal, at: i64) -> Vec<Gap> {
        self.drained |= draining;
        let until = sent + self.lease - self.lease / MARGIN_PARTS;
        if self.valid_until.is_none_or(|known| known <= until) {
            (self.valid_until, self.alone) = (Some(until), renewal.alone);
        }
        let new = renewal.changed.iter().filter_map(|(bucket, grant)| {
            let gap = self.gap(*bucket, grant, at)?;
            Some((grant.epoch, gap))
        });
        let gaps: Vec<(u64, Gap)> = self.pending.iter().copied().chain(new).collect();
        self.table.apply(renewal.epoch, &renewal.changed);
        let is_over =
            |(_, gap): &(u64, Gap)| gap.until <= at + 1 && (gap.until > at || gap.until + PATIENCE_MS <= at);
        let (over, pending): (Vec<_>, Vec<_>) = gaps.into_iter().partition(is_over);
        self.pending = pending;
        over.into_iter().map(|(_, gap)| gap).collect()
    }

    /// The last change that the worker has heard of and has nothing more to tell of: what the database is to know. A gap that
    /// it could not tell yet is told by the next owner should this one be lost before.
    pub fn known(&self) -> u64 {
        let untold = self.pending.iter().map(|(epoch, _)| epoch.saturating_sub(1)).min();
        untold.unwrap_or(u64::MAX).min(self.table.epoch())
    }

    fn gap(&self, bucket: u16, grant: &Grant, at: i64) -> Option<Gap> {
        let known = self.table.grant(bucket).is_some_and(|known| known.epoch >= grant.epoch);
        if known || grant.owner != self.member {
            return None;
        }
        // Its own scrapes are on their way to the store, unless the bucket was another's in between.
        let known = self.table.grant(bucket);
        let own = known.filter(|known| known.owner == self.member && known.since == grant.since);
        let until = own.map_or(i64::MAX, |known| known.since).min(grant.since.max(at + 1));
        let (from, lost) = match (grant.gap, grant.previous) {
            (Some(from), _) => (from, true),
            // Another went on until then, and may go on not knowing; its scrapes from then on are refused.
            (None, Some(_)) => (grant.since, false),
            // Nobody was to scrape.
            (None, None) => return None,
        };
        (from < until).then_some(Gap { bucket, from, until, lost })
    }

    /// The database says that there is no such lease: it is not valid whatever was thought.
    pub fn lost(&mut self) {
        self.valid_until = None;
    }

    /// Whether nothing is the worker's at `now`, by the database's clock, or later, nor will be: from when the database
    /// knows that it wants to go, it is given nothing more. What it has to tell of gaps comes before.
    pub fn may_leave(&self, now: i64) -> bool {
        self.drained && self.pending.is_empty() && self.table.has_left(self.member, now)
    }

    /// Whether the lease is valid.
    pub fn holds(&self, now: Duration) -> bool {
        self.valid_until.is_some_and(|until| now < until)
    }

    /// Whether the worker may go on with what it owns: with a valid lease; or without, where it was the only member when it last
    /// heard of the database. Then nobody waits to take over, and a database that is away would cost scrapes that can be kept
    /// until it is back. Should another have come unheard of, the store refuses what is that one's.
    pub fn may_go_on(&self, now: Duration) -> bool {
        self.holds(now) || (self.alone && self.valid_until.is_some())
    }

    /// How long it still is.
    pub fn left(&self, now: Duration) -> Duration {
        self.valid_until.unwrap_or_default().saturating_sub(now)
    }

    /// Whether the worker owns what is scheduled at `slot`, whatever its lease.
    pub fn owns(&self, bucket: u16, slot: i64) -> bool {
        self.table.owner(bucket, slot) == Some(self.member)
    }

    /// Whether the worker may scrape what is scheduled at `slot`.
    pub fn may_scrape(&self, bucket: u16, slot: i64, now: Duration) -> bool {
        self.may_go_on(now) && self.owns(bucket, slot)
    }

    /// Whether the worker owns something of the bucket at the scheduled time `slot` or later.
    pub fn concerns(&self, bucket: u16, slot: i64) -> bool {
        self.table.grant(bucket).is_some_and(|grant| grant.concerns(self.member, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_not_told_yet_is_not_known_and_keeps_the_worker() {
        let [me, other] = [1, 2].map(Uuid::from_u128);
        let mut keeper = Keeper::new(me, Duration::from_secs(5), Table::new(4));
        let coming = Grant { owner: me, epoch: 3, since: 5_000, previous: Some(other), began: 0, gap: None };
        keeper.renewed(Duration::ZERO, true, &renewal(3, vec![(0, coming)]), 4_000);
        assert_eq!(keeper.known(), 3);
        let lost = Grant { epoch: 4, previous: None, gap: Some(1_000), ..coming };
        assert_eq!(keeper.renewed(Duration::ZERO, true, &renewal(4, vec![(0, lost)]), 5_100), []);
        let gone = Grant { owner: other, epoch: 5, since: 5_500, previous: Some(me), ..coming };
        assert_eq!(keeper.renewed(Duration::ZERO, true, &renewal(5, vec![(0, gone)]), 6_000), []);
        assert_eq!((keeper.known(), keeper.may_leave(6_000)), (3, false));
        let told = keeper.renewed(Duration::ZERO, true, &renewal(5, vec![]), 7_000);
        assert_eq!(told, [Gap { bucket: 0, from: 1_000, until: 5_000, lost: true }]);
        assert_eq!((keeper.known(), keeper.may_leave(7_000)), (5, true));
    }

    fn renewal(epoch: u64, changed: Vec<(u16, Grant)>) -> Renewal {
        Renewal { now: 0, epoch, changed, unsettled: false, next_expiry: 0, alone: false }
    }

    #[test]
    fn a_lease_ends_before_the_database_thinks() {
        let me = Uuid::from_u128(1);
        let mut keeper = Keeper::new(me, Duration::from_secs(5), Table::new(4));
        assert!(!keeper.holds(Duration::ZERO));
        keeper.renewed(Duration::from_secs(10), false, &renewal(0, vec![]), 0);
        assert!(keeper.holds(Duration::from_millis(14_499)) && !keeper.holds(Duration::from_millis(14_500)));
        keeper.renewed(Duration::from_secs(9), false, &renewal(0, vec![]), 0);
        assert!(keeper.holds(Duration::from_millis(14_499)), "an answer that was overtaken shortens nothing");
        keeper.lost();
        assert!(!keeper.holds(Duration::from_secs(10)));
    }

    #[test]
    fn the_only_member_goes_on_without_a_lease() {
        let mut keeper = Keeper::new(Uuid::from_u128(1), Duration::from_secs(5), Table::new(4));
        let alone = Renewal { alone: true, ..renewal(0, vec![]) };
        assert!(!keeper.may_go_on(Duration::ZERO), "not before it was a member");
        keeper.renewed(Duration::from_secs(10), false, &alone, 0);
        assert!(!keeper.holds(Duration::from_secs(90)) && keeper.may_go_on(Duration::from_secs(90)));
        keeper.renewed(Duration::from_secs(9), false, &renewal(0, vec![]), 0);
        assert!(keeper.may_go_on(Duration::from_secs(90)), "an answer that was overtaken says nothing");
        keeper.renewed(Duration::from_secs(91), false, &renewal(0, vec![]), 0);
        assert!(keeper.may_go_on(Duration::from_secs(95)) && !keeper.may_go_on(Duration::from_secs(96)));
        keeper.renewed(Duration::from_secs(97), false, &alone, 0);
        keeper.lost();
        assert!(!keeper.may_go_on(Duration::from_secs(97)));
    }

    #[test]
    fn gaps_are_told_once_and_to_the_owner() {
        let [me, other] = [1, 2].map(Uuid::from_u128);
        let mut keeper = Keeper::new(me, Duration::from_secs(5), Table::new(4));
        let lost =
            Grant { owner: me, epoch: 1, since: 5_000, previous: None, began: 5_000, gap: Some(1_000) };
        let late = Grant { owner: me, epoch: 1, since: 5_000, previous: Some(other), began: 0, gap: None };
        let theirs = Grant { owner: other, ..lost };
        let changed = vec![(0, lost), (1, late), (2, theirs)];
        let gaps = keeper.renewed(Duration::ZERO, false, &renewal(1, changed.clone()), 5_200);
        let gap = |bucket, from, lost| Gap { bucket, from, until: 5_201, lost };
        assert_eq!(gaps, [gap(0, 1_000, true), gap(1, 5_000, false)]);
        assert_eq!(keeper.renewed(Duration::ZERO, false, &renewal(1, changed), 9_000), []);
        let early = Grant { epoch: 2, since: 12_000, ..late };
        assert_eq!(keeper.renewed(Duration::ZERO, false, &renewal(2, vec![(3, early)]), 9_500), []);
    }
}
