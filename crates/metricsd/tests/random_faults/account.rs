//! What is counted afterwards: scheduled scrapes, samples, markers, events.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};

use crate::fleet::Fleet;
use crate::pages;
use crate::pushes::{self, Pushed};
use crate::support::services::Events;

/// Between two scrapes of a target.
pub(crate) const INTERVAL: i64 = 1_000;

/// How far a worker's clock may be from the database's: 50 ms are left as they are, and an answer that took half a second says
/// no more than a quarter of one.
const CLOCKS_DIFFER: i64 = 300;

/// A time in which scrapes may be missed, and why.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) why: String,
}

/// Counts of scheduled scrapes.
#[derive(Debug, Default)]
pub(crate) struct Scrapes {
    pub(crate) stored: u64,
    /// Recorded as missed, by what the record says.
    pub(crate) missed: BTreeMap<String, u64>,
    /// Without a job of their own, told by the next one's account.
    pub(crate) told: u64,
    /// Missed by reason in accounts.
    pub(crate) accounts: BTreeMap<String, u64>,
    /// Begun and failed, by what the job says.
    pub(crate) failed: BTreeMap<String, u64>,
    /// These by target and scheduled time.
    failures: BTreeSet<(String, i64)>,
}

struct Job {
    status: String,
    error: Option<String>,
}

impl Job {
    fn error(&self) -> String {
        self.error.clone().unwrap_or_default()
    }

    fn is_missed(&self) -> bool {
        self.error().starts_with("missed: ")
    }
}

/// What may excuse a scrape that was not done or failed.
pub(crate) struct Excuses {
    /// Faults that cost scrapes.
    pub(crate) faults: Vec<Window>,
    /// Times in which the machine did not keep up.
    pub(crate) strain: Vec<Window>,
}

impl Excuses {
    fn missed(&self, slot: i64) -> bool {
        self.faults.iter().chain(&self.strain).any(|window| window.holds(slot))
    }

    fn failed(&self, slot: i64) -> bool {
        self.strain.iter().any(|window| window.holds(slot))
    }
}

/// A course in which the machine rarely keeps up says too little: for no more than a quarter of it, and not in all planned changes.
pub(crate) fn strain(windows: &[Window], span: (i64, i64), planned: &[Window]) {
    let (mut strained, mut until) = (0, span.0);
    let mut sorted: Vec<&Window> = windows.iter().collect();
    sorted.sort_unstable_by_key(|window| window.from);
    for window in sorted {
        println!("the machine did not keep up at {}: {}", window.until, window.why);
        strained += (window.until.min(span.1) - window.from.max(until)).max(0);
        until = until.max(window.until);
    }
    let share = strained as f64 / (span.1 - span.0) as f64;
    let quiet = |change: &&Window| {
        windows.iter().all(|strain| strain.until < change.from || change.until < strain.from)
    };
    let undisturbed = planned.iter().filter(quiet).count();
    println!(
        "strain: {:.1} % of the time, {undisturbed} of {} planned changes without",
        share * 100.0,
        planned.len()
    );
    assert!(share < 0.25, "the machine did not keep up for {share} of the time");
    assert!(planned.is_empty() || undisturbed > 0, "no planned change went undisturbed");
}

impl Window {
    fn holds(&self, slot: i64) -> bool {
        (self.from..self.until).contains(&slot)
    }
}

/// The jobs of all scrapes, by target and scheduled time; and how many others each target's jobs tell of.
async fn scrape_jobs(
    sql: &mut PgConnection,
    accounts: &mut BTreeMap<String, u64>,
) -> (HashMap<String, BTreeMap<i64, Job>>, HashMap<String, u64>) {
    let mut jobs: HashMap<String, BTreeMap<i64, Job>> = HashMap::new();
    let mut told: HashMap<String, u64> = HashMap::new();
    let query = "SELECT target_id, (extract(epoch FROM created_at) * 1000)::bigint, status, error_details, missed::text
        FROM collection_jobs WHERE collection_method = 'PULL_SCRAPING'";
    let mut rows = sqlx::query(query).fetch(sql);
    while let Some(row) = rows.try_next().await.unwrap() {
        let (target, slot): (String, i64) = (row.get(0), row.get(1));
        if let Some(missed) = row.get::<Option<String>, _>(4) {
            let missed: BTreeMap<String, u64> = serde_json::from_str(&missed).unwrap();
            *told.entry(target.clone()).or_default() += missed.values().sum::<u64>();
            missed.into_iter().for_each(|(why, count)| *accounts.entry(why).or_default() += count);
        }
        let job = Job { status: row.get(2), error: row.get(3) };
        assert!(jobs.entry(target).or_default().insert(slot, job).is_none(), "one job a scheduled time");
    }
    (jobs, told)
}

/// Each scheduled scrape of a time is stored or recorded as missed, and missed only where there is an excuse.
pub(crate) async fn scrapes(
    sql: &mut PgConnection,
    targets: &[String],
    span: (i64, i64),
    excuses: &Excuses,
) -> Scrapes {
    let mut counts = Scrapes::default();
    let (jobs, told) = scrape_jobs(sql, &mut counts.accounts).await;
    let (mut faults, mut seen) = (Vec::new(), Vec::new());
    let mut by_second: BTreeMap<i64, usize> = BTreeMap::new();
    for target in targets {
        let jobs = jobs.get(target).unwrap_or_else(|| panic!("{target} was never scraped"));
        let (mut untold, mut last_untold) = (0, 0);
        let phase = jobs.iter().find(|(_, job)| job.status == "completed").unwrap().0.rem_euclid(INTERVAL);
        let stray = jobs.keys().filter(|slot| slot.rem_euclid(INTERVAL) != phase);
        faults.extend(stray.map(|slot| format!("{target} was scraped out of turn at {slot}")));
        let first = span.0 + (phase - span.0).rem_euclid(INTERVAL);
        for slot in (first..span.1).step_by(INTERVAL as usize) {
            match jobs.get(&slot) {
                Some(job) if job.status == "completed" => counts.stored += 1,
                Some(job) if job.is_missed() => {
                    *counts.missed.entry(job.error()).or_default() += 1;
                    if !excuses.missed(slot) {
                        faults.push(format!("{target} at {slot}: {}", job.error()));
                        seen.push((target.clone(), slot));
                    }
                }
                Some(job) => {
                    *counts.failed.entry(job.error()).or_default() += 1;
                    if !job.error().starts_with("timeout") || !excuses.failed(slot) {
                        faults.push(format!("{target} at {slot}: {}", job.error()));
                    }
                }
                None => {
                    (untold, last_untold) = (untold + 1, slot);
                    *by_second.entry(slot / 1_000).or_default() += 1;
                    if !excuses.missed(slot) {
                        faults.push(format!("{target} at {slot} is neither stored nor recorded as missed"));
                        seen.push((target.clone(), slot));
                    }
                }
            }
        }
        counts.told += untold;
        let known = told.get(target).copied().unwrap_or(0);
        if untold > known {
            faults.push(format!("{target}: {untold} scrapes without a job, {known} told"));
            seen.insert(0, (target.clone(), last_untold));
        }
        let failed = jobs.iter().filter(|(_, job)| job.status == "failed" && !job.is_missed());
        counts.failures.extend(failed.map(|(slot, _)| (target.clone(), *slot)));
    }
    println!("scrapes: {counts:?}");
    if !by_second.is_empty() {
        println!("scrapes without a job of their own, by second: {by_second:?}");
    }
    for (target, slot) in seen.iter().take(12) {
        show_around(sql, target, *slot).await;
    }
    let Excuses { faults: windows, .. } = excuses;
    let shown = &faults[..faults.len().min(20)];
    assert!(faults.is_empty(), "{} faults, the first: {shown:#?}\nfaults at: {windows:#?}", faults.len());
    counts
}

/// Shows what was recorded of a target around a time, and when that was committed.
async fn show_around(sql: &mut PgConnection, target: &str, slot: i64) {
    let query = "SELECT concat_ws(' ', (extract(epoch FROM created_at) * 1000)::bigint, 'committed',
            (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000)::bigint, status, waited, error_details, missed::text)
        FROM collection_jobs WHERE target_id = $1
            AND created_at BETWEEN to_timestamp($2 / 1000.0) - interval '3 s' AND to_timestamp($2 / 1000.0) + interval '3 s'
        ORDER BY created_at";
    let rows = sqlx::query(query).bind(target).bind(slot as f64).fetch_all(sql).await.unwrap();
    println!("  {target} at {slot}:");
    rows.iter().for_each(|row| println!("    {}", row.get::<&str, _>(0)));
}

/// Every page that is stored is one that its target served, stored once, under the time that it was scheduled at.
pub(crate) async fn pages(sql: &mut PgConnection, targets: &[String], served: u64, scrapes: &Scrapes) {
    let failures = &scrapes.failures;
    let places: HashMap<&str, usize> =
        targets.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let query =
        "SELECT target_id, (extract(epoch FROM timestamp) * 1000)::bigint, metric_name, labels->>'n', value
        FROM metrics_ts WHERE metric_name IN ('served', 'load')";
    let mut found: HashMap<(usize, i64), (i64, BTreeMap<u64, u64>)> = HashMap::new();
    let mut rows = sqlx::query(query).fetch(&mut *sql);
    while let Some(row) = rows.try_next().await.unwrap() {
        let (target, slot): (&str, i64) = (row.get(0), row.get(1));
        let page = found.entry((places[target], slot)).or_default();
        let value: f64 = row.get(4);
        let twice = match row.get::<Option<&str>, _>(3) {
            None => std::mem::replace(&mut page.0, value as i64) != 0,
            Some(series) => page.1.insert(series.parse().unwrap(), value as u64).is_some(),
        };
        assert!(!twice, "{target} at {slot}: stored twice");
    }
    drop(rows);
    let mut seen = HashSet::new();
    for ((target, slot), (at, loads)) in &found {
        assert!(seen.insert((target, at)), "target {target}: the page of {at} is stored twice");
        assert!(
            (slot - CLOCKS_DIFFER..slot + 2_000).contains(at),
            "target {target}: the page of {at} is stored at {slot}"
        );
        let expected: BTreeMap<u64, u64> =
            (0..pages::SERIES).map(|series| (series, pages::value(*target, series, *at))).collect();
        assert_eq!(*loads, expected, "target {target} at {slot}");
    }
    println!("pages: {served} served, {} stored, each value is right", found.len());
    let marked = "SELECT DISTINCT target_id, (extract(epoch FROM f.time) * 1000)::bigint
        FROM frames f, unnest(f.values) AS v (value)
        WHERE value = 'NaN' AND float8send(value) = '\\x7ff0000000000002'";
    let marked = sqlx::query(marked).fetch_all(&mut *sql).await.unwrap();
    let marked: Vec<(String, i64)> = marked.iter().map(|row| (row.get(0), row.get(1))).collect();
    let wrong: Vec<_> = marked.iter().filter(|key| !failures.contains(*key)).collect();
    assert!(wrong.is_empty(), "staleness markers of series that go on: {wrong:?}");
    let added = "SELECT target_id, count(*) FROM metrics_ts
        WHERE metric_name = 'scrape_series_added' AND value > 0 GROUP BY 1";
    for row in sqlx::query(added).fetch_all(sql).await.unwrap() {
        let (target, count): (String, i64) = (row.get(0), row.get(1));
        let failed = failures.iter().filter(|(of, _)| *of == target).count();
        assert!(count as usize <= 1 + failed, "{target}: series were new {count} times");
    }
    println!("pages: {} false staleness markers, no series was new twice", wrong.len());
}

/// What was acknowledged is stored once, each value as it was sent.
pub(crate) async fn pushed(sql: &mut PgConnection, pushed: &Pushed, acknowledged: u64) {
    let query = "SELECT (extract(epoch FROM timestamp) * 1000)::bigint, labels->>'s', value
        FROM metrics_ts WHERE metric_name = $1";
    let mut found = BTreeSet::new();
    let mut rows = sqlx::query(query).bind(pushed.name).fetch(&mut *sql);
    while let Some(row) = rows.try_next().await.unwrap() {
        let number = (row.get::<i64, _>(0) - pushed.begun).unsigned_abs();
        let series: u64 = row.get::<&str, _>(1).parse().unwrap();
        assert_eq!(row.get::<f64, _>(2), pushed.value(series, number) as f64, "{} {number}", pushed.name);
        assert!(found.insert((number, series)), "{} {number} of {series} is stored twice", pushed.name);
    }
    let numbers = acknowledged * pushed.points;
    let lost = (0..numbers).flat_map(|number| (0..pushes::SERIES).map(move |series| (number, series)));
    let lost: Vec<_> = lost.filter(|key| !found.contains(key)).collect();
    assert!(
        lost.is_empty(),
        "{}: {} acknowledged samples are lost, {:?}",
        pushed.name,
        lost.len(),
        &lost[..lost.len().min(10)]
    );
    assert_eq!(found.len() as u64, numbers * pushes::SERIES, "{}: more is stored than was sent", pushed.name);
    println!("{}: {} samples acknowledged, 0 lost, 0 twice", pushed.name, found.len());
}

/// The ledger explains everything, and what it says is in the store.
pub(crate) async fn ledger(fleet: &Fleet, begun: i64) {
    let path = format!("/api/v1/metrics/integrity?start={}", begun / 1_000);
    let (status, ledger) = fleet.get(&path).await.unwrap();
    println!("ledger: {ledger}");
    let (unexplained, percentage) = (&ledger["unexplained"], &ledger["percentage"]);
    assert_eq!((status, unexplained, percentage), (200, &json!(0), &json!(100.0)), "{ledger}");
    let (status, recount) = fleet.get(&path.replace("integrity?", "integrity/recount?")).await.unwrap();
    println!("recount: {recount}");
    assert_eq!((status, &recount["differences"]), (200, &json!(0)), "{recount}");
}

struct Seen {
    source: String,
    event_id: String,
    place: usize,
}

/// A commit as the database tells of it: times in microseconds.
struct Commit {
    source: String,
    committed: i64,
    /// Its transaction had begun by then: numbers of transactions are given in order, and one that came later had ended.
    begun: i64,
}

async fn commits(sql: &mut PgConnection) -> HashMap<String, Commit> {
    let query =
        "SELECT job_id, source_id, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
        FROM collection_jobs ORDER BY xmin::text::bigint DESC";
    let mut begun = i64::MAX;
    let rows = sqlx::query(query).fetch_all(sql).await.unwrap();
    let read = rows.iter().map(|row| {
        let committed = row.get(2);
        begun = begun.min(committed);
        (row.get(0), Commit { source: row.get(1), committed, begun })
    });
    read.collect()
}

/// Every collection has an event, always under the same id, and none comes before that of a collection of its source whose commit had
/// ended before its own began: of two that overlap either may be first.
pub(crate) async fn events(fleet: &Fleet, sql: &mut PgConnection) {
    let jobs = commits(sql).await;
    let read = Events::at(&fleet.servers.brokers(), &fleet.topic).read(Duration::from_secs(15)).await;
    let mut seen: HashMap<String, Seen> = HashMap::new();
    for (place, (key, event)) in read.iter().enumerate() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let data = &event["metrics_collected"];
        let (batch, event_id) = (text(&data["collection_batch_id"]), text(&event["event_id"]));
        assert_eq!(key, &data["source_id"], "{event}");
        let first =
            seen.entry(batch).or_insert(Seen { source: key.clone(), event_id: event_id.clone(), place });
        assert_eq!(first.event_id, event_id, "{event}");
    }
    let silent: Vec<_> = jobs.keys().filter(|job| !seen.contains_key(*job)).collect();
    assert!(
        silent.is_empty(),
        "{} of {} collections without an event: {:?}",
        silent.len(),
        jobs.len(),
        &silent[..silent.len().min(5)]
    );
    let mut sources: BTreeMap<&str, Vec<(usize, &Commit, &str)>> = BTreeMap::new();
    for (batch, Seen { source, place, .. }) in &seen {
        let commit = jobs.get(batch).unwrap_or_else(|| panic!("{batch} was told and is not stored"));
        assert_eq!(commit.source, *source, "{batch}");
        sources.entry(source).or_default().push((*place, commit, batch));
    }
    let mut turned = 0;
    for (source, events) in &mut sources {
        events.sort_unstable_by_key(|(place, ..)| *place);
        let (mut begun, mut newest) = (0, 0);
        for (place, commit, batch) in events {
            let before = begun - commit.committed;
            // When a transaction began is known only to the next commit of a collection, and those are some tens of ms apart.
            assert!(before <= 100_000, "{source}: {batch} at {place} is out of order by {before} us");
            turned += usize::from(commit.committed < newest);
            begun = begun.max(commit.begun);
            newest = newest.max(commit.committed);
        }
    }
    println!(
        "events: {} collections, {} events read, none missing, in order per source ({turned} of commits that overlapped)",
        jobs.len(),
        read.len()
    );
}
