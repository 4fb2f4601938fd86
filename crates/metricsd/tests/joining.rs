//! Many small pushes of one source become few collections, and nothing is lost or stored twice when metricsd is killed
//! among them and its clients send again what was not acknowledged.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use support::services::{Database, Events, address};
use support::{Folder, Node, Start, eventually};
use tokio::task::JoinSet;

const CLIENTS: i64 = 20;

/// Pushes of each client.
const PUSHES: i64 = 50;

const ALL: i64 = CLIENTS * PUSHES;

/// Who pushes.
const SOURCE: &str = "small";

fn value(client: i64, number: i64) -> i64 {
    client * 31 + number * 7 + 1
}

/// Of all pushes.
fn sum() -> i64 {
    (0..CLIENTS).flat_map(|client| (0..PUSHES).map(move |number| value(client, number))).sum()
}

fn body(begun: i64, client: i64, number: i64) -> Value {
    json!([{"name": "small_value", "metric_type": "GAUGE", "value": value(client, number),
        "labels": {"client": client.to_string()}, "timestamp": begun + number, "source": "APPLICATION"}])
}

/// What became of a push: the answer, once there is one.
async fn push(client: &reqwest::Client, base: &str, body: &Value) -> Option<Value> {
    let url = format!("{base}/api/v1/metrics/custom?source_id={SOURCE}");
    let answer = client.post(url).timeout(Duration::from_secs(20)).json(body).send().await.ok()?;
    match answer.status().as_u16() {
        200 => answer.json().await.ok(),
        503 => None,
        status => panic!("{status}: {}", answer.text().await.unwrap()),
    }
}

/// The clients, each bringing one push after the other, again and again until it is acknowledged.
struct Clients {
    acknowledged: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<String>>,
}

impl Clients {
    fn start(base: &str, begun: i64) -> Self {
        let acknowledged: Arc<AtomicUsize> = Arc::default();
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let (base, acknowledged) = (base.to_owned(), acknowledged.clone());
            tasks.spawn(async move {
                let http = support::client();
                let mut ids = Vec::new();
                for number in 0..PUSHES {
                    let body = body(begun, client, number);
                    let answer = loop {
                        match push(&http, &base, &body).await {
                            Some(answer) => break answer,
                            None => tokio::time::sleep(Duration::from_millis(50)).await,
                        }
                    };
                    assert_eq!(
                        (&answer["accepted"], &answer["rejected"]),
                        (&json!(1), &json!(0)),
                        "{answer}"
                    );
                    ids.push(answer["batch_id"].as_str().unwrap().to_owned());
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                ids
            });
        }
        Self { acknowledged, tasks }
    }

    async fn reach(&self, count: usize) {
        while self.acknowledged.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The collections that answers named.
    async fn finish(self) -> BTreeSet<String> {
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// Every push once more, several at a time; answers how many were said to be repeated.
async fn again(node: &Node, begun: i64) -> usize {
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let (http, base) = (node.http().clone(), node.url(""));
        tasks.spawn(async move {
            let mut repeated = 0;
            for number in 0..PUSHES {
                let answer = push(&http, &base, &body(begun, client, number)).await.expect("an answer");
                assert_eq!(answer["accepted"], 1, "{answer}");
                repeated += usize::from(answer["duplicate"] == true);
            }
            repeated
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn check_ledger(node: &Node) {
    let start = chrono::Utc::now().timestamp() - 7_200;
    let path = format!("/api/v1/metrics/integrity?start={start}");
    let (status, ledger) = node.get(&path).await;
    assert_eq!(
        (status, &ledger["unexplained"], &ledger["stored"]),
        (200, &json!(0), &json!(ALL)),
        "{ledger}"
    );
    let (_, recount) = node.get(&path.replace("integrity?", "integrity/recount?")).await;
    assert_eq!(recount["differences"], 0, "{recount}");
}

/// Pushes with kills among them; answers which collections they were told of.
async fn course(start: &Start<'_>, begun: i64) -> (Node, BTreeSet<String>) {
    let mut node = start.start().await;
    let clients = Clients::start(&node.url(""), begun);
    for kill in 1..=3 {
        clients.reach(ALL as usize * kill / 4).await;
        node.kill().await;
        node = start.start().await;
    }
    (node, clients.finish().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_stores_each_small_push_once() {
    let folder = Folder::new();
    let begun = chrono::Utc::now().timestamp_millis() - 600_000;
    let start = Start::new(&folder.0);
    let (node, named) = course(&start, begun).await;
    let path = folder.0.join("metricsd.db");
    let mut sql = SqliteConnection::connect(&format!("sqlite:{}?mode=ro", path.display())).await.unwrap();
    let jobs = jobs(&mut sql).await;
    println!("{ALL} pushes: {} collections", jobs.len());
    assert!((jobs.len() as i64) < ALL / 5, "{} collections", jobs.len());
    assert!(named.is_subset(&jobs), "every answer names a collection that there is");
    assert_eq!(again(&node, begun).await as i64, ALL, "all are known");
    assert_eq!(self::jobs(&mut sql).await, jobs);
    check_ledger(&node).await;
    let found = node.query("sum(sum_over_time(small_value[30m]))").await;
    assert_eq!(found[0].1, sum() as f64);
    let found = node.query("sum(count_over_time(small_value[30m]))").await;
    assert_eq!(found[0].1, ALL as f64);
}

async fn jobs(sql: &mut SqliteConnection) -> BTreeSet<String> {
    let rows = sqlx::query("SELECT job_id FROM collection_jobs WHERE source_id = ?1").bind(SOURCE);
    rows.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Samples as SQL sees them: how many there are, how many of them differ in series and time, and their sum.
async fn in_sql(database: &Database) -> (i64, i64, f64) {
    let query = "SELECT count(*), count(DISTINCT (labels, \"timestamp\")), coalesce(sum(value), 0) FROM metrics_ts \
                 WHERE metric_name = 'small_value'";
    let row = sqlx::query(query).fetch_one(&mut database.connect().await).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

async fn jobs_in(database: &Database) -> BTreeSet<String> {
    let query = "SELECT job_id FROM collection_jobs WHERE source_id = $1";
    let rows = sqlx::query(query).bind(SOURCE).fetch_all(&mut database.connect().await).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn timescaledb_stores_each_small_push_once_and_tells_of_each_collection() {
    let (folder, database) = (Folder::new(), Database::create().await);
    let topic = format!("metricsd-joining-{}", uuid::Uuid::new_v4().simple());
    let begun = chrono::Utc::now().timestamp_millis() - 600_000;
    let start = Start::new(&folder.0)
        .env("METRICSD_STORAGE_URL", database.url())
        .env("METRICSD_STORAGE_COMPACTION_ENABLED", "false")
        .env("METRICSD_EVENTS_BROKERS", address("METRICSD_TEST_KAFKA_BROKERS"))
        .env("METRICSD_EVENTS_TOPIC", topic.clone());
    let (node, named) = course(&start, begun).await;
    let jobs = jobs_in(&database).await;
    println!("{ALL} pushes: {} collections", jobs.len());
    assert!((jobs.len() as i64) < ALL / 5, "{} collections", jobs.len());
    assert!(named.is_subset(&jobs), "every answer names a collection that there is");
    assert_eq!(again(&node, begun).await as i64, ALL, "all are known");
    assert_eq!(in_sql(&database).await, (ALL, ALL, sum() as f64));
    assert_eq!(jobs_in(&database).await, jobs);
    check_ledger(&node).await;
    // The relay of a process that was killed has its lease for some time.
    let published = async || {
        let left = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&mut database.connect().await).await;
        (left.unwrap().get::<i64, _>(0) == 0).then_some(())
    };
    eventually("all events are published", 60, published).await;
    let events = Events::of(&topic).read(Duration::from_secs(5)).await;
    let id = |event: &Value| event["metrics_collected"]["collection_batch_id"].as_str().unwrap().to_owned();
    let told: BTreeSet<String> =
        events.iter().filter(|(key, _)| key == SOURCE).map(|(_, event)| id(event)).collect();
    assert_eq!(told, jobs, "an event a collection");
    drop(node);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_log_stores_each_small_push_once() {
    let (folder, database) = (Folder::new(), Database::create().await);
    let begun = chrono::Utc::now().timestamp_millis() - 600_000;
    let start = Start::new(&folder.0)
        .env("METRICSD_STORAGE_URL", database.url())
        .env("METRICSD_STORAGE_COMPACTION_ENABLED", "false")
        .env("METRICSD_SINK", "kafka")
        .env("METRICSD_SAMPLE_LOG_BROKERS", address("METRICSD_TEST_KAFKA_BROKERS"))
        .env("METRICSD_SAMPLE_LOG_TOPIC", format!("metricsd-joining-{}", uuid::Uuid::new_v4().simple()))
        .env("METRICSD_SAMPLE_LOG_PARTITIONS", "2");
    let (node, _) = course(&start, begun).await;
    // Some that are in the log and not yet in the store, and some that are.
    again(&node, begun).await;
    let is_there = async || (in_sql(&database).await.1 == ALL).then_some(());
    eventually("all samples are stored", 60, is_there).await;
    again(&node, begun).await;
    // Something that comes behind all of them.
    let last = json!([{"name": "last", "metric_type": "GAUGE", "value": 1, "timestamp": begun, "source": "APPLICATION"}]);
    eventually("the last push", 30, async || push(node.http(), &node.url(""), &last).await).await;
    let last = async || (!node.query("last_over_time(last[30m])").await.is_empty()).then_some(());
    eventually("the last push is stored", 60, last).await;
    assert_eq!(in_sql(&database).await, (ALL, ALL, sum() as f64), "none twice, also underneath");
    let jobs = jobs_in(&database).await.len() as i64;
    println!("{ALL} pushes: {jobs} collections");
    assert!(jobs < ALL / 2, "{jobs} collections");
    drop(node);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_where_joining_is_off() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).env("METRICSD_INGEST_JOIN_WITHIN", "0s").start().await;
    let begun = chrono::Utc::now().timestamp_millis() - 600_000;
    let named = Clients::start(&node.url(""), begun).finish().await;
    assert_eq!(named.len() as i64, ALL, "a collection a push");
}
