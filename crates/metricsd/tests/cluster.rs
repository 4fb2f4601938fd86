//! Several processes over TimescaleDB, Redis and Kafka: the same answers, and tables, keys and events that others read.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row;
use support::page::{PageTarget, Window};
use support::services::{Database, Events, address};
use support::{Folder, Node, Start, eventually};

/// Two processes, as a cluster would have them: one answers and takes pushes, the other scrapes and publishes.
struct Cluster {
    database: Database,
    topic: String,
    folders: [Folder; 2],
}

impl Cluster {
    async fn new() -> Self {
        let topic = format!("metrics-collected-{}", uuid::Uuid::new_v4().simple());
        Self { database: Database::create().await, topic, folders: [Folder::new(), Folder::new()] }
    }

    fn start(&self, folder: usize, roles: &str) -> Start<'_> {
        Start::new(&self.folders[folder].0)
            .env("METRICSD_ROLES", roles)
            .env("METRICSD_STORAGE_URL", self.database.url())
            .env("METRICSD_CACHE_URL", address("METRICSD_TEST_REDIS_URL"))
            .env("METRICSD_EVENTS_BROKERS", address("METRICSD_TEST_KAFKA_BROKERS"))
            .env("METRICSD_EVENTS_TOPIC", self.topic.clone())
    }

    async fn front(&self) -> Node {
        self.start(0, "api,ingest").start().await
    }

    async fn back(&self) -> Node {
        self.start(1, "worker,writer").start().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_exporter_is_in_tables_keys_and_events() {
    let cluster = Cluster::new().await;
    let (front, mut back) = (cluster.front().await, cluster.back().await);
    let window = Window::start(address("METRICSD_TEST_NODE_EXPORTER_URL")).await;
    let source = format!("node-{}", uuid::Uuid::new_v4().simple());
    let target = front.add_target(&source, &window.url, "500ms").await;
    eventually("three scrapes", 20, async || (front.jobs(&target).await.len() >= 3).then_some(())).await;
    check_caches(&target).await;
    let (took, status) = back.terminate().await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
    let jobs = front.jobs(&target).await;
    let stored: u64 = jobs.iter().map(|job| job["metrics_collected"].as_u64().unwrap()).sum();
    let received: u64 = jobs.iter().map(|job| job["ledger"]["received"].as_u64().unwrap()).sum();
    let served: usize = window.samples().iter().sum();
    assert_eq!(
        (stored, received),
        (served as u64, served as u64),
        "what the exporter served is what was stored"
    );
    check_tables(&cluster, &front, &target, &window, jobs.len() as u64, stored).await;
    // The writer published what it had before it ended; whoever runs next publishes the rest.
    let _writer = cluster.start(1, "writer").start().await;
    let events = Events::of(&cluster.topic);
    let read = events.read(Duration::from_secs(4)).await;
    check_events(&read, &source, &jobs);
    cluster.database.remove().await;
}

/// The four kinds of keys with the documented lifetimes, by an ordinary Redis client.
async fn check_caches(target: &str) {
    let client = redis::Client::open(address("METRICSD_TEST_REDIS_URL")).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys = [
        (format!("target_health:{target}"), 300),
        (format!("latest_metrics:{target}"), 120),
        ("collection_stats".to_owned(), 60),
        (format!("scrape_schedule:{target}"), 600),
    ];
    for (key, seconds) in keys {
        let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!((seconds - 30..=seconds).contains(&ttl), "{key} lives {ttl} s, not {seconds}");
        let value: String = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
        let _: Value = serde_json::from_str(&value).unwrap();
    }
    let health: String =
        redis::cmd("GET").arg(format!("target_health:{target}")).query_async(&mut redis).await.unwrap();
    assert!(health.contains("\"healthy\""), "{health}");
}

async fn check_tables(
    cluster: &Cluster,
    front: &Node,
    target: &str,
    window: &Window,
    jobs: u64,
    stored: u64,
) {
    let mut sql = cluster.database.connect().await;
    let row = sqlx::query(
        "SELECT count(*), count(DISTINCT (timestamp, metric_name, labels)) FROM metrics_ts WHERE target_id = $1",
    );
    let row = row.bind(target).fetch_one(&mut sql).await.unwrap();
    let (rows, distinct): (i64, i64) = (row.get(0), row.get(1));
    let expected = stored + 5 * jobs;
    assert_eq!(
        (rows as u64, distinct as u64),
        (expected, expected),
        "the exporter's samples and five reports a scrape"
    );
    let row = sqlx::query(
        "SELECT value, metric_type, source, labels->>'job' FROM metrics_ts WHERE metric_name = 'node_boot_time_seconds' AND target_id = $1 ORDER BY timestamp DESC LIMIT 1",
    );
    let row = row.bind(target).fetch_one(&mut sql).await.unwrap();
    let page = window.last_page();
    let served: f64 =
        page.lines().find_map(|line| line.strip_prefix("node_boot_time_seconds ")).unwrap().parse().unwrap();
    assert_eq!((row.get::<f64, _>(0), row.get::<&str, _>(1)), (served, "GAUGE"));
    assert_eq!(row.get::<&str, _>(2), row.get::<&str, _>(3));
    let by_query = front.query("node_boot_time_seconds").await;
    assert_eq!((by_query.len(), by_query[0].1), (1, served));
    let columns = sqlx::query(
        "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'metrics_ts' ORDER BY ordinal_position",
    );
    let columns: Vec<String> =
        columns.fetch_all(&mut sql).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(
        columns,
        ["timestamp", "metric_name", "metric_type", "value", "labels", "source", "target_id"]
    );
}

fn check_events(events: &[(String, Value)], source: &str, jobs: &[Value]) {
    let mut by_batch: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut times = Vec::new();
    for (key, event) in events {
        assert_eq!(key, source);
        let data = &event["metrics_collected"];
        let batch = data["collection_batch_id"].as_str().unwrap();
        if by_batch.insert(batch, data).is_none() {
            times.push(event["timestamp"].as_str().unwrap().to_owned());
        }
    }
    assert!(times.is_sorted(), "in order per source: {times:?}");
    for job in jobs {
        let id = job["job_id"].as_str().unwrap();
        let data = by_batch.get(id).unwrap_or_else(|| panic!("no event for {id}"));
        assert_eq!(data["metrics_count"], job["metrics_collected"]);
        let summary: u64 =
            data["metrics_summary"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(summary, data["metrics_count"].as_u64().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_of_a_worker_loses_and_doubles_nothing() {
    let cluster = Cluster::new().await;
    let front = cluster.front().await;
    let mut workers = [cluster.back().await, cluster.start(1, "worker,writer").start().await];
    let page = PageTarget::start("# TYPE serial counter\nserial $SERIAL\n").await;
    let target = front.add_target("shop", &page.url, "200ms").await;
    let mut pushed = BTreeSet::new();
    for round in 0..3 {
        for number in 0..20 {
            let batch = round * 20 + number;
            let body = json!([{"name": "pushed", "value": batch, "timestamp": chrono::Utc::now().timestamp_millis()}]);
            let (status, answer) = front.post("/api/v1/metrics/custom", &body).await;
            assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
            pushed.insert(batch);
        }
        let victim = &mut workers[round % 2];
        victim.kill().await;
        *victim = cluster.back().await;
    }
    eventually("more scrapes", 10, async || (front.jobs(&target).await.len() >= 10).then_some(())).await;
    let mut sql = cluster.database.connect().await;
    // Both workers scrape the target at the same scheduled times; each time is stored once.
    let query = "SELECT count(*), count(DISTINCT timestamp) FROM metrics_ts WHERE metric_name = 'serial' AND target_id = $1";
    let row = sqlx::query(query).bind(&target).fetch_one(&mut sql).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1));
    let rows = sqlx::query("SELECT value FROM metrics_ts WHERE metric_name = 'pushed'")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    let found: Vec<u64> = rows.iter().map(|row| row.get::<f64, _>(0) as u64).collect();
    assert_eq!(found.len(), pushed.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), pushed.iter().map(|n| *n as u64).collect());
    let (status, deletion) =
        front.send(front.http().delete(front.url(&format!("/api/v1/metrics/targets/{target}")))).await;
    assert_eq!((status, &deletion["deleted"]), (200, &json!(true)), "{deletion}");
    assert!(front.query("serial").await.is_empty());
    drop(workers);
    drop(sql);
    cluster.database.remove().await;
}
