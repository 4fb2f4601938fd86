//! The ring: each key's owner by weighted rendezvous hashing.
//!
//! Every member draws a distance for the key, the nearest owns it. A member that comes takes its keys from all others
//! evenly, and one that goes leaves its keys to all others evenly: no other key moves.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::hash::{distance, pair, stable_hash};

/// Someone who owns keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is: decides what it owns, and so stays the same for as long as it is the same.
    pub id: String,
    /// How much it takes beside the others; 0 for nothing at all.
    pub weight: u32,
}

impl Member {
    /// A member of weight 1.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), weight: 1 }
    }
}

/// Why members make no ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Nobody has a weight, so nothing would have an owner.
    #[error("a ring needs a member whose weight is above 0")]
    NoWeight,
    /// Two members of one id.
    #[error("the member {0:?} is in the ring twice")]
    Twice(String),
}

/// Members that own keys. Equal for equal members, in whatever order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// In order of their ids.
    members: Vec<Member>,
    /// Hashes of their ids.
    seeds: Vec<u64>,
}

impl Ring {
    /// A ring of these members.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Result<Self, RingError> {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        let mut seen = BTreeSet::new();
        if let Some(twice) = members.iter().find(|member| !seen.insert(member.id.as_str())) {
            return Err(RingError::Twice(twice.id.clone()));
        }
        if members.iter().all(|member| member.weight == 0) {
            return Err(RingError::NoWeight);
        }
        let seeds = members.iter().map(|member| stable_hash(member.id.as_bytes())).collect();
        Ok(Self { members, seeds })
    }

    /// All members, in order of their ids. Places in this list stand for members elsewhere.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member that owns a key.
    pub fn owner(&self, key: &[u8]) -> &Member {
        &self.members[self.owner_place(key)]
    }

    /// Where the owner of a key stands in [`Self::members`].
    pub fn owner_place(&self, key: &[u8]) -> usize {
        self.draws(key).min().map_or(0, |draw| draw.place)
    }

    /// Places of all members that take keys, from the key's owner to the one that would own it last.
    pub fn ranked(&self, key: &[u8]) -> Vec<usize> {
        let mut draws: Vec<Draw> = self.draws(key).collect();
        draws.sort_unstable();
        draws.into_iter().map(|draw| draw.place).collect()
    }

    fn draws(&self, key: &[u8]) -> impl Iterator<Item = Draw> {
        let key = stable_hash(key);
        let members = self.members.iter().zip(&self.seeds).enumerate();
        members.filter(|(_, (member, _))| member.weight > 0).map(move |(place, (member, seed))| {
            let hash = pair(*seed, key);
            Draw { distance: distance(hash), weight: member.weight, hash, place }
        })
    }
}

/// What one member drew for a key: the least is the nearest.
#[derive(Debug, Clone, Copy)]
struct Draw {
    distance: u64,
    weight: u32,
    hash: u64,
    place: usize,
}

impl Ord for Draw {
    /// By `distance / weight`, without a remainder that would be lost. Distances that are cut to the same number are told
    /// apart by their hashes, which decide alone where all weights are equal.
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = u128::from(self.distance) * u128::from(other.weight);
        let theirs = u128::from(other.distance) * u128::from(self.weight);
        ours.cmp(&theirs).then(other.hash.cmp(&self.hash)).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Draw {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Draw {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Draw {}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, data goes to other shards than before. Do not change the values.
    #[test]
    fn owners_are_pinned() {
        let check = |members: &[(&str, u32)], expected: &str| {
            let ring =
                Ring::new(members.iter().map(|(id, weight)| Member { id: (*id).into(), weight: *weight }));
            let ring = ring.unwrap();
            let owners: String =
                (0..24).map(|n| ring.owner(format!("target-{n}").as_bytes()).id.as_str()).collect();
            assert_eq!(owners, expected);
        };
        check(&[("1", 1)], "111111111111111111111111");
        check(&[("1", 1), ("2", 1)], "111111221211121121112222");
        check(&[("1", 1), ("2", 1), ("3", 1)], "113311223231323331332223");
        check(&[("1", 1), ("2", 5)], "112211222221222221212222");
        check(&[("1", 0), ("2", 5)], "222222222222222222222222");
    }

    #[test]
    fn members_that_make_no_ring_are_refused() {
        assert_eq!(Ring::new([]), Err(RingError::NoWeight));
        assert_eq!(Ring::new([Member { id: "a".into(), weight: 0 }]), Err(RingError::NoWeight));
        let twice = Ring::new([Member::new("a"), Member::new("b"), Member::new("a")]);
        assert_eq!(twice, Err(RingError::Twice("a".into())));
    }
}
