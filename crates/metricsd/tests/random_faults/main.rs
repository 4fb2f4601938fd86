//! A cluster of workers that share targets, with everything going wrong that can, at random: processes are killed, stopped,
//! added and removed, servers go away, lines are cut, disks are full, a clock is off. Afterwards everything is counted.
//!
//! `METRICSD_TEST_FAULTS_SECONDS` says how long each test goes on at least, `METRICSD_TEST_FAULTS_TARGETS` with how many
//! targets, and `METRICSD_TEST_FAULTS_SEED` repeats a course.

mod account;
mod chance;
mod clock;
mod faults;
mod fleet;
mod pages;
mod proxy;
mod pushes;
mod strain;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use account::{Excuses, INTERVAL, Window};
use chance::Chance;
use faults::{Fault, round};
use fleet::{FRONTS, Fleet, NARROW, WORKERS, WRITERS};
use pages::Pages;
use pushes::{Pushed, Pusher};
use strain::Strain;

/// Two of these at once would be too much for a small machine.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Two who push all the time, with and without keys, and one who pushes much when told to.
fn pushers(fleet: &Fleet, begun: i64) -> [Pusher; 3] {
    let begun = begun - 1_200_000;
    let pushed = |name, points, keyed, pause| Pushed {
        name,
        points,
        keyed,
        pause: Duration::from_millis(pause),
        begun,
    };
    let [front, narrow] = [FRONTS[0], NARROW].map(|front| fleet.url(front));
    [
        Pusher::start(front, pushed("keyed_value", 1, true, 100), false),
        Pusher::start(narrow.clone(), pushed("plain_value", 1, false, 100), false),
        Pusher::start(narrow, pushed("bulky_value", 100, true, 0), true),
    ]
}

struct Course {
    fleet: Fleet,
    chance: Chance,
    targets: Vec<String>,
    pages: Pages,
    /// Rounds that may cost scrapes, and those that may not.
    windows: Vec<Window>,
    planned: Vec<Window>,
    done: BTreeMap<String, u32>,
}

impl Course {
    async fn begin(log: bool, count: usize) -> Self {
        let chance = Chance::seeded();
        let mut fleet = Fleet::new(log).await;
        // One after the other: the first one makes the tables.
        for place in FRONTS.into_iter().chain(WRITERS).chain(WORKERS[..4].iter().copied()) {
            fleet.start(place);
            support::eventually("a process", 60, async || {
                fleet.own_metric(place, "metricsd_spool_batches").await
            })
            .await;
        }
        let pages = Pages::start(count + 1).await;
        let mut targets = Vec::new();
        for target in 0..count {
            // Several targets of a source, as there are in life.
            let source = format!("source-{}", target / 2);
            targets.push(fleet.add_target(&source, &format!("{}/{target}", pages.base)).await);
        }
        fleet.settled(count).await;
        Self {
            fleet,
            chance,
            targets,
            pages,
            windows: Vec::new(),
            planned: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    async fn settled(&mut self) {
        self.fleet.settled(self.targets.len()).await;
    }

    async fn one_round(&mut self, bulk: &Pusher) {
        let faults = round(&mut self.chance, &self.fleet);
        let costs = faults.iter().any(|fault| fault.costs());
        let from = now();
        println!("{}: {faults:?}", chrono::Utc::now().format("%H:%M:%S"));
        let mut under_way = faults.clone();
        for fault in &faults {
            fault.begin(&mut self.fleet).await;
            tokio::time::sleep(self.chance.millis(0, 1_500)).await;
        }
        let holds = faults.iter().map(|fault| fault.hold(bulk));
        futures::future::join_all(holds).await;
        while !under_way.is_empty() {
            let fault = under_way.remove(self.chance.below(under_way.len()));
            fault.end(&mut self.fleet).await;
            if !under_way.is_empty() {
                tokio::time::sleep(self.chance.millis(0, 1_000)).await;
            }
        }
        // The rest of a planned change is seen a heartbeat later.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.settled().await;
        let window = Window { from: from - INTERVAL, until: now() + INTERVAL, why: format!("{faults:?}") };
        if costs {
            self.windows.push(window);
            tokio::time::sleep(Duration::from_millis(INTERVAL as u64)).await;
        } else {
            self.planned.push(window);
        }
        for fault in faults {
            *self.done.entry(name(fault)).or_default() += 1;
        }
    }

    /// Whoever ever ran runs once more, so that nothing waits in a folder of somebody who is gone.
    async fn all_come_back(&mut self) {
        for place in self.fleet.free(&WORKERS) {
            self.fleet.start(place);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.settled().await;
    }
}

fn name(fault: Fault) -> String {
    let of = |place: usize| match place {
        _ if FRONTS.contains(&place) => "ingest",
        _ if WRITERS.contains(&place) => "writer",
        _ => "worker",
    };
    match fault {
        Fault::Kill(place) => format!("kill -9 {}", of(place)),
        Fault::Restart(place) => format!("restart {}", of(place)),
        Fault::Stop(place, hold) if hold.as_secs() >= 6 => format!("long stop {}", of(place)),
        Fault::Stop(place, _) => format!("short stop {}", of(place)),
        Fault::Add(_) => "worker added".to_owned(),
        Fault::Remove(_) => "worker removed".to_owned(),
        Fault::Away(server, killed, _) => {
            format!("{} {server:?}", if killed { "kill -9" } else { "restart" })
        }
        Fault::Cut(line, _) => format!("line {}", format!("{line:?}").split('(').next().unwrap_or_default()),
        Fault::Fill(_) => "spool full".to_owned(),
    }
}

async fn run(log: bool) {
    let _alone = ALONE.lock().await;
    let seconds = setting("METRICSD_TEST_FAULTS_SECONDS", 60);
    let targets = setting("METRICSD_TEST_FAULTS_TARGETS", if seconds >= 300 { 500 } else { 60 });
    let mut course = Course::begin(log, targets as usize).await;
    let begun = now();
    // A page of a target that is none.
    let strain = Strain::watch(format!("{}/{targets}", course.pages.base));
    strain.watch_commits(course.fleet.servers.postgres.url());
    let [keyed, plain, bulk] = pushers(&course.fleet, begun);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        course.one_round(&bulk).await;
    }
    keyed.goes_on(1).await;
    plain.goes_on(1).await;
    course.all_come_back().await;
    let ended = now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut acknowledged = Vec::new();
    for pusher in [keyed, plain, bulk] {
        let (pushed, counts) = pusher.finish().await;
        println!("{}: {counts:?}", pushed.name);
        acknowledged.push((pushed, counts.acknowledged.load(Ordering::Relaxed)));
    }
    for place in course.fleet.running(&WORKERS) {
        course.fleet.terminate(place).await;
    }
    println!("{} s, {targets} targets, {:?}", started.elapsed().as_secs(), course.done);
    let mut sql = course.fleet.sql().await;
    account::ledger(&course.fleet, begun - 1_300_000).await;
    for (pushed, count) in &acknowledged {
        account::pushed(&mut sql, pushed, *count).await;
    }
    let excuses = Excuses { faults: std::mem::take(&mut course.windows), strain: strain.windows() };
    account::strain(&excuses.strain, (begun, ended), &course.planned);
    let scrapes = account::scrapes(&mut sql, &course.targets, (begun, ended), &excuses).await;
    account::pages(&mut sql, &course.targets, course.pages.count(), &scrapes).await;
    account::events(&course.fleet, &mut sql).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes, and the machine for itself: make test-faults"]
async fn nothing_is_lost_whatever_happens() {
    run(false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes, and the machine for itself: make test-faults"]
async fn nothing_is_lost_through_the_sample_log() {
    run(true).await;
}
