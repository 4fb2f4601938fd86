//! Whose each bucket is, from which scheduled time on.

use uuid::Uuid;

use crate::hash::stable_hash;

/// Into how many buckets targets are hashed: enough that a thousand workers can be given even parts, few enough that all of
/// them are read in an instant. Never changes.
pub const BUCKETS: u16 = 1 << 14;

/// The bucket of a target: the first bits of the stable hash of its id. Never changes.
pub fn bucket_of(target_id: &str) -> u16 {
    let bits = stable_hash(target_id.as_bytes()) >> (u64::BITS - BUCKETS.trailing_zeros());
    // Fewer bits than the type has.
    u16::try_from(bits).unwrap_or(0)
}

/// Who owns a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Who owns the scrapes that are scheduled at `since` or later.
    pub owner: Uuid,
    /// Counts the changes of the table: the change that made this grant.
    pub epoch: u64,
    /// The first scheduled time that is the owner's, in milliseconds since the epoch by the database's clock.
    pub since: i64,
    /// Who owns what is scheduled before: a member that hands over and goes on until then. `None` where there was none, or
    /// its lease ran out.
    pub previous: Option<Uuid>,
    /// The first scheduled time that was the previous one's.
    pub began: i64,
    /// Where a member was lost, or a hand-over was cut short: scrapes scheduled from this time on until `since` may never have been done.
    pub gap: Option<i64>,
}

impl Grant {
    /// Who owns what is scheduled at `slot`.
    pub fn owner_at(&self, slot: i64) -> Option<Uuid> {
        if slot >= self.since { Some(self.owner) } else { self.previous }
    }

    /// Whether a store refuses what `member` collected at `slot`: it is another's. What was scheduled before anyone whom
    /// this grant names began is for the batch id to decide.
    pub fn refuses(&self, member: Uuid, slot: i64) -> bool {
        match slot >= self.since {
            true => self.owner != member,
            false => slot >= self.began && self.previous.is_some_and(|previous| previous != member),
        }
    }

    /// Whether the member owns something of it at `now` or later.
    pub fn concerns(&self, member: Uuid, now: i64) -> bool {
        self.owner == member || (self.previous == Some(member) && now < self.since)
    }
}

/// All buckets. The same on every process that has seen the same epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    epoch: u64,
    grants: Vec<Option<Grant>>,
}

impl Table {
    /// A table in which nothing has an owner.
    pub fn new(buckets: u16) -> Self {
        Self { epoch: 0, grants: vec![None; usize::from(buckets)] }
    }

    /// The last change that is in it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Every bucket's grant, in order.
    pub fn grants(&self) -> &[Option<Grant>] {
        &self.grants
    }

    /// A bucket's grant.
    pub fn grant(&self, bucket: u16) -> Option<&Grant> {
        self.grants.get(usize::from(bucket))?.as_ref()
    }

    /// Who owns what is scheduled at `slot`.
    pub fn owner(&self, bucket: u16, slot: i64) -> Option<Uuid> {
        self.grant(bucket)?.owner_at(slot)
    }

    /// Takes over changes up to `epoch`, in whatever order they come. Buckets that the table has not are passed over.
    pub fn apply(&mut self, epoch: u64, changed: &[(u16, Grant)]) {
        for (bucket, grant) in changed {
            if let Some(place) = self.grants.get_mut(usize::from(*bucket))
                && place.is_none_or(|known| known.epoch < grant.epoch)
            {
                *place = Some(*grant);
            }
        }
        self.epoch = self.epoch.max(epoch);
    }

    /// Grants that were made after an epoch.
    pub fn since(&self, epoch: u64) -> Vec<(u16, Grant)> {
        let grants = (0_u16..).zip(&self.grants).filter_map(|(bucket, grant)| Some((bucket, (*grant)?)));
        grants.filter(|(_, grant)| grant.epoch > epoch).collect()
    }

    /// How many buckets a member owns, those that it is yet to be handed among them.
    pub fn owned(&self, member: Uuid) -> usize {
        self.grants.iter().flatten().filter(|grant| grant.owner == member).count()
    }

    /// Whether a member owns nothing at `now` or later.
    pub fn has_left(&self, member: Uuid, now: i64) -> bool {
        !self.grants.iter().flatten().any(|grant| grant.concerns(member, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, targets have other owners than their workers think. Do not change the values.
    #[test]
    fn buckets_are_pinned() {
        let buckets = ["", "a", "node-17", "target-1", "http://127.0.0.1:9100/metrics"].map(bucket_of);
        assert_eq!(buckets, [2_881, 14_769, 5_419, 11_999, 1_123]);
    }

    #[test]
    fn buckets_are_even() {
        let mut counts = vec![0_u32; usize::from(BUCKETS)];
        for target in 0..1_000_000 {
            counts[usize::from(bucket_of(&format!("target-{target}")))] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 20 && *most < 110, "61 on average: {least} to {most}");
    }

    #[test]
    fn an_owner_begins_where_the_one_before_ends() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let grant = Grant { owner: b, epoch: 4, since: 1_000, previous: Some(a), began: 500, gap: None };
        assert_eq!((grant.owner_at(999), grant.owner_at(1_000)), (Some(a), Some(b)));
        assert!(!grant.refuses(a, 999) && grant.refuses(a, 1_000) && !grant.refuses(b, 1_000));
        assert!(grant.concerns(a, 999) && !grant.concerns(a, 1_000) && grant.concerns(b, 5_000));
        assert!(grant.refuses(b, 999) && grant.refuses(b, 500) && !grant.refuses(b, 499), "not yet b's");
        assert!(grant.refuses(c, 1_000) && !grant.concerns(c, 0));
        let lost = Grant { previous: None, ..grant };
        assert_eq!(lost.owner_at(999), None);
    }
}
