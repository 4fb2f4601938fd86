//! An assignment: all of a known set of keys, each to one member, evenly by what each costs.
//!
//! Every key goes to the owner that the ring gives it; what then lies beyond a tolerance is evened out by moving as few keys
//! as that takes, the costliest first, each to the member that comes next for it. Most keys so stay where the ring has
//! them, and move only where the ring moves them when a member comes or goes.

use crate::Ring;

/// How far a member may lie above or below its even share, in percent, where nothing else is asked for.
pub const DEFAULT_TOLERANCE: u32 = 10;

/// Who owns each key of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// For each key, in the order in which they were given, the place of its owner in [`Ring::members`].
    pub owners: Vec<usize>,
    /// For each member, in the order of [`Ring::members`], the loads of its keys together.
    pub loads: Vec<u64>,
}

/// Gives every key an owner, so that each member's load lies within `tolerance` percent of its even share (the sum of
/// all loads by the members' weights), as far as the keys allow: a key that costs more than a share is not divided.
///
/// Depends on the ring, the keys and their loads alone, never on the order in which these are given; for that keys must
/// differ. Loads are capped so that their sum fits 64 bits. Takes `O(keys * log(keys) + moved * members)`.
pub fn assign<K: AsRef<[u8]>>(ring: &Ring, keys: &[(K, u64)], tolerance: u32) -> Assignment {
    let cap = u64::MAX / (keys.len() as u64).max(1);
    let keys: Vec<Key<'_>> =
        keys.iter().map(|(key, load)| Key { key: key.as_ref(), load: (*load).min(cap) }).collect();
    let owners = keys.iter().map(|key| ring.owner_place(key.key)).collect();
    Work::new(ring, &keys, owners, tolerance).evened()
}

/// The same for keys of which most have an owner already: each stays with the owner at its place of `owners`, but for
/// those without one, which go to the owner that the ring gives them; what then lies beyond the tolerance is evened out.
/// Depends on its arguments alone, as [`assign`] does, the owners that there are among them.
///
/// # Panics
/// Where `owners` is not as long as `keys`, or names a place that the ring has not.
pub fn reassign<K: AsRef<[u8]>>(
    ring: &Ring,
    keys: &[(K, u64)],
    owners: &[Option<usize>],
    tolerance: u32,
) -> Assignment {
    assert_eq!(keys.len(), owners.len(), "one owner a key");
    assert!(owners.iter().flatten().all(|owner| *owner < ring.members().len()), "owners are members");
    let cap = u64::MAX / (keys.len() as u64).max(1);
    let keys: Vec<Key<'_>> =
        keys.iter().map(|(key, load)| Key { key: key.as_ref(), load: (*load).min(cap) }).collect();
    let owner = |(key, owner): (&Key<'_>, &Option<usize>)| owner.unwrap_or_else(|| ring.owner_place(key.key));
    let owners = keys.iter().zip(owners).map(owner).collect();
    Work::new(ring, &keys, owners, tolerance).evened()
}

#[derive(Clone, Copy)]
struct Key<'k> {
    key: &'k [u8],
    load: u64,
}

struct Work<'w> {
    ring: &'w Ring,
    keys: &'w [Key<'w>],
    /// Places of keys, the costliest first; equal ones by their bytes, so that the order given does not matter.
    by_load: Vec<usize>,
    owners: Vec<usize>,
    loads: Vec<u64>,
    /// What each member may carry at most and should carry at least.
    most: Vec<u64>,
    least: Vec<u64>,
}

impl<'w> Work<'w> {
    fn new(ring: &'w Ring, keys: &'w [Key<'w>], owners: Vec<usize>, tolerance: u32) -> Self {
        let mut by_load: Vec<usize> = (0..keys.len()).collect();
        by_load.sort_unstable_by(|a, b| {
            keys[*b].load.cmp(&keys[*a].load).then_with(|| keys[*a].key.cmp(keys[*b].key))
        });
        let mut loads = vec![0; ring.members().len()];
        for (owner, key) in owners.iter().zip(keys) {
            loads[*owner] += key.load;
        }
        let total: u128 = keys.iter().map(|key| u128::from(key.load)).sum();
        let weights: u128 = ring.members().iter().map(|member| u128::from(member.weight)).sum();
        let bound = |percent: u32| {
            let of = |weight: u32| total * u128::from(weight) / weights * u128::from(percent) / 100;
            let capped = |member: &crate::Member| u64::try_from(of(member.weight)).unwrap_or(u64::MAX);
            ring.members().iter().map(capped).collect::<Vec<u64>>()
        };
        let (most, least) = (bound(100 + tolerance.min(100)), bound(100 - tolerance.min(100)));
        Self { ring, keys, by_load, owners, loads, most, least }
    }

    fn evened(mut self) -> Assignment {
        self.relieve();
        self.fill();
        Assignment { owners: self.owners, loads: self.loads }
    }

    /// Takes keys from members that carry too much: the costliest that do not exceed what is too much, then, where a rest
    /// remains, the cheapest that covers it.
    fn relieve(&mut self) {
        for member in self.in_order(|work, member| work.loads[member] > work.most[member]) {
            let own: Vec<usize> = self.owned(member);
            for key in own.iter().copied().chain(own.iter().rev().copied()) {
                let excess = self.loads[member].saturating_sub(self.most[member]);
                if excess == 0 {
                    break;
                }
                let load = self.keys[key].load;
                let covers = load <= excess || self.loads[member] - load >= self.least[member];
                if self.owners[key] == member && load > 0 && covers {
                    self.give_away(key, member);
                }
            }
        }
    }

    /// Moves a key to the next member that has room for it; it stays where there is none.
    fn give_away(&mut self, key: usize, from: usize) {
        let load = self.keys[key].load;
        let has_room = |to: &usize| *to != from && self.loads[*to].saturating_add(load) <= self.most[*to];
        if let Some(to) = self.ring.ranked(self.keys[key].key).into_iter().find(has_room) {
            self.hand(key, from, to);
        }
    }

    /// Brings keys to members that carry too little, the costliest that fit, from members that can spare them.
    fn fill(&mut self) {
        for member in self.in_order(|work, member| work.loads[member] < work.least[member]) {
            for place in 0..self.by_load.len() {
                let missing = self.least[member].saturating_sub(self.loads[member]);
                if missing == 0 {
                    break;
                }
                let key = self.by_load[place];
                let (from, load) = (self.owners[key], self.keys[key].load);
                let fits = load <= missing || self.loads[member].saturating_add(load) <= self.most[member];
                let spared = self.loads[from].saturating_sub(load) >= self.middle(from);
                if from != member && load > 0 && fits && spared {
                    self.hand(key, from, member);
                }
            }
        }
    }

    fn hand(&mut self, key: usize, from: usize, to: usize) {
        let load = self.keys[key].load;
        self.loads[from] -= load;
        self.loads[to] += load;
        self.owners[key] = to;
    }

    /// Half-way between the bounds: the even share.
    fn middle(&self, member: usize) -> u64 {
        self.least[member] + (self.most[member] - self.least[member]) / 2
    }

    /// Places of the members of which something holds now, in order.
    fn in_order(&self, holds: impl Fn(&Self, usize) -> bool) -> Vec<usize> {
        (0..self.loads.len()).filter(|member| holds(self, *member)).collect()
    }

    /// Keys that a member owns, the costliest first.
    fn owned(&self, member: usize) -> Vec<usize> {
        self.by_load.iter().copied().filter(|key| self.owners[*key] == member).collect()
    }
}
