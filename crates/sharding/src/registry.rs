//! Leases and the table as the database keeps them, as one piece of memory: what a store of one process uses, what stores
//! over a database are measured by, and what the simulation runs against.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::plan::Plan;
use crate::table::{Grant, Table};

/// A plan that is older than this when it comes to be written is refused: the times in it are no longer true.
pub const PLAN_FRESH_MS: i64 = 1_000;

/// What a member says of itself with every renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// New with every lease: one that was lost is not taken up again.
    pub member: Uuid,
    /// The process, as others list it.
    pub process: Uuid,
    /// How much it takes beside the others.
    pub weight: u32,
    /// Whether it wants to hand over what it owns.
    pub draining: bool,
    /// Targets that it scrapes.
    pub targets: u64,
    /// Samples a second that they come to.
    pub samples_per_second: u64,
    /// Samples a second that it can take.
    pub capacity: u64,
}

/// A member's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose, and what it said last.
    pub report: Report,
    /// When it was last renewed, in milliseconds since the epoch by the database's clock.
    pub renewed: i64,
    /// When it runs out, by the same clock.
    pub expires: i64,
    /// Whether a plan has taken the member into account.
    pub placed: bool,
    /// The last change of the table that the member has said to know.
    pub known: u64,
}

/// What a renewal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The database's time, in milliseconds since the epoch.
    pub now: i64,
    /// The last change of the table.
    pub epoch: u64,
    /// Grants that were made after the epoch that the member knew.
    pub changed: Vec<(u16, Grant)>,
    /// Whether someone has come, wants to go, or was lost, so that a plan is called for.
    pub unsettled: bool,
    /// When the next lease runs out, unless it is renewed.
    pub next_expiry: i64,
    /// Whether there is no other member.
    pub alone: bool,
}

/// Everything that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The database's time.
    pub now: i64,
    /// Whose each bucket is.
    pub table: Table,
    /// All leases, those that have run out among them, in order of their members.
    pub leases: Vec<Lease>,
}

/// Leases and table.
#[derive(Debug, Clone)]
pub struct Registry {
    table: Table,
    leases: BTreeMap<Uuid, Lease>,
}

impl Registry {
    /// Without members.
    pub fn new(buckets: u16) -> Self {
        Self { table: Table::new(buckets), leases: BTreeMap::new() }
    }

    /// Whose each bucket is.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A new member, with a lease of `lease` milliseconds; one that is there is only renewed.
    pub fn join(&mut self, now: i64, report: &Report, lease: i64, known: u64) -> Renewal {
        let placed = self.leases.get(&report.member).is_some_and(|lease| lease.placed);
        let lease = Lease { report: report.clone(), renewed: now, expires: now + lease, placed, known };
        self.leases.insert(report.member, lease);
        self.answer(now, known)
    }

    /// Gives a member another `lease` milliseconds from now, even where its time has run out, as long as nobody has taken
    /// what it owns. `None` where that has happened: it must join anew.
    pub fn renew(&mut self, now: i64, report: &Report, lease: i64, known: u64) -> Option<Renewal> {
        let held = self.leases.get_mut(&report.member)?;
        (held.report, held.renewed, held.expires) = (report.clone(), now, now + lease);
        held.known = known;
        Some(self.answer(now, known))
    }

    fn answer(&self, now: i64, known: u64) -> Renewal {
        let calls = |lease: &Lease| !lease.placed || lease.report.draining || lease.expires <= now;
        Renewal {
            now,
            epoch: self.table.epoch(),
            changed: self.table.since(known),
            unsettled: self.leases.values().any(calls),
            next_expiry: self.leases.values().map(|lease| lease.expires).min().unwrap_or(now),
            alone: self.leases.len() < 2,
        }
    }

    /// A member goes. What it still owns is lost from now on.
    pub fn leave(&mut self, now: i64, member: Uuid) {
        let others = self.leases.values().any(|lease| lease.report.member != member && lease.expires > now);
        if self.table.has_left(member, now) || !others {
            self.leases.remove(&member);
        } else if let Some(lease) = self.leases.get_mut(&member) {
            (lease.renewed, lease.expires) = (now, now);
        }
    }

    /// What a plan is made from.
    pub fn snapshot(&self, now: i64) -> Snapshot {
        Snapshot { now, table: self.table.clone(), leases: self.leases.values().cloned().collect() }
    }

    /// Carries a plan out, all or nothing; `false` where it is not true any more: the table has changed, a member that it
    /// takes for lost has renewed its lease, one that it gives buckets to is gone or wants to go, or it is too old.
    pub fn propose(&mut self, now: i64, plan: &Plan) -> bool {
        let is_lost = |member: &Uuid| self.leases.get(member).is_some_and(|lease| lease.expires <= now);
        let is_there = |(bucket, grant): &(u16, Grant)| {
            let stays = self.table.grant(*bucket).is_some_and(|current| current.owner == grant.owner);
            let takes = |lease: &Lease| stays || !lease.report.draining;
            self.leases.get(&grant.owner).is_some_and(takes) && !plan.lost.contains(&grant.owner)
        };
        let holds = plan.base == self.table.epoch()
            && now - plan.made <= PLAN_FRESH_MS
            && plan.lost.iter().all(is_lost)
            && plan.grants.iter().all(is_there);
        if !holds {
            return false;
        }
        self.table.apply(plan.base + 1, &plan.grants);
        for member in &plan.lost {
            self.leases.remove(member);
        }
        for member in &plan.placed {
            if let Some(lease) = self.leases.get_mut(member) {
                lease.placed = true;
            }
        }
        true
    }
}
