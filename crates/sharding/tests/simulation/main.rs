//! A model check: the code that decides in production (`plan`, `Keeper`, `Registry`) in a world where messages take their time or are lost,
//! clocks drift, processes stop, go on, crash, come and leave; thousands of schedules, each from a seed.
//!
//! What must hold, whatever happens: each scheduled scrape is stored once or recorded as missed; owners of a bucket follow
//! one another without going back. Where nobody crashes, stops, or is cut off, none is missed and none is done twice; where one does,
//! misses lie within its lease.

mod schedules;
mod world;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use metricsd_sharding::{Gap, Keeper, Policy, Registry, Report, Table, plan};
use uuid::Uuid;

use world::*;
struct Simulation {
    seed: u64,
    world: World,
    random: Random,
    now: i64,
    /// By time; of one millisecond, scrapes first: a worker scrapes what is scheduled after it came to know.
    events: BinaryHeap<Reverse<(i64, bool, u64)>>,
    payloads: BTreeMap<u64, Event>,
    sequence: u64,
    registry: Registry,
    workers: Vec<Worker>,
    ledger: Ledger,
    /// When each bucket was first scraped.
    first: BTreeMap<u16, i64>,
    /// From a fault until all is well again.
    troubled: Vec<(i64, i64)>,
}

impl Simulation {
    fn new(seed: u64, world: World) -> Self {
        let mut simulation = Self {
            seed,
            world,
            random: Random(seed),
            now: 0,
            events: BinaryHeap::new(),
            payloads: BTreeMap::new(),
            sequence: 0,
            registry: Registry::new(BUCKETS),
            workers: Vec::new(),
            ledger: Ledger::default(),
            first: BTreeMap::new(),
            troubled: Vec::new(),
        };
        for _ in 0..world.workers {
            simulation.start_worker();
        }
        simulation.at(5_000, Event::Trouble);
        simulation
    }

    fn at(&mut self, time: i64, event: Event) {
        self.sequence += 1;
        let later = !matches!(event, Event::Slot(..));
        self.payloads.insert(self.sequence, event);
        self.events.push(Reverse((time.max(self.now), later, self.sequence)));
    }

    fn member(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.random.next(), self.random.next())
    }

    fn start_worker(&mut self) {
        let member = self.member();
        let rate = 1_000 + self.random.below(2 * self.world.drift + 1) - self.world.drift;
        let place = self.workers.len();
        self.workers.push(Worker {
            keeper: Keeper::new(member, lease(), Table::new(BUCKETS)),
            alive: true,
            draining: false,
            joined: false,
            stopped_until: 0,
            cut_until: 0,
            rate,
            steady_since: None,
            planned_at: -10_000,
        });
        self.at(self.now + 1, Event::Tick(place));
        for bucket in 0..BUCKETS {
            let slot = next_slot(bucket, self.now);
            self.at(slot, Event::Slot(place, bucket, slot));
        }
    }

    fn run(mut self) -> Self {
        while let Some(Reverse((time, _, key))) = self.events.pop() {
            if time > LENGTH {
                break;
            }
            self.now = time;
            let Some(event) = self.payloads.remove(&key) else { continue };
            if let Some(place) = worker_of(&event) {
                let worker = &self.workers[place];
                if !worker.alive {
                    continue;
                }
                if worker.stopped_until > self.now {
                    let until = worker.stopped_until;
                    self.at(until, event);
                    continue;
                }
            }
            self.handle(event);
        }
        self
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(place) => {
                self.heartbeat(place);
                self.at(self.now + HEARTBEAT, Event::Tick(place));
            }
            Event::Told(place) => self.heartbeat(place),
            Event::Arrive(place, request) => self.serve(place, request),
            Event::Answer(place, answer) => self.answered(place, answer),
            Event::Slot(place, bucket, slot) => self.scrape(place, bucket, slot),
            Event::Store { from, bucket, slot, epoch, spooled } => {
                // What a dead process had not handed to the database yet is lost, unless it lies in its spool.
                if spooled || !self.is_dead(from) {
                    self.store(from, bucket, slot, epoch);
                }
            }
            Event::Missed { bucket, slot } => {
                if !self.ledger.stored.contains_key(&(bucket, slot)) {
                    self.ledger.missed.insert((bucket, slot));
                }
            }
            Event::Trouble => self.trouble(),
            Event::CutOff(place, until) => self.cut_off(place, until),
        }
    }

    /// By the worker's monotonic clock.
    fn mono(&self, place: usize) -> Duration {
        let millis = (self.now + 100_000) * self.workers[place].rate / 1_000;
        Duration::from_millis(u64::try_from(millis).unwrap())
    }

    fn send(&mut self, place: usize, request: Request) {
        if self.workers[place].cut_until > self.now || self.random.chance(self.world.loss) {
            return;
        }
        let arrives = self.now + 1 + self.random.below(self.world.latency);
        self.at(arrives, Event::Arrive(place, request));
    }

    fn reply(&mut self, place: usize, answer: Answer) {
        if self.workers[place].cut_until > self.now || self.random.chance(self.world.loss) {
            return;
        }
        let arrives = self.now + 1 + self.random.below(self.world.latency);
        self.at(arrives, Event::Answer(place, answer));
    }

    fn report(&self, place: usize) -> Report {
        let worker = &self.workers[place];
        Report {
            member: worker.keeper.member(),
            process: Uuid::nil(),
            weight: 1,
            draining: worker.draining,
            targets: 0,
            samples_per_second: 0,
            capacity: 0,
        }
    }

    fn heartbeat(&mut self, place: usize) {
        let (mono, now) = (self.mono(place), self.now);
        let worker = &mut self.workers[place];
        if worker.joined && worker.keeper.may_leave(now) {
            let member = worker.keeper.member();
            worker.alive = false;
            if (0..BUCKETS).any(traced) {
                println!("{now} {place} leaves: {:?}", self.workers[place].keeper.table().epoch());
            }
            return self.send(place, Request::Leave(member));
        }
        if !worker.keeper.holds(mono) {
            worker.steady_since = None;
        }
        let (joined, known) = (worker.joined, worker.keeper.known());
        let report = self.report(place);
        let request = match joined {
            true => Request::Renew(report, known, mono),
            false => Request::Join(report, known, mono),
        };
        self.send(place, request);
    }

    /// The database.
    fn serve(&mut self, place: usize, request: Request) {
        let now = self.now;
        match request {
            Request::Join(report, known, sent) => {
                let renewal = Some(self.registry.join(now, &report, LEASE, known));
                self.reply(place, Answer::Renewed { sent, draining: report.draining, renewal });
            }
            Request::Renew(report, known, sent) => {
                let renewal = self.registry.renew(now, &report, LEASE, known);
                self.reply(place, Answer::Renewed { sent, draining: report.draining, renewal });
            }
            Request::Snapshot { rebalance } => {
                let snapshot = Box::new(self.registry.snapshot(now));
                self.reply(place, Answer::Snapshot(snapshot, rebalance));
            }
            Request::Propose(plan) => {
                let taken = self.registry.propose(now, &plan);
                for (bucket, grant) in plan.grants.iter().filter(|(bucket, _)| traced(*bucket)) {
                    println!("{now} plan by {place} taken {taken} lost {:?}: {bucket} {grant:?}", plan.lost);
                }
                if taken {
                    // Notifications: most come, and soon.
                    for other in 0..self.workers.len() {
                        if self.random.chance(90) {
                            let told = now + 1 + self.random.below(self.world.latency);
                            self.at(told, Event::Told(other));
                        }
                    }
                }
            }
            Request::Leave(member) => self.registry.leave(now, member),
        }
    }

    fn answered(&mut self, place: usize, answer: Answer) {
        let (mono, now) = (self.mono(place), self.now);
        match answer {
            Answer::Renewed { sent, draining, renewal: Some(renewal) } => {
                let worker = &mut self.workers[place];
                worker.joined = true;
                let gaps = worker.keeper.renewed(sent, draining, &renewal, now);
                worker.steady_since.get_or_insert(now);
                self.record(&gaps);
                let worker = &mut self.workers[place];
                let due = renewal.unsettled && now - worker.planned_at > 300;
                let rebalance = self.random.chance(self.world.rebalance);
                if worker.keeper.holds(mono) && (due || rebalance) {
                    worker.planned_at = now;
                    self.send(place, Request::Snapshot { rebalance });
                }
            }
            Answer::Renewed { renewal: None, .. } => {
                let member = self.member();
                let worker = &mut self.workers[place];
                worker.keeper = Keeper::new(member, lease(), worker.keeper.table().clone());
                (worker.joined, worker.steady_since) = (false, None);
                if worker.draining {
                    worker.alive = false;
                }
            }
            Answer::Snapshot(snapshot, rebalance) => {
                let worker = &self.workers[place];
                let may_evict = worker.steady_since.is_some_and(|since| now - since >= LEASE);
                let policy = Policy { lead: LEAD, doubt: 2 * LEASE, tolerance: 10, may_evict };
                let loads: Vec<u64> = (0..BUCKETS).map(|_| 1 + self.random.next() % 5).collect();
                if let Some(plan) = plan(&snapshot, &loads, &policy, rebalance) {
                    self.send(place, Request::Propose(plan));
                }
            }
        }
    }

    fn scrape(&mut self, place: usize, bucket: u16, slot: i64) {
        let mono = self.mono(place);
        let next = next_slot(bucket, self.now.max(slot));
        self.at(next, Event::Slot(place, bucket, next));
        let keeper = &self.workers[place].keeper;
        if self.now >= slot + INTERVAL {
            // What went by while it was stopped.
            let passed = (slot..next).step_by(INTERVAL as usize);
            for passed in passed.filter(|at| keeper.owns(bucket, *at)).collect::<Vec<i64>>() {
                self.at(self.now + 20, Event::Missed { bucket, slot: passed });
            }
            return;
        }
        if !keeper.owns(bucket, slot) {
            return;
        }
        self.first.entry(bucket).or_insert(slot);
        if !keeper.may_scrape(bucket, slot, mono) {
            return self.at(self.now + 20, Event::Missed { bucket, slot });
        }
        if traced(bucket) {
            println!("{} scrape {slot} by {place}", self.now);
        }
        let epoch = keeper.table().grant(bucket).unwrap().epoch;
        let from = keeper.member();
        *self.ledger.done.entry((bucket, slot)).or_default() += 1;
        // Scrapes and commits take longer than messages; retries see to it that they arrive unless the process dies.
        let spooled = self.workers[place].cut_until > self.now;
        let arrives =
            self.now.max(self.workers[place].cut_until) + 1 + self.random.below(10 * self.world.latency);
        if self.workers[place].stopped_until <= self.now {
            self.at(arrives, Event::Store { from, bucket, slot, epoch, spooled });
        }
    }

    fn is_dead(&self, member: Uuid) -> bool {
        let is_dead = |worker: &Worker| worker.keeper.member() == member && !worker.alive && !worker.draining;
        self.workers.iter().any(is_dead)
    }

    fn store(&mut self, from: Uuid, bucket: u16, slot: i64, epoch: u64) {
        if traced(bucket) {
            println!("{} store {slot} from {from}", self.now);
        }
        if self.registry.table().grant(bucket).is_some_and(|grant| grant.refuses(from, slot)) {
            self.ledger.refused += 1;
            return;
        }
        if self.ledger.missed.contains(&(bucket, slot)) {
            return;
        }
        self.ledger.stored.entry((bucket, slot)).or_insert((from, epoch));
    }

    fn record(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            if traced(gap.bucket) {
                println!("{} {gap:?}", self.now);
            }
            self.ledger.gaps.push(*gap);
            let mut slot = next_slot(gap.bucket, gap.from - 1);
            while slot < gap.until {
                self.at(self.now + 20, Event::Missed { bucket: gap.bucket, slot });
                slot += INTERVAL;
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        let lives = |place: &usize| self.workers[*place].alive && !self.workers[*place].draining;
        (0..self.workers.len()).filter(lives).collect()
    }

    fn trouble(&mut self) {
        if self.now > CALM_FROM {
            return;
        }
        let living = self.living();
        let someone = living[usize::try_from(self.random.below(living.len() as i64)).unwrap()];
        if traced(u16::MAX) || (0..BUCKETS).any(traced) {
            let members: Vec<_> = self
                .workers
                .iter()
                .map(|w| (w.keeper.member(), w.alive, w.draining, w.stopped_until))
                .collect();
            println!("{} trouble at {someone}: {members:?}", self.now);
        }
        let kinds = match (self.world.faults, self.world.cuts) {
            (false, _) => 2,
            (true, false) => 5,
            (true, true) => 6,
        };
        let least = (self.world.workers * 2 / 3).max(1);
        match self.random.below(kinds) {
            0 if living.len() < 2 * self.world.workers => self.start_worker(),
            1 if living.len() > least => {
                self.workers[someone].draining = true;
                self.at(self.now, Event::Told(someone));
            }
            2 if living.len() > least => {
                self.workers[someone].alive = false;
                self.troubled.push((self.now, self.now));
            }
            3 => {
                let until = (self.now + self.random.below(3 * LEASE)).min(CALM_FROM + 2 * LEASE);
                let worker = &mut self.workers[someone];
                worker.stopped_until = worker.stopped_until.max(until);
                self.troubled.push((self.now, until));
            }
            5 => {
                let until = (self.now + self.random.below(3 * LEASE)).min(CALM_FROM + LEASE);
                self.cut_off(someone, until);
            }
            _ => {}
        }
        let next = self.now + 500 + self.random.below(6_000);
        self.at(next, Event::Trouble);
    }

    fn cut_off(&mut self, place: usize, until: i64) {
        let worker = &mut self.workers[place];
        worker.cut_until = worker.cut_until.max(until);
        self.troubled.push((self.now, until));
    }

    /// Scheduled scrapes that were not stored, from the first of each bucket on.
    fn unstored(&self) -> Vec<(u16, i64)> {
        let mut all = Vec::new();
        for (bucket, first) in &self.first {
            let mut slot = *first;
            while slot < LENGTH - 5 * LEASE {
                if !self.ledger.stored.contains_key(&(*bucket, slot)) {
                    all.push((*bucket, slot));
                }
                slot += INTERVAL;
            }
        }
        all
    }

    /// Every worker that is left has about its part, and none waits for more.
    fn check_parts(&self) {
        let (seed, living) = (self.seed, self.living());
        // Many newcomers may take all of the few that one has.
        let few = living.len() <= 4;
        for place in living {
            let member = self.workers[place].keeper.member();
            let lease =
                self.registry.snapshot(self.now).leases.into_iter().find(|l| l.report.member == member);
            assert!(lease.is_some_and(|lease| lease.placed), "seed {seed}: worker {place} still waits");
            let owned = |grant: &&metricsd_sharding::Grant| grant.owner == member;
            let owned = self.registry.table().grants().iter().flatten().filter(owned).count();
            assert!(owned > 0 || !few, "seed {seed}: worker {place} owns nothing");
        }
    }

    fn check(&self) {
        let seed = self.seed;
        assert_eq!(self.first.len(), usize::from(BUCKETS), "seed {seed}: every bucket is scraped");
        let unstored = self.unstored();
        let unexplained: Vec<_> = unstored.iter().filter(|key| !self.ledger.missed.contains(key)).collect();
        assert!(unexplained.is_empty(), "seed {seed}: neither stored nor missed: {unexplained:?}");
        let both: Vec<_> =
            self.ledger.missed.iter().filter(|key| self.ledger.stored.contains_key(key)).collect();
        assert!(both.is_empty(), "seed {seed}: stored and missed: {both:?}");
        for bucket in 0..BUCKETS {
            let stored = self.ledger.stored.range((bucket, i64::MIN)..=(bucket, i64::MAX));
            // What nobody else did may be done by one that was alone once and does not know better.
            let stored = stored.filter(|((_, slot), _)| !self.ledger.is_in_gap(bucket, *slot));
            let epochs: Vec<u64> = stored.map(|(_, (_, epoch))| *epoch).collect();
            assert!(epochs.is_sorted(), "seed {seed}: owners of bucket {bucket} took turns: {epochs:?}");
        }
        let calm = !self.world.faults && self.world.loss == 0;
        if calm {
            assert_eq!(unstored, [], "seed {seed}: missed in a planned change");
            let twice: Vec<_> = self.ledger.done.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "seed {seed}: done twice: {twice:?}");
            assert_eq!(self.ledger.refused, 0, "seed {seed}");
        } else if self.world.loss == 0 {
            // A lease, the time until it is noticed, and a hand-over that may have been under way.
            let slack = LEASE + LEAD + HEARTBEAT + 20 * self.world.latency;
            let explained = |slot: i64| {
                self.troubled.iter().any(|(from, until)| {
                    slot >= from - 11 * self.world.latency - INTERVAL && slot <= until + slack
                })
            };
            let stray: Vec<_> = unstored.iter().filter(|(_, slot)| !explained(*slot)).collect();
            assert!(
                stray.is_empty(),
                "seed {seed}: missed without a fault near: {stray:?}, {:?}",
                self.troubled
            );
        }
    }
}

fn lease() -> Duration {
    Duration::from_millis(LEASE as u64)
}

/// Buckets are due one after another within the interval.
fn next_slot(bucket: u16, after: i64) -> i64 {
    let offset = i64::from(bucket) * INTERVAL / i64::from(BUCKETS);
    (after - offset).div_euclid(INTERVAL) * INTERVAL + offset + INTERVAL
}

fn worker_of(event: &Event) -> Option<usize> {
    match event {
        Event::Tick(place) | Event::Told(place) | Event::Answer(place, _) | Event::Slot(place, ..) => {
            Some(*place)
        }
        // What was sent arrives even if the sender has died.
        Event::Arrive(..)
        | Event::Store { .. }
        | Event::Missed { .. }
        | Event::CutOff(..)
        | Event::Trouble => None,
    }
}

static TRACE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(u32::MAX);

fn traced(bucket: u16) -> bool {
    TRACE.load(std::sync::atomic::Ordering::Relaxed) == u32::from(bucket)
}
