//! Several workers over one database while they come, go, are killed and stopped: each scheduled scrape is stored once or
//! recorded as missed, and planned changes miss none.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use support::services::Database;
use support::{Folder, Node, Start, eventually};

const TARGETS: usize = 60;
const INTERVAL: i64 = 1_000;
/// A lease, the time until it is noticed, and a scrape.
const CRASH: i64 = 5_000 + 500 + INTERVAL;

/// Counts what each target served.
struct Served([AtomicU64; TARGETS]);

impl Default for Served {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

async fn page(State(served): State<Arc<Served>>, Path(target): Path<usize>) -> String {
    let count = served.0[target].fetch_add(1, Ordering::SeqCst) + 1;
    let series: String = (0..10).map(|n| format!("constant{{n=\"{n}\"}} {n}\n")).collect();
    format!("# TYPE served counter\nserved {count}\n{series}")
}

async fn targets(served: Arc<Served>) -> String {
    let router = Router::new().route("/t/{target}", get(page)).with_state(served);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/t")
}

async fn start(database: &Database, folder: &Folder, roles: &str) -> Node {
    let key = "a".repeat(64);
    let start =
        Start::new(&folder.0).env("METRICSD_ROLES", roles).env("METRICSD_CLUSTER_SHARE_TARGETS", "true");
    let start = start.env("METRICSD_STORAGE_URL", database.url()).env("METRICSD_SECRETS_KEY", key);
    start.start().await
}

/// The rows of the job table: slots by target, those that were stored and those that were missed.
struct Jobs {
    stored: BTreeMap<String, BTreeSet<i64>>,
    missed: BTreeMap<String, BTreeSet<i64>>,
}

async fn jobs(sql: &mut PgConnection) -> Jobs {
    let rows = sqlx::query(
        "SELECT target_id, (extract(epoch FROM created_at) * 1000)::bigint, status, error_details FROM collection_jobs",
    );
    let mut all = Jobs { stored: BTreeMap::new(), missed: BTreeMap::new() };
    for row in rows.fetch_all(sql).await.unwrap() {
        let (target, slot): (String, i64) = (row.get(0), row.get(1));
        let fresh = match row.get::<String, _>(2).as_str() {
            "completed" => all.stored.entry(target).or_default().insert(slot),
            _ => {
                let why: String = row.get::<Option<String>, _>(3).unwrap();
                assert!(why.starts_with("missed: "), "{target} at {slot}: {why}");
                all.missed.entry(target).or_default().insert(slot)
            }
        };
        assert!(fresh, "one row a slot");
    }
    all
}

impl Jobs {
    /// Slots in a window that are not stored; none may be without a row, and none may be scraped out of turn.
    fn not_stored(&self, window: std::ops::Range<i64>) -> Vec<(String, i64)> {
        let mut found = Vec::new();
        assert_eq!(self.stored.len(), TARGETS);
        for (target, stored) in &self.stored {
            let phase = stored.first().unwrap().rem_euclid(INTERVAL);
            assert!(stored.iter().all(|slot| slot.rem_euclid(INTERVAL) == phase), "{target}: {stored:?}");
            let first = window.start + (phase - window.start).rem_euclid(INTERVAL);
            for slot in (first..window.end).step_by(1_000).filter(|slot| !stored.contains(slot)) {
                let is_recorded = self.missed.get(target).is_some_and(|missed| missed.contains(&slot));
                assert!(is_recorded, "{target} at {slot} is neither stored nor recorded as missed");
                found.push((target.clone(), slot));
            }
        }
        found
    }
}

async fn now(sql: &mut PgConnection) -> i64 {
    let row = sqlx::query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    row.fetch_one(sql).await.unwrap().get(0)
}

/// Waits until nothing is being handed over and every worker has its part. So few targets are never spread evenly.
async fn settled(front: &Node, workers: usize) {
    let even = TARGETS as u64 / workers as u64;
    eventually("a settled ring", 30, async || {
        let (status, cluster) = front.get("/api/v1/metrics/cluster").await;
        assert_eq!(status, 200, "{cluster}");
        let live: Vec<&Value> = cluster["processes"]
            .as_array()?
            .iter()
            .filter(|process| process["worker"] != json!(null))
            .collect();
        let active = live.iter().all(|process| process["worker"]["state"] == "active");
        let owned: Vec<u64> =
            live.iter().map(|process| process["worker"]["targets"].as_u64().unwrap()).collect();
        let still = cluster["ring"]["moving"] == 0 && cluster["ring"]["unowned"] == 0;
        let spread = owned.iter().all(|targets| (even / 3..=even * 2).contains(targets));
        (still && active && spread && live.len() == workers && owned.iter().sum::<u64>() == TARGETS as u64)
            .then_some(())
    })
    .await
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn within(missed: &[(String, i64)], from: i64, until: i64, what: &str) {
    let stray: Vec<_> = missed.iter().filter(|(_, slot)| !(from..until).contains(slot)).collect();
    assert!(stray.is_empty(), "missed outside of {from}..{until} after {what}: {stray:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_and_go_without_gaps() {
    let (database, served) = (Database::create().await, Arc::new(Served::default()));
    let folders: Vec<Folder> = (0..7).map(|_| Folder::new()).collect();
    let front = start(&database, &folders[0], "api,ingest,writer").await;
    let base = targets(served.clone()).await;
    for target in 0..TARGETS {
        front.add_target(&format!("source-{target}"), &format!("{base}/{target}"), "1s").await;
    }
    let mut sql = database.connect().await;
    let mut workers = Vec::new();
    for folder in &folders[1..4] {
        workers.push(start(&database, folder, "worker").await);
    }
    settled(&front, 3).await;
    seconds(3).await;
    let begun = now(&mut sql).await;

    workers.push(start(&database, &folders[4], "worker").await);
    seconds(2).await;
    settled(&front, 4).await;
    seconds(3).await;
    // One that is to end while it is being given its first targets hands them over as well.
    let mut brief = start(&database, &folders[6], "worker").await;
    eventually("targets on their way", 30, async || {
        let (_, cluster) = front.get("/api/v1/metrics/cluster").await;
        (cluster["ring"]["moving"].as_u64()? > 0).then_some(())
    })
    .await;
    let (took, status) = brief.terminate().await;
    assert!(status.success(), "{status} after {took:?}");
    println!("ended while it was given targets: after {took:?}");
    settled(&front, 4).await;
    let (took, status) = workers.remove(0).terminate().await;
    assert!(status.success() && took < Duration::from_secs(9), "{status} after {took:?}");
    settled(&front, 3).await;
    seconds(3).await;
    let planned = now(&mut sql).await;
    let missed = jobs(&mut sql).await.not_stored(begun..planned - 2_000);
    assert_eq!(missed, [], "planned changes miss nothing");

    workers.remove(0).kill().await;
    let killed = now(&mut sql).await;
    seconds(8).await;
    settled(&front, 2).await;
    seconds(3).await;
    let recovered = now(&mut sql).await;
    let missed = jobs(&mut sql).await.not_stored(planned - 2_000..recovered - 2_000);
    assert!(!missed.is_empty(), "a killed worker misses something");
    within(&missed, killed - INTERVAL, killed + CRASH, "kill -9");
    println!("kill -9: {} scrapes missed", missed.len());

    workers.push(start(&database, &folders[5], "worker").await);
    settled(&front, 3).await;
    seconds(3).await;
    let stopped = now(&mut sql).await;
    workers[0].signal("STOP").await;
    seconds(9).await;
    workers[0].signal("CONT").await;
    settled(&front, 3).await;
    seconds(5).await;
    let ended = now(&mut sql).await;
    let all = jobs(&mut sql).await;
    let missed = all.not_stored(recovered - 2_000..ended - 2_000);
    within(&missed, stopped - INTERVAL, stopped + CRASH, "SIGSTOP");
    println!("SIGSTOP: {} scrapes missed", missed.len());
    for worker in &mut workers {
        worker.terminate().await;
    }
    check_samples(&mut sql, &served).await;
    database.remove().await;
}

/// No value twice, none that was not served, no series that ended or began in between.
async fn check_samples(sql: &mut PgConnection, served: &Served) {
    let one = async |sql: &mut PgConnection, query: &'static str| -> i64 {
        sqlx::query(query).fetch_one(sql).await.unwrap().get(0)
    };
    let marked = "SELECT count(*) FROM frames f, unnest(f.values) AS v (value)
        WHERE value = 'NaN' AND float8send(value) = '\\x7ff0000000000002'";
    assert_eq!(one(sql, marked).await, 0, "staleness markers of series that go on");
    let added = "SELECT count(*) FROM metrics_ts WHERE metric_name = 'scrape_series_added' AND value > 0";
    assert_eq!(one(sql, added).await, TARGETS as i64, "series are new once");
    let twice = "SELECT count(*) - count(DISTINCT (timestamp, metric_name, labels)) FROM metrics_ts";
    assert_eq!(one(sql, twice).await, 0, "stored twice");
    let again =
        "SELECT count(*) - count(DISTINCT (source, value)) FROM metrics_ts WHERE metric_name = 'served'";
    assert_eq!(one(sql, again).await, 0, "one page stored twice");
    let stored = one(sql, "SELECT count(*) FROM metrics_ts WHERE metric_name = 'served'").await;
    let pages: u64 = served.0.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    println!("{pages} pages served, {stored} stored");
    // What a killed or stopped worker had in hand.
    assert!(
        stored as u64 <= pages && pages - stored as u64 <= TARGETS as u64,
        "{pages} served, {stored} stored"
    );
}
