//! Which schedules are tried, in which worlds.

use super::*;

const CALM: World =
    World { latency: 40, loss: 0, faults: false, drift: 20, rebalance: 3, workers: 3, cuts: false };
const FAULTS: World = World { faults: true, ..CALM };
const LOSSY: World = World { latency: 150, loss: 15, faults: true, drift: 50, ..CALM };
const CUTS: World = World { cuts: true, ..FAULTS };
/// One worker as a rule, and never more than two.
const ALONE: World = World { workers: 1, ..CUTS };

fn schedules(seeds: std::ops::Range<u64>, world: World) {
    for seed in seeds {
        Simulation::new(seed, world).run().check();
    }
}

/// Schedules in which something was lost once.
#[test]
fn schedules_that_failed_hold() {
    // A gap that was not told when the worker left; two in a row lost and only the last told; one who goes on after two that were
    // lost before they began, and had scraped what was refused.
    for (seed, world) in [(212, FAULTS), (16, LOSSY), (909, LOSSY), (7_305, FAULTS), (2_666, LOSSY)] {
        Simulation::new(seed, world).run().check();
    }
}

#[test]
fn planned_changes_miss_nothing_and_do_nothing_twice() {
    schedules(0..1_000, CALM);
}

/// A worker that joined while others' buckets were frozen once waited for a rebalancing.
#[test]
fn who_joins_gets_its_part_without_a_rebalancing() {
    for world in [CALM, FAULTS] {
        for seed in 0..300 {
            let ended = Simulation::new(seed, World { rebalance: 0, ..world }).run();
            ended.check();
            ended.check_parts();
        }
    }
}

#[test]
fn crashes_and_stops_miss_within_a_lease_and_say_so() {
    schedules(0..1_000, FAULTS);
}

#[test]
fn who_is_cut_off_stores_nothing_twice() {
    schedules(0..1_000, CUTS);
    schedules(0..1_000, ALONE);
}

#[test]
fn one_that_stays_alone_misses_nothing_while_it_is_cut_off() {
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed, World { faults: false, ..ALONE });
        simulation.events.clear();
        simulation.start_worker();
        simulation.workers[0].alive = false;
        simulation.at(10_000, Event::CutOff(1, 40_000));
        let ended = simulation.run();
        assert_eq!(ended.unstored(), [], "seed {seed}");
        ended.check();
    }
}

#[test]
fn lost_messages_store_nothing_twice() {
    schedules(0..1_000, LOSSY);
}

/// One schedule by `SEED`, `WORLD` and `REBALANCE`; with `BUCKET` and `--nocapture` all that happens to that bucket is printed.
#[test]
fn the_schedule_that_is_asked_for_holds() {
    let var =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let world = [CALM, FAULTS, LOSSY, CUTS, ALONE][var("WORLD", 1) as usize];
    let world = World { rebalance: i64::try_from(var("REBALANCE", 3)).unwrap(), ..world };
    TRACE.store(var("BUCKET", 0) as u32, std::sync::atomic::Ordering::Relaxed);
    Simulation::new(var("SEED", 0), world).run().check();
}
