//! How long a plan takes, how much it moves, and how even it leaves things: 100 000 targets of skewed sizes.

use std::time::Instant;

use metricsd_sharding::{BUCKETS, Policy, Registry, Report, bucket_of, plan, stable_hash};
use uuid::Uuid;

const TARGETS: usize = 100_000;
const POLICY: Policy = Policy { lead: 2_500, doubt: 10_000, tolerance: 10, may_evict: true };

fn report(number: u64) -> Report {
    let member = Uuid::from_u64_pair(stable_hash(&number.to_le_bytes()), number);
    Report {
        member,
        process: member,
        weight: 1,
        draining: false,
        targets: 0,
        samples_per_second: 0,
        capacity: 1,
    }
}

/// A Pareto distribution between 10 and 10 000 samples a second.
fn size(target: usize) -> u64 {
    let uniform = (stable_hash(format!("size-{target}").as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64;
    (10.0 / (1.0 - uniform).powf(1.0 / 1.2)).min(10_000.0) as u64
}

fn main() {
    let started = Instant::now();
    let mut loads = vec![0_u64; usize::from(BUCKETS)];
    let mut targets = vec![0_usize; usize::from(BUCKETS)];
    for target in 0..TARGETS {
        let bucket = usize::from(bucket_of(&format!("target-{target}")));
        loads[bucket] += size(target);
        targets[bucket] += 1;
    }
    println!("{TARGETS} targets into {BUCKETS} buckets: {:.1?}", started.elapsed());
    println!(
        "{:>8} {:>12} {:>14} {:>16} {:>10}",
        "workers", "first plan", "one more", "targets moved", "furthest"
    );
    for workers in [1, 2, 4, 10, 30, 100, 300, 1_000] {
        let mut registry = Registry::new(BUCKETS);
        for number in 0..workers {
            registry.join(0, &report(number), 60_000, 0);
        }
        let started = Instant::now();
        let first = plan(&registry.snapshot(1), &loads, &POLICY, false).expect("work");
        let took = started.elapsed();
        assert!(registry.propose(1, &first));
        for number in 0..workers {
            registry.renew(2, &report(number), 60_000, 1);
        }
        registry.join(10_000, &report(workers), 60_000, 0);
        let started = Instant::now();
        let next = plan(&registry.snapshot(10_000), &loads, &POLICY, false).expect("work");
        let again = started.elapsed();
        let moved: usize = next.grants.iter().map(|(bucket, _)| targets[usize::from(*bucket)]).sum();
        assert!(registry.propose(10_000, &next));
        let even = loads.iter().sum::<u64>() as f64 / (workers + 1) as f64;
        let furthest = (0..=workers).map(|number| {
            let member = report(number).member;
            let grants = registry.table().grants().iter().zip(&loads);
            let own = grants.filter(|(grant, _)| grant.is_some_and(|grant| grant.owner == member));
            (own.map(|(_, load)| *load).sum::<u64>() as f64 / even - 1.0).abs()
        });
        let furthest = furthest.fold(0.0, f64::max) * 100.0;
        println!("{workers:>8} {took:>12.1?} {again:>14.1?} {moved:>16} {furthest:>9.1}%");
    }
}
