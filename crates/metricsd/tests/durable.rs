//! Nothing that was acknowledged is lost, and nothing is stored twice, whatever is killed: a generator keeps a ledger of
//! its own, in which every value follows from its series and its number, and afterwards all is counted.
//!
//! `METRICSD_TEST_FAULTS_SECONDS` says how long each test goes on at least; without it they are short.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use support::page::PageTarget;
use support::postgres::Cluster;
use support::services::{Database, address};
use support::{Folder, Node, Start, eventually, free_port};
use tokio::task::JoinHandle;

const METRIC: &str = "ledger_value";

/// Series of one push.
const SERIES: u64 = 20;

/// What is pushed under a number.
fn value(series: u64, number: u64) -> u64 {
    (series * 31 + number * 7) % 1_000 + 1
}

/// How long a test goes on at least.
fn wanted() -> Duration {
    let seconds = std::env::var("METRICSD_TEST_FAULTS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// Pushes one body after the other, each until it is acknowledged.
struct Generator {
    base: String,
    begun: i64,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Generator {
    fn start(base: String) -> Self {
        let begun = chrono::Utc::now().timestamp_millis() - 1_800_000;
        let (acknowledged, stop): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (count, end, url) = (acknowledged.clone(), stop.clone(), base.clone());
        let task = tokio::spawn(async move {
            let client = support::client();
            let mut refused = 0;
            let mut number = 0;
            while !end.load(Ordering::Relaxed) {
                while !push(&client, &url, begun, number).await {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                number += 1;
                count.store(number, Ordering::Relaxed);
            }
            refused
        });
        Self { base, begun, acknowledged, stop, task }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&self, more: u64) {
        let wanted = self.acknowledged() + more;
        let what = format!("{more} more pushes to {} are acknowledged", self.base);
        eventually(&what, 60, async || (self.acknowledged() >= wanted).then_some(())).await;
    }

    /// Ends after the push that is under way; how many were acknowledged.
    async fn finish(self) -> (u64, i64) {
        self.stop.store(true, Ordering::Relaxed);
        let refused = self.task.await.unwrap();
        println!(
            "{} pushes acknowledged, {refused} attempts refused",
            self.acknowledged.load(Ordering::Relaxed)
        );
        (self.acknowledged.load(Ordering::Relaxed), self.begun)
    }
}

async fn push(client: &reqwest::Client, base: &str, begun: i64, number: u64) -> bool {
    let item = |series: u64| {
        json!({"name": METRIC, "metric_type": "GAUGE", "value": value(series, number),
            "labels": {"s": format!("{series:02}")}, "timestamp": begun + number as i64, "source": "APPLICATION"})
    };
    let body: Vec<Value> = (0..SERIES).map(item).collect();
    let request = client.post(format!("{base}/api/v1/metrics/custom"));
    let request =
        request.header("idempotency-key", format!("push-{number}")).header("x-source-id", "generator");
    match request.timeout(Duration::from_secs(20)).json(&body).send().await {
        Ok(answer) if answer.status().is_success() => true,
        Ok(answer) => {
            assert!(matches!(answer.status().as_u16(), 429 | 503), "{answer:?}");
            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
            false
        }
        Err(_) => false,
    }
}

/// Number of samples, of different timestamps, and their sum, by series.
type Sums = BTreeMap<String, (i64, i64, f64)>;

async fn stored(sql: &mut PgConnection) -> Sums {
    let query = "SELECT labels->>'s', count(*), count(DISTINCT timestamp), sum(value) FROM metrics_ts \
                 WHERE metric_name = $1 GROUP BY 1";
    let rows = sqlx::query(query).bind(METRIC).fetch_all(sql).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect()
}

fn expected(pushes: u64) -> Sums {
    let of = |series: u64| {
        let sum: u64 = (0..pushes).map(|number| value(series, number)).sum();
        (format!("{series:02}"), (pushes as i64, pushes as i64, sum as f64))
    };
    (0..SERIES).map(of).collect()
}

/// The store holds what was acknowledged, once, and the ledger says so.
async fn check(node: &Node, sql: &mut PgConnection, pushes: u64) {
    let found = stored(sql).await;
    assert_eq!(found, expected(pushes), "what is stored is what was acknowledged");
    let start = (chrono::Utc::now().timestamp() - 3_600).to_string();
    let path = format!("/api/v1/metrics/integrity?start={start}");
    let (status, ledger) = node.get(&path).await;
    assert_eq!(
        (status, &ledger["unexplained"], &ledger["percentage"]),
        (200, &json!(0), &json!(100.0)),
        "{ledger}"
    );
    let (status, recount) = node.get(&path.replace("integrity?", "integrity/recount?")).await;
    assert_eq!((status, &recount["differences"]), (200, &json!(0)), "{recount}");
    assert!(ledger["stored"].as_u64().unwrap() >= pushes * SERIES, "{ledger}");
    println!("ledger: {ledger}\nrecount: {recount}");
}

async fn is_scraped(node: &Node, target: &str) {
    eventually("a scrape", 30, async || (!node.jobs(target).await.is_empty()).then_some(())).await;
}

async fn is_drained(node: &Node) {
    eventually("the spool is empty", 240, async || {
        (node.own_metric("metricsd_spool_batches").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_loses_nothing_when_postgres_and_metricsd_are_killed() {
    let folder = Folder::new();
    let postgres = Cluster::start().await;
    let start = Start::new(&folder.0)
        .env("METRICSD_STORAGE_URL", postgres.url())
        .env("METRICSD_STORAGE_COMPACTION_ENABLED", "false")
        .env("METRICSD_SPOOL_AFTER", "500ms");
    let mut node = start.start().await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let target = node.add_target("shop", &page.url, "200ms").await;
    let generator = Generator::start(node.url(""));
    generator.goes_on(5).await;
    // A worker needs the database once: for its lease.
    is_scraped(&node, &target).await;
    let begun = Instant::now();
    let (mut rounds, mut in_outages) = (0, 0);
    while rounds < 2 || begun.elapsed() < wanted() {
        // Away for a while: pushes and scrapes go on, and are acknowledged.
        postgres.kill().await;
        let before = generator.acknowledged();
        generator.goes_on(10).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        in_outages += generator.acknowledged() - before;
        assert!(node.own_metric("metricsd_spool_batches").await > 0.0);
        let (_, ready) = node.get("/readyz").await;
        assert!(ready.to_string().contains("wait for the store"), "{ready}");
        if rounds % 2 == 0 {
            node.kill().await;
            postgres.bring_up().await;
            node = start.start().await;
        } else {
            postgres.bring_up().await;
        }
        // New ones flow while the old ones are brought.
        generator.goes_on(10).await;
        is_drained(&node).await;
        rounds += 1;
    }
    let (pushes, _) = generator.finish().await;
    is_drained(&node).await;
    println!("{rounds} outages, {in_outages} pushes acknowledged in them");
    check(&node, &mut postgres.connect().await, pushes).await;
    let query = "SELECT count(*), count(DISTINCT value) FROM metrics_ts WHERE metric_name = 'serial'";
    let row = sqlx::query(query).fetch_one(&mut postgres.connect().await).await.unwrap();
    let (all, distinct): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(all, distinct, "no scrape is stored twice");
    let jobs = node.jobs(&target).await;
    assert!(jobs.iter().any(|job| job["ledger"]["waited"] == "spool"), "scrapes waited in the spool");
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_answers_503_and_stretches_scrapes() {
    let folder = Folder::new();
    let postgres = Cluster::start().await;
    let start = Start::new(&folder.0)
        .env("METRICSD_STORAGE_URL", postgres.url())
        .env("METRICSD_SPOOL_MAX_BYTES", "1MiB")
        .env("METRICSD_SPOOL_AFTER", "500ms");
    let node = start.start().await;
    let lines: String =
        (0..400).map(|number| format!("load{{n=\"{number}\"}} $SERIAL.{number}7{number}3\n")).collect();
    let page = PageTarget::start(&lines).await;
    let target = node.add_target("shop", &page.url, "100ms").await;
    eventually("a scrape", 20, async || (!node.jobs(&target).await.is_empty()).then_some(())).await;
    postgres.kill().await;
    let client = support::client();
    let begun = chrono::Utc::now().timestamp_millis() - 1_800_000;
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut number = 1;
    while push(&client, &node.url(""), begun, number).await {
        assert!(Instant::now() < deadline, "the spool is not full after {number} pushes");
        number += 1;
    }
    let skipped = node.own_metric("metricsd_scrape_skipped_total").await;
    assert!(skipped > 0.0, "scrapes are fewer");
    postgres.bring_up().await;
    is_drained(&node).await;
    eventually("pushes are taken again", 20, async || {
        push(&client, &node.url(""), begun, 1_000_000).await.then_some(())
    })
    .await;
    let ledger = eventually("the ledger tells of what was missed", 20, async || {
        let (_, ledger) = node.get("/api/v1/metrics/integrity").await;
        (ledger["collections"]["missed"].as_u64()? > 0).then_some(ledger)
    })
    .await;
    let stretched = ledger["collections"]["missed_by_reason"]["stretched"].as_u64();
    assert!(stretched.is_some_and(|stretched| stretched > 0), "{ledger}");
    assert_eq!(ledger["unexplained"], 0, "{ledger}");
    drop(node);
}

/// The processes of a cluster that carries batches through Kafka.
fn process<'a>(folder: &'a Folder, database: &Database, topic: &str, roles: &str) -> Start<'a> {
    let mut start = Start::new(&folder.0)
        .env("METRICSD_ROLES", roles)
        .env("METRICSD_STORAGE_URL", database.url())
        .env("METRICSD_STORAGE_COMPACTION_ENABLED", "false")
        .env("METRICSD_SINK", "kafka")
        .env("METRICSD_SAMPLE_LOG_BROKERS", address("METRICSD_TEST_KAFKA_BROKERS"))
        .env("METRICSD_SAMPLE_LOG_TOPIC", topic)
        .env("METRICSD_SAMPLE_LOG_PARTITIONS", "4");
    start.port = free_port();
    start
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_log_is_stored_once_whoever_is_killed() {
    let topic = format!("metricsd-samples-{}", uuid::Uuid::new_v4().simple());
    let database = Database::create().await;
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let front = process(&folders[0], &database, &topic, "api,ingest,worker");
    let writers = [1, 2].map(|place| process(&folders[place], &database, &topic, "writer"));
    let mut front_node = front.start().await;
    let mut nodes = [writers[0].start().await, writers[1].start().await];
    let page = PageTarget::start("serial $SERIAL\n").await;
    front_node.add_target("shop", &page.url, "200ms").await;
    let generator = Generator::start(front_node.url(""));
    generator.goes_on(20).await;
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < 3 || begun.elapsed() < wanted() {
        let place = rounds % 2;
        nodes[place].kill().await;
        generator.goes_on(10).await;
        if rounds % 3 == 2 {
            front_node.kill().await;
            front_node = front.start().await;
        }
        nodes[place] = writers[place].start().await;
        generator.goes_on(10).await;
        rounds += 1;
    }
    // Something that is no batch: it is put aside, and what follows is stored.
    let producer: rdkafka::producer::FutureProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", address("METRICSD_TEST_KAFKA_BROKERS"))
        .create()
        .unwrap();
    let nonsense = rdkafka::producer::FutureRecord::to(&topic).key("generator").payload(b"nonsense");
    producer.send(nonsense, Duration::from_secs(10)).await.unwrap();
    generator.goes_on(10).await;
    let (pushes, _) = generator.finish().await;
    println!("{rounds} kills");
    let mut sql = database.connect().await;
    let wanted = expected(pushes);
    let deadline = Instant::now() + Duration::from_secs(90);
    while stored(&mut sql).await != wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    check(&front_node, &mut sql, pushes).await;
    let parked = eventually("the record that is none is parked", 30, async || {
        let (_, parked) = front_node.get("/api/v1/metrics/parked").await;
        (parked["count"] == 1).then_some(parked)
    })
    .await;
    assert!(parked["records"][0]["error"].as_str().unwrap().contains("version"), "{parked}");
    let duplicates = "SELECT count(*), count(DISTINCT value) FROM metrics_ts WHERE metric_name = 'serial'";
    let row = sqlx::query(duplicates).fetch_one(&mut sql).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1), "no scrape is stored twice");
    drop((sql, nodes, front_node));
    database.remove().await;
}
