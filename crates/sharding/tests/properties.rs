//! What holds for every ring and every assignment, whatever the members and keys.

use metricsd_sharding::{Assignment, DEFAULT_TOLERANCE, Member, Ring, assign, stable_hash};
use proptest::prelude::*;

fn ring(members: usize) -> Ring {
    Ring::new((0..members).map(|n| Member::new(format!("member-{n}")))).unwrap()
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("target-{n}")).collect()
}

/// Loads of targets as they are in real fleets: most small, few a hundred times as large.
fn skewed(count: usize, seed: u64) -> Vec<(String, u64)> {
    let load = |key: &str| {
        let uniform = (stable_hash(format!("{seed}/{key}").as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64;
        // A Pareto distribution of exponent 1.2 between 10 and 10 000 series.
        (10.0 / (1.0 - uniform).powf(1.0 / 1.2)).min(10_000.0) as u64
    };
    keys(count).into_iter().map(|key| (key.clone(), load(&key))).collect()
}

fn moved(before: &[&str], after: &[&str]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

fn owner_ids<'r>(ring: &'r Ring, assignment: &Assignment) -> Vec<&'r str> {
    assignment.owners.iter().map(|place| ring.members()[*place].id.as_str()).collect()
}

/// The furthest that any member lies from its even share, as a part of it.
fn furthest(ring: &Ring, loads: &[u64]) -> f64 {
    let total: u64 = loads.iter().sum();
    let weights: u64 = ring.members().iter().map(|member| u64::from(member.weight)).sum();
    let far = |(member, load): (&Member, &u64)| {
        let even = total as f64 * f64::from(member.weight) / weights as f64;
        (*load as f64 / even - 1.0).abs()
    };
    ring.members().iter().zip(loads).filter(|(member, _)| member.weight > 0).map(far).fold(0.0, f64::max)
}

#[test]
fn one_more_member_takes_its_part_and_nothing_else_moves() {
    let keys = keys(10_000);
    for members in 1..=12 {
        let (before, after) = (ring(members), ring(members + 1));
        let new = format!("member-{members}");
        let mut taken = 0;
        for key in &keys {
            let (old, now) = (before.owner(key.as_bytes()), after.owner(key.as_bytes()));
            assert!(old == now || now.id == new, "{key} moved from {} to {}", old.id, now.id);
            taken += usize::from(now.id == new);
        }
        let fair = keys.len() / (members + 1);
        // Four standard deviations of a binomial distribution.
        let bound = fair + 4 * (fair as f64).sqrt() as usize;
        assert!(
            taken <= bound,
            "{taken} of {} keys moved to member {members}, at most {bound} may",
            keys.len()
        );
    }
}

#[test]
fn loads_of_skewed_targets_are_even() {
    for members in [2, 3, 5, 8, 16, 24] {
        for seed in 0..3 {
            let (ring, keys) = (ring(members), skewed(10_000, seed));
            let assignment = assign(&ring, &keys, DEFAULT_TOLERANCE);
            let far = furthest(&ring, &assignment.loads);
            assert!(far <= 0.15, "{members} members, seed {seed}: {far} from even");
        }
    }
}

#[test]
fn one_more_member_moves_little_of_a_bounded_assignment() {
    for members in 1..=16 {
        for seed in 0..3 {
            let (before, after, keys) = (ring(members), ring(members + 1), skewed(10_000, seed));
            let old = assign(&before, &keys, DEFAULT_TOLERANCE);
            let new = assign(&after, &keys, DEFAULT_TOLERANCE);
            let moved = moved(&owner_ids(&before, &old), &owner_ids(&after, &new));
            let bound = keys.len() / (members + 1) + keys.len() / 100;
            assert!(moved <= bound, "{members} members, seed {seed}: {moved} moved, at most {bound} may");
        }
    }
}

#[test]
fn weights_are_kept() {
    let members = [("a", 1), ("b", 2), ("c", 5), ("d", 0)];
    let ring = Ring::new(members.map(|(id, weight)| Member { id: id.into(), weight })).unwrap();
    let keys = keys(20_000);
    let mut counts = [0_u64; 4];
    for key in &keys {
        counts[ring.owner_place(key.as_bytes())] += 1;
    }
    assert_eq!(counts[3], 0, "a member without a weight owns nothing");
    assert!(furthest(&ring, &counts) < 0.06, "{counts:?}");
    let assignment = assign(&ring, &skewed(10_000, 1), DEFAULT_TOLERANCE);
    assert_eq!(assignment.loads[3], 0);
    assert!(furthest(&ring, &assignment.loads) <= 0.15, "{:?}", assignment.loads);
}

#[test]
fn what_cannot_be_even_is_still_assigned() {
    let ring = ring(3);
    let none: [(&str, u64); 0] = [];
    assert_eq!(assign(&ring, &none, 10), Assignment { owners: vec![], loads: vec![0; 3] });
    let one = assign(&ring, &[("only", 7)], 10);
    assert_eq!(one.loads.iter().sum::<u64>(), 7);
    let huge = assign(&ring, &[("a", u64::MAX), ("b", u64::MAX), ("c", 0)], 10);
    assert_eq!(huge.owners.len(), 3);
    let idle: Vec<(String, u64)> = keys(50).into_iter().map(|key| (key, 0)).collect();
    let expected: Vec<usize> = idle.iter().map(|(key, _)| ring.owner_place(key.as_bytes())).collect();
    assert_eq!(assign(&ring, &idle, 10).owners, expected, "without loads the ring decides");
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map("[a-z0-9.:-]{1,12}", 0_u32..=4, 1..8).prop_filter_map("a weight", |members| {
        let members: Vec<Member> = members.into_iter().map(|(id, weight)| Member { id, weight }).collect();
        members.iter().any(|member| member.weight > 0).then_some(members)
    })
}

fn loads() -> impl Strategy<Value = Vec<(Vec<u8>, u64)>> {
    let load = prop_oneof![Just(0), 1_u64..100, 1_u64..1_000_000, Just(u64::MAX)];
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..12), load, 0..200)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    /// Exactly one owner each, one that takes keys, and the loads are those of the keys.
    #[test]
    fn every_key_has_one_owner((members, keys) in (members(), loads()), tolerance in 0_u32..200) {
        let ring = Ring::new(members).unwrap();
        let assignment = assign(&ring, &keys, tolerance);
        prop_assert_eq!(assignment.owners.len(), keys.len());
        let cap = u64::MAX / (keys.len() as u64).max(1);
        let mut sums = vec![0_u64; ring.members().len()];
        for (owner, (key, load)) in assignment.owners.iter().zip(&keys) {
            prop_assert!(ring.members()[*owner].weight > 0);
            sums[*owner] += (*load).min(cap);
            let ranked = ring.ranked(key);
            prop_assert_eq!(ranked[0], ring.owner_place(key));
            prop_assert_eq!(ranked.len(), ring.members().iter().filter(|member| member.weight > 0).count());
        }
        prop_assert_eq!(sums, assignment.loads);
    }

    /// Whatever the order of members and of keys.
    #[test]
    fn order_does_not_matter(
        (members, shuffled) in members().prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
        (keys, mixed) in loads().prop_flat_map(|keys| (Just(keys.clone()), Just(keys).prop_shuffle())),
    ) {
        let (ring, other) = (Ring::new(members).unwrap(), Ring::new(shuffled).unwrap());
        prop_assert_eq!(&ring, &other);
        let (one, two) = (assign(&ring, &keys, 10), assign(&other, &mixed, 10));
        prop_assert_eq!(&one.loads, &two.loads);
        for (key, owner) in mixed.iter().zip(&two.owners) {
            let place = keys.iter().position(|known| known == key).unwrap();
            prop_assert_eq!(one.owners[place], *owner);
        }
    }

    /// A member that goes leaves its keys to others, and no other key moves.
    #[test]
    fn who_goes_moves_nobody_else(members in members(), gone in any::<prop::sample::Index>(), keys in loads()) {
        let ring = Ring::new(members.clone()).unwrap();
        let gone = gone.get(&members).clone();
        let rest = members.into_iter().filter(|member| *member != gone);
        let Ok(smaller) = Ring::new(rest) else { return Ok(()) };
        for (key, _) in &keys {
            let owner = ring.owner(key);
            prop_assert!(*owner == gone || owner == smaller.owner(key));
        }
    }
}

/// What holds of plans, by way of buckets: one owner each, little moves, loads are even, and every process that knows the
/// newest epoch says the same.
#[test]
fn plans_keep_buckets_even_and_move_little() {
    use metricsd_sharding::{BUCKETS, Policy, Registry, Report, Table, bucket_of, plan};
    use uuid::Uuid;

    let targets = skewed(10_000, 7);
    let mut loads = vec![0_u64; usize::from(BUCKETS)];
    targets.iter().for_each(|(id, load)| loads[usize::from(bucket_of(id))] += load);
    let policy = Policy { lead: 2_500, doubt: 10_000, tolerance: DEFAULT_TOLERANCE, may_evict: true };
    let member = |n: u64| Uuid::from_u64_pair(stable_hash(&n.to_le_bytes()), n);
    let report = |n: u64| Report {
        member: member(n),
        process: member(n),
        weight: 1,
        draining: false,
        targets: 0,
        samples_per_second: 0,
        capacity: 1,
    };
    let mut registry = Registry::new(BUCKETS);
    let mut copy = Table::new(BUCKETS);
    for workers in 1..=12_u64 {
        let now = i64::try_from(workers).unwrap() * 100_000;
        for known in 1..workers {
            let epoch = registry.table().epoch();
            registry.renew(now, &report(known), 60_000, epoch).unwrap();
        }
        registry.join(now, &report(workers), 60_000, 0);
        let planned = plan(&registry.snapshot(now), &loads, &policy, false).unwrap();
        assert!(registry.propose(now, &planned));
        let moved: Vec<bool> = targets
            .iter()
            .map(|(id, _)| planned.grants.iter().any(|(bucket, _)| *bucket == bucket_of(id)))
            .collect();
        let moved = moved.iter().filter(|moved| **moved).count();
        let bound = targets.len() / usize::try_from(workers).unwrap() + targets.len() / 25;
        assert!(moved <= bound, "{workers} workers: {moved} targets moved, at most {bound} may");
        copy.apply(registry.table().epoch(), &registry.table().since(copy.epoch()));
        assert_eq!(&copy, registry.table(), "whoever follows has the same");
        let mut shares = vec![0_u64; usize::try_from(workers).unwrap() + 1];
        for (grant, load) in copy.grants().iter().zip(&loads) {
            let owner = grant.unwrap().owner.as_u64_pair().1;
            shares[usize::try_from(owner).unwrap()] += load;
        }
        let even = loads.iter().sum::<u64>() as f64 / workers as f64;
        let far = shares[1..].iter().map(|share| (*share as f64 / even - 1.0).abs()).fold(0.0, f64::max);
        assert!(far <= 0.15, "{workers} workers: {far} from even");
    }
}
