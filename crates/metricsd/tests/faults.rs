//! Servers that stop and start while metricsd collects. These tests disturb everybody who shares the servers, so they
//! are one program, and one test after the other.

mod support;

use std::time::Duration;

use serde_json::json;
use sqlx::Row;
use support::page::PageTarget;
use support::services::{Database, Events, address, control};
use support::{Folder, Start, eventually};

static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_and_comes_back() {
    let _alone = ALONE.lock().await;
    let (folder, database) = (Folder::new(), Database::create().await);
    let node = Start::new(&folder.0).env("METRICSD_STORAGE_URL", database.url()).start().await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let target = node.add_target("shop", &page.url, "200ms").await;
    eventually("scrapes", 10, async || (node.jobs(&target).await.len() >= 3).then_some(())).await;
    control("kill-one", "postgres").await;
    let readiness = eventually("not ready", 20, async || {
        let (status, body) = node.get("/readyz").await;
        (status == 503).then_some(body)
    })
    .await;
    assert!(readiness.to_string().contains("storage"), "{readiness}");
    let body = json!([{"name": "pushed", "value": 1, "timestamp": chrono::Utc::now().timestamp_millis()}]);
    let request =
        node.http().post(node.url("/api/v1/metrics/custom")).header("idempotency-key", "during").json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "what is durable in the spool is acknowledged");
    let before = page.served();
    eventually("scraping goes on", 10, async || (page.served() >= before + 5).then_some(())).await;
    let (status, answer) = node.get("/api/v1/query?query=serial").await;
    assert_eq!((status, &answer["errorType"]), (503, &json!("unavailable")), "{answer}");
    control("start-one", "postgres").await;
    eventually("ready again", 30, async || (node.get("/readyz").await.0 == 200).then_some(())).await;
    let request =
        node.http().post(node.url("/api/v1/metrics/custom")).header("idempotency-key", "during").json(&body);
    let (status, answer) = node.send(request).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    eventually("the spool is empty", 30, async || {
        (node.own_metric("metricsd_spool_batches").await == 0.0).then_some(())
    })
    .await;
    let served = page.served();
    let mut sql = database.connect().await;
    eventually("every scrape of the outage in the table", 20, async || {
        let query =
            "SELECT count(DISTINCT value) FROM metrics_ts WHERE metric_name = 'serial' AND value <= $1";
        let row =
            sqlx::query(query).bind(served as f64).fetch_one(&mut database.connect().await).await.unwrap();
        (row.get::<i64, _>(0) as u64 == served).then_some(())
    })
    .await;
    // The server that came back is another one to the index, which reads all series anew; the pushed one is new to it.
    let (status, answer) = node.get("/api/v1/query?query=count(pushed)%2Bcount(serial)").await;
    assert_eq!((status, &answer["data"]["result"][0]["value"][1]), (200, &json!("2")), "{answer}");
    let rows = sqlx::query("SELECT count(*) FROM metrics_ts WHERE metric_name = 'pushed'")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(rows.get::<i64, _>(0), 1, "the push and its repeat are one");
    drop(sql);
    drop(node);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_goes_and_comes_back() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let node =
        Start::new(&folder.0).env("METRICSD_CACHE_URL", address("METRICSD_TEST_REDIS_URL")).start().await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let target = node.add_target("shop", &page.url, "200ms").await;
    eventually("scrapes", 10, async || (node.jobs(&target).await.len() >= 3).then_some(())).await;
    control("stop-one", "redis").await;
    eventually("the health says so", 15, async || {
        let (status, body) = node.get("/readyz").await;
        assert_eq!(status, 200, "the service works without its cache");
        (body["dependencies"]["cache"]["status"] == "down" || body.to_string().contains("\"down\""))
            .then_some(())
    })
    .await;
    let before = node.jobs(&target).await.len();
    eventually("collecting goes on", 10, async || {
        (node.jobs(&target).await.len() >= before + 5).then_some(())
    })
    .await;
    let (status, latest) = node.get(&format!("/api/v1/metrics/targets/{target}/latest")).await;
    assert_eq!((status, latest.as_array().unwrap().len()), (200, 6));
    control("start-one", "redis").await;
    let client = redis::Client::open(address("METRICSD_TEST_REDIS_URL")).unwrap();
    eventually("the caches fill again", 15, async || {
        let mut redis = client.get_multiplexed_async_connection().await.ok()?;
        let key = format!("target_health:{target}");
        redis::cmd("GET").arg(key).query_async::<Option<String>>(&mut redis).await.ok().flatten().map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_goes_and_comes_back() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let topic = format!("metrics-collected-{}", uuid::Uuid::new_v4().simple());
    let node = Start::new(&folder.0)
        .env("METRICSD_EVENTS_BROKERS", address("METRICSD_TEST_KAFKA_BROKERS"))
        .env("METRICSD_EVENTS_TOPIC", topic.clone())
        .start()
        .await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let target = node.add_target("shop", &page.url, "500ms").await;
    eventually("events", 20, async || {
        (node.own_metric("metricsd_events_published_total").await >= 2.0).then_some(())
    })
    .await;
    control("kill-one", "kafka").await;
    let before = node.jobs(&target).await.len();
    eventually("collecting goes on", 20, async || {
        (node.jobs(&target).await.len() >= before + 6).then_some(())
    })
    .await;
    control("start-one", "kafka").await;
    let jobs = node.jobs(&target).await;
    let events = Events::of(&topic);
    let mut read: Vec<String> = Vec::new();
    for _ in 0..10 {
        let more = events.read(Duration::from_secs(1)).await;
        read.extend(more.iter().map(|(_, event)| {
            event["metrics_collected"]["collection_batch_id"].as_str().unwrap().to_owned()
        }));
        if jobs.iter().all(|job| read.iter().any(|id| job["job_id"] == id.as_str())) {
            return;
        }
    }
    panic!("of {} collections only {} events were seen", jobs.len(), read.len());
}
