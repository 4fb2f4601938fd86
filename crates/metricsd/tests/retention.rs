//! How long samples are kept: for ever where nothing bounds them, else for `retention.default`.

mod support;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use support::{Folder, Start, eventually};

/// Milliseconds since the epoch at which samples are pushed: its very beginning, an hour and some later, before it.
const OLD: [i64; 3] = [0, 3_700_000, -60_000];

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_any_age_stay_until_a_bound_is_set() {
    let folder = Folder::new();
    let unbounded = Start::new(&folder.0)
        .env("METRICSD_RETENTION_DEFAULT", "0s")
        .env("METRICSD_LIMITS_MAX_SAMPLE_AGE", "0s");
    let mut node = unbounded.start().await;
    let mut metrics: Vec<_> = OLD.into_iter().map(|at| metric("old", at)).collect();
    metrics.push(metric("fresh", chrono::Utc::now().timestamp_millis()));
    let (status, answer) = node.post("/api/v1/metrics/custom", &json!(metrics)).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    for at in OLD {
        assert_eq!(value_at(&node, "old", at).await, Some(at as f64), "at {at}");
    }
    node.terminate().await;

    let node = unbounded.env("METRICSD_RETENTION_DEFAULT", "1h").start().await;
    eventually("the removal", 15, async || {
        let mut left = 0;
        for at in OLD {
            left += usize::from(value_at(&node, "old", at).await.is_some());
        }
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(node.query("fresh").await.len(), 1, "what is younger stays");
}

fn metric(name: &str, at: i64) -> Value {
    json!({"name": name, "metric_type": "GAUGE", "value": at as f64, "timestamp": at, "labels": {}, "source": "APPLICATION"})
}

/// Where rollups are switched on together with a shorter retention.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_rolled_up_before_their_samples_go() {
    const DAY: i64 = 86_400_000;
    let folder = Folder::new();
    let path = folder.0.join("metricsd.db");
    let count = async |sql: String| -> i64 {
        let mut file = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut file).await.unwrap().get(0)
    };
    let start = Start::new(&folder.0)
        .env("METRICSD_RETENTION_DEFAULT", "30d")
        .env("METRICSD_LIMITS_MAX_SAMPLE_AGE", "30d");
    let mut node = start.start().await;
    let day = (chrono::Utc::now().timestamp_millis() / DAY - 3) * DAY;
    let metrics: Vec<_> = (1..=200).map(|n| metric("kept", day + 3_600_000 + n * 60_000)).collect();
    let (status, answer) = node.post("/api/v1/metrics/custom", &json!(metrics)).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    eventually("the compaction", 90, async || {
        (count("SELECT count(*) FROM frames".into()).await == 0).then_some(())
    })
    .await;
    node.terminate().await;

    let start =
        start.env("METRICSD_RETENTION_DEFAULT", "26h").env("METRICSD_RETENTION_ROLLUPS_ENABLED", "true");
    let node = start.start().await;
    eventually("the roll-up", 60, async || {
        let rolled = format!("SELECT count(*) FROM rolled_days WHERE state > 0 AND day = {day}");
        (count(rolled).await == 1).then_some(())
    })
    .await;
    assert_eq!(value_at(&node, "count_over_time(kept[1d])", day + DAY).await, Some(200.0));
}

/// What an instant query at a moment answers.
async fn value_at(node: &support::Node, selector: &str, millis: i64) -> Option<f64> {
    let time = format!("{:.3}", millis as f64 / 1e3);
    let url = node.url("/api/v1/metrics/query");
    let request = node.http().get(url).query(&[("query", selector), ("time", &time)]);
    let (status, answer) = node.send(request).await;
    assert_eq!(status, 200, "{answer}");
    answer["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
}
