//! Who shall own what: made from one snapshot of leases and table, by whichever worker comes first.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::assign::reassign;
use crate::registry::{Lease, Snapshot};
use crate::ring::{Member, Ring};
use crate::table::Grant;

/// How plans are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Milliseconds from a plan to a hand-over between living members: long enough that each has heard of it.
    pub lead: i64,
    /// How far before the last renewal of a lost member its scrapes are in doubt, in milliseconds: what it had scraped may
    /// still have waited to be stored.
    pub doubt: i64,
    /// How far members may lie from their even shares, in percent, before buckets move for that.
    pub tolerance: u32,
    /// Whether members whose lease has run out are taken for lost. One that could not reach the database itself a moment ago
    /// cannot tell.
    pub may_evict: bool,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The epoch of the table that it was made from; it makes the next.
    pub base: u64,
    /// The database's time when the snapshot was taken.
    pub made: i64,
    /// Members whose leases have run out and end with this plan.
    pub lost: Vec<Uuid>,
    /// Members that it takes into account.
    pub placed: Vec<Uuid>,
    /// Buckets whose grants change, in order.
    pub grants: Vec<(u16, Grant)>,
}

/// Makes a plan; `None` where there is nothing to change, or nobody to give anything to. `loads` says what each bucket
/// costs (samples a second, say), and stands for 1 where it is shorter than the table; `rebalance` moves buckets of living members although
/// nobody has come or gone.
///
/// Every bucket has one owner afterwards, which lives and does not want to go. A bucket whose owner lives moves at `now + lead`, and
/// its owner goes on until then; one whose owner is lost moves at once. A bucket that is being handed over is not moved
/// again before that has happened, unless one of the two is lost. A newcomer gets its part in one plan: it waits as long as one of
/// the buckets that are to be its own cannot be moved, unless there is nobody else.
pub fn plan(snapshot: &Snapshot, loads: &[u64], policy: &Policy, rebalance: bool) -> Option<Plan> {
    let mut members = Members::of(snapshot, policy);
    let mut ring = members.ring()?;
    if members.leave_out_who_waits(snapshot, &ring) {
        ring = members.ring()?;
    }
    let places: BTreeMap<Uuid, usize> = places(&ring);
    let newcomers: Vec<bool> = newcomers(snapshot, &ring, &places);
    let table = snapshot.table.grants();
    let keys: Vec<(Vec<u8>, u64)> = (0_u32..)
        .zip(table)
        .enumerate()
        .map(|(place, (bucket, _))| (bucket_key(bucket), loads.get(place).copied().unwrap_or(1)))
        .collect();
    let stays: Vec<Option<usize>> = table
        .iter()
        .zip(&keys)
        .map(|(grant, (key, _))| {
            let owner = grant.as_ref().and_then(|grant| places.get(&grant.owner)).copied()?;
            let ideal = newcomers.contains(&true).then(|| ring.owner_place(key));
            let is_taken = ideal.is_some_and(|ideal| newcomers.get(ideal) == Some(&true));
            (!is_taken || members.is_frozen(grant.as_ref(), snapshot.now)).then_some(owner)
        })
        .collect();
    let settled = newcomers.iter().all(|new| !new) && stays.iter().all(Option::is_some);
    let owners = match settled && !rebalance {
        true => stays.iter().map(|owner| owner.unwrap_or_default()).collect(),
        false => reassign(&ring, &keys, &stays, policy.tolerance).owners,
    };
    let ids: Vec<Uuid> = {
        let mut ids = vec![Uuid::nil(); ring.members().len()];
        places.iter().for_each(|(id, place)| ids[*place] = *id);
        ids
    };
    let grants: Vec<(u16, Grant)> = (0_u16..)
        .zip(table)
        .zip(owners)
        .filter_map(|((bucket, grant), owner)| {
            Some((bucket, members.granted(snapshot, policy, grant.as_ref(), ids[owner])?))
        })
        .collect();
    let placed: Vec<Uuid> = members.eligible.iter().map(|lease| lease.report.member).collect();
    let news = members.eligible.iter().any(|lease| !lease.placed);
    let plan =
        Plan { base: snapshot.table.epoch(), made: snapshot.now, lost: members.lost(), placed, grants };
    (news || !plan.lost.is_empty() || !plan.grants.is_empty()).then_some(plan)
}

/// A plan's members by what they may have.
struct Members<'s> {
    by_id: BTreeMap<Uuid, &'s Lease>,
    /// Those that buckets may be given to.
    eligible: Vec<&'s Lease>,
    lost: BTreeMap<Uuid, &'s Lease>,
    /// As of the policy.
    lead: i64,
}

impl<'s> Members<'s> {
    fn of(snapshot: &'s Snapshot, policy: &Policy) -> Self {
        let is_lost = |lease: &&Lease| policy.may_evict && lease.expires <= snapshot.now;
        let leases = || snapshot.leases.iter();
        let keyed = |lease: &'s Lease| (lease.report.member, lease);
        let lives = |lease: &&Lease| lease.expires > snapshot.now && !lease.report.draining;
        // What is owned by one that cannot be told to be lost stays.
        let waits = |lease: &&Lease| !policy.may_evict && lease.placed && !lease.report.draining;
        Self {
            by_id: leases().filter(|lease| !is_lost(lease)).map(keyed).collect(),
            eligible: leases().filter(|lease| lives(lease) || waits(lease)).collect(),
            lost: leases().filter(is_lost).map(keyed).collect(),
            lead: policy.lead,
        }
    }

    fn lost(&self) -> Vec<Uuid> {
        self.lost.keys().copied().collect()
    }

    fn ring(&self) -> Option<Ring> {
        Ring::new(self.eligible.iter().map(|lease| member(lease))).ok()
    }

    /// Takes newcomers out of whose part something cannot be moved yet: what they were given now would count as their part.
    /// Whether there were such.
    fn leave_out_who_waits(&mut self, snapshot: &Snapshot, ring: &Ring) -> bool {
        let places = places(ring);
        let newcomers = newcomers(snapshot, ring, &places);
        if !newcomers.contains(&true) {
            return false;
        }
        let mut waits = vec![false; newcomers.len()];
        for (bucket, grant) in (0_u32..).zip(snapshot.table.grants()) {
            if self.is_frozen(grant.as_ref(), snapshot.now) {
                let ideal = ring.owner_place(&bucket_key(bucket));
                waits[ideal] = newcomers[ideal];
            }
        }
        let waits = |lease: &Lease| places.get(&lease.report.member).is_some_and(|place| waits[*place]);
        let (waiting, others): (Vec<_>, Vec<_>) =
            self.eligible.iter().copied().partition(|lease| waits(lease));
        let some = !waiting.is_empty() && !others.is_empty();
        if some {
            self.eligible = others;
        }
        some
    }

    /// Whether a bucket is being handed over; or has been by a member that has not been heard of for a while since, in which what
    /// it scraped last was stored: should it turn out to be lost, the owner must be told; or to one that has not heard of it
    /// yet, and so not of what may be missing.
    fn is_frozen(&self, grant: Option<&Grant>, now: i64) -> bool {
        let silent = |grant: &Grant| {
            let previous = grant.previous.and_then(|member| self.by_id.get(&member));
            let owner = self.by_id.get(&grant.owner);
            previous.is_some_and(|lease| lease.renewed < grant.since + self.lead)
                || owner.is_some_and(|lease| lease.known < grant.epoch)
        };
        is_moving(grant, now) || grant.is_some_and(silent)
    }

    /// Scrapes of a member that is not there any more may be missing from this time on; `None` where it left in order.
    fn gap_of(&self, member: Uuid, policy: &Policy) -> Option<i64> {
        self.lost.get(&member).map(|lease| lease.renewed - policy.doubt)
    }

    /// The grant that gives a bucket to `owner`; `None` where nothing changes.
    fn granted(
        &self,
        snapshot: &Snapshot,
        policy: &Policy,
        grant: Option<&Grant>,
        owner: Uuid,
    ) -> Option<Grant> {
        let (now, epoch) = (snapshot.now, snapshot.table.epoch() + 1);
        let at_once = |gap| Grant { owner, epoch, since: now, previous: None, began: now, gap };
        let Some(grant) = grant else { return Some(at_once(None)) };
        let lives = |member: &Uuid| self.by_id.contains_key(member);
        if is_moving(Some(grant), now) {
            // What the one that was to take over had to tell of itself, it has not told yet.
            let untold = |gap: i64| Some(grant.gap.map_or(gap, |before| before.min(gap)));
            let previous = grant.previous.filter(lives);
            return match (previous, lives(&grant.owner)) {
                (Some(_), true) => None,
                // The one that hands over is lost: the next begins now.
                (None, _) => {
                    let gap = grant.previous.and_then(|member| self.gap_of(member, policy));
                    Some(at_once(untold(gap.unwrap_or(now))))
                }
                // The one that was to take over is lost: the one before goes on until another can.
                (Some(previous), false) => Some(Grant {
                    owner,
                    epoch,
                    since: now + policy.lead,
                    previous: Some(previous),
                    began: grant.began,
                    gap: untold(grant.since),
                })
                .filter(|next| next.owner != previous)
                .or(Some(at_once(untold(grant.since)))),
            };
        }
        // The one that handed over was lost before that, and nobody knew.
        let silent = grant.previous.and_then(|member| self.gap_of(member, policy));
        let silent = silent.filter(|from| *from < grant.since);
        match lives(&grant.owner) {
            true if silent.is_some() => Some(Grant { epoch, previous: None, gap: silent, ..*grant }),
            true if grant.owner == owner || self.is_frozen(Some(grant), now) => None,
            true => {
                let since = now + policy.lead;
                Some(Grant {
                    owner,
                    epoch,
                    since,
                    previous: Some(grant.owner),
                    began: grant.since,
                    gap: None,
                })
            }
            false => {
                // What it was to say of others before it.
                let heard = self.lost.get(&grant.owner).is_none_or(|lease| lease.known >= grant.epoch);
                let unsaid = grant.gap.filter(|_| !heard);
                let own = self.gap_of(grant.owner, policy);
                Some(at_once([own, unsaid, silent].into_iter().flatten().min()))
            }
        }
    }
}

/// Whether a bucket is being handed over.
fn is_moving(grant: Option<&Grant>, now: i64) -> bool {
    grant.is_some_and(|grant| grant.previous.is_some() && now < grant.since)
}

fn bucket_key(bucket: u32) -> Vec<u8> {
    format!("bucket-{bucket}").into_bytes()
}

fn member(lease: &Lease) -> Member {
    Member { id: lease.report.member.to_string(), weight: lease.report.weight.max(1) }
}

/// Where each member stands in the ring.
fn places(ring: &Ring) -> BTreeMap<Uuid, usize> {
    let id = |member: &Member| Uuid::parse_str(&member.id).unwrap_or_default();
    ring.members().iter().enumerate().map(|(place, member)| (id(member), place)).collect()
}

/// Which places of the ring are those of members that own nothing yet.
fn newcomers(snapshot: &Snapshot, ring: &Ring, places: &BTreeMap<Uuid, usize>) -> Vec<bool> {
    let mut new = vec![true; ring.members().len()];
    for grant in snapshot.table.grants().iter().flatten() {
        if let Some(place) = places.get(&grant.owner) {
            new[*place] = false;
        }
    }
    new
}
