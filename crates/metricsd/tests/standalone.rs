//! One process, one SQLite file: what a newcomer does first, and what must hold when it is killed.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection};
use support::page::{PageTarget, Window};
use support::services::address;
use support::{Folder, Node, Start, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_exporter_comes_back_by_query() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).start().await;
    let window = Window::start(address("METRICSD_TEST_NODE_EXPORTER_URL")).await;
    let target = node.add_target("node", &window.url, "500ms").await;
    eventually("four scrapes", 15, async || (node.jobs(&target).await.len() >= 4).then_some(())).await;
    let (status, _) = node
        .send(
            node.http()
                .patch(node.url(&format!("/api/v1/metrics/targets/{target}")))
                .json(&json!({"enabled": false})),
        )
        .await;
    assert_eq!(status, 200);
    // Disabling ends the series with a last batch, which holds no sample of the exporter's.
    let jobs = eventually("the goodbye", 5, async || {
        let jobs = node.jobs(&target).await;
        (jobs[0]["ledger"]["received"] == 0).then_some(jobs)
    })
    .await;
    let mut received: Vec<u64> = jobs.iter().map(|job| job["ledger"]["received"].as_u64().unwrap()).collect();
    received.remove(0);
    received.reverse();
    let served: Vec<u64> = window.samples().iter().map(|count| *count as u64).collect();
    assert_eq!(received, served, "every sample that the exporter served is accounted for");
    assert!(
        jobs[1..]
            .iter()
            .all(|job| job["ledger"]["received"] == job["ledger"]["stored"] && job["status"] == "completed")
    );
    let at = jobs[1]["created_at"].clone();
    let request = node
        .http()
        .get(node.url("/api/v1/metrics/query"))
        .query(&[("query", "{job=\"node\"}"), ("time", &seconds(&at))]);
    let (_, answer) = node.send(request).await;
    let result = answer["result"].as_array().unwrap();
    assert_eq!(result.len() as u64, served[served.len() - 1] + 5, "the last page and the five reports");
    check_last_page(result, &window);
    assert!(node.query("{job=\"node\"}").await.is_empty(), "the series have ended");
}

/// What was asked for at the time of the last scrape is what the exporter's last page said.
fn check_last_page(result: &[Value], window: &Window) {
    let value_of = |name: &str| -> f64 {
        let found = result.iter().find(|entry| entry["metric"]["__name__"] == name).unwrap();
        found["value"][1].as_str().unwrap().parse().unwrap()
    };
    let page = window.last_page();
    let served = page.lines().find_map(|line| line.strip_prefix("node_boot_time_seconds ")).unwrap();
    assert_eq!(value_of("node_boot_time_seconds"), served.parse::<f64>().unwrap());
    assert_eq!(value_of("up"), 1.0);
    assert_eq!(value_of("scrape_samples_scraped") as usize, *window.samples().last().unwrap());
}

/// A time of an answer (RFC 3339 or milliseconds) as the query parameter wants it.
fn seconds(time: &Value) -> String {
    match time {
        Value::Number(millis) => (millis.as_f64().unwrap() / 1e3).to_string(),
        other => other.as_str().unwrap().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_what_is_wrong_and_deleting_ends_the_series() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).start().await;
    let page = PageTarget::start("serial $SERIAL\nother 1\n").await;
    let target = node.add_target("shop", &page.url, "200ms").await;
    let path = format!("/api/v1/metrics/targets/{target}");
    let health = async |wanted: &str| {
        eventually(wanted, 10, async || {
            let (_, target) = node.get(&path).await;
            (target["health_status"] == wanted).then_some(target)
        })
        .await
    };
    assert_eq!(health("healthy").await["samples_scraped"], 2);
    page.set_status(500);
    assert_eq!(health("unhealthy").await["last_error"]["reason"], "status");
    assert!(node.query("serial").await.is_empty(), "a failed scrape ends the series");
    assert_eq!(node.query("up{job=\"shop\"}").await[0].1, 0.0);
    page.set_status(200);
    page.set("not a page");
    eventually("a parse error", 10, async || {
        let (_, target) = node.get(&path).await;
        (target["last_error"]["reason"] == "parse").then_some(())
    })
    .await;
    page.set("serial $SERIAL\n");
    health("healthy").await;
    assert_eq!(node.query("serial").await.len(), 1);
    assert!(node.query("other").await.is_empty());
    let (status, result) = node.post(&format!("{path}/scrape"), &json!({})).await;
    assert_eq!((status, &result["health_status"]), (200, &json!("healthy")), "{result}");
    let (status, deletion) = node.send(node.http().delete(node.url(&path))).await;
    assert_eq!((status, &deletion["deleted"]), (200, &json!(true)), "{deletion}");
    let served = page.served();
    assert!(node.query("serial").await.is_empty() && node.query("up{job=\"shop\"}").await.is_empty());
    assert_eq!(node.get(&path).await.0, 404);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(page.served(), served, "nothing is scraped after the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_their_data_and_statistics_are_true() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).start().await;
    let stream = node.http().get(node.url("/api/v1/metrics/events")).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let page = PageTarget::start("# TYPE a counter\na 1\n# TYPE b gauge\nb 2\nc 3\n").await;
    let target = node.add_target("shop", &page.url, "200ms").await;
    let mut events: Vec<Value> = Vec::new();
    let mut text = String::new();
    let mut chunks = stream.bytes_stream();
    while events.len() < 5 {
        let chunk =
            tokio::time::timeout(Duration::from_secs(10), chunks.next()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            events.extend(
                event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|data| serde_json::from_str(data.trim()).unwrap()),
            );
            text = rest.to_owned();
        }
    }
    let jobs = node.jobs(&target).await;
    for event in &events {
        let data = &event["metrics_collected"];
        assert!(
            jobs.iter().any(|job| job["job_id"] == data["collection_batch_id"]),
            "an event precedes its data"
        );
        assert_eq!(
            (&data["source_id"], &data["metrics_count"], &data["target_health"]),
            (&json!("shop"), &json!(3), &json!("healthy"))
        );
        assert_eq!(
            data["metrics_summary"],
            json!({"counters": 1, "gauges": 2, "histograms": 0, "summaries": 0})
        );
    }
    let ids: BTreeSet<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    let (status, stats) = node.get("/api/v1/metrics/stats").await;
    assert_eq!(
        (status, &stats["total_targets"], &stats["healthy_targets"]),
        (200, &json!(1), &json!(1)),
        "{stats}"
    );
    assert!(
        stats["total_metrics_collected"].as_u64().unwrap() >= 15 && stats["error_rate"] == 0.0,
        "{stats}"
    );
}

fn metric(name: &str, value: f64, timestamp: i64) -> Value {
    json!({"name": name, "metric_type": "GAUGE", "value": value, "labels": {"a": "b"}, "timestamp": timestamp, "source": "APPLICATION"})
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Pushes batch after batch until the process dies; gives the numbers of those that were acknowledged.
async fn push_until_it_dies(client: reqwest::Client, url: String, start: i64) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let body: Vec<Value> =
            (0..20).map(|item| metric(&format!("pushed_{item}"), number as f64, start + number)).collect();
        let request = client.post(&url).header("idempotency-key", format!("batch-{number}")).json(&body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => acknowledged.push(number),
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_loses_nothing_that_was_acknowledged_and_stores_nothing_twice() {
    let folder = Folder::new();
    let start = Start::new(&folder.0);
    let begin = now() - 600_000;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let mut node = start.start().await;
        if round == 0 {
            node.add_target("shop", &page.url, "100ms").await;
        }
        let url = node.url("/api/v1/metrics/custom");
        let pushing = tokio::spawn(push_until_it_dies(node.http().clone(), url, begin));
        tokio::time::sleep(Duration::from_millis(700 + 150 * round)).await;
        node.kill().await;
        acknowledged.extend(pushing.await.unwrap());
    }
    assert!(acknowledged.len() > 10, "{} acknowledged", acknowledged.len());
    let node = start.start().await;
    check_everything_is_there(&node, begin, &acknowledged).await;
    // What is sent again is known.
    let last = *acknowledged.last().unwrap();
    let body: Vec<Value> =
        (0..20).map(|item| metric(&format!("pushed_{item}"), last as f64, begin + last)).collect();
    let request = node
        .http()
        .post(node.url("/api/v1/metrics/custom"))
        .header("idempotency-key", format!("batch-{last}"));
    let (status, answer) = node.send(request.json(&body)).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)), "{answer}");
    check_everything_is_there(&node, begin, &acknowledged).await;
    let path = folder.0.join("metricsd.db");
    let mut database =
        SqliteConnection::connect(&format!("sqlite:{}?mode=ro", path.display())).await.unwrap();
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM frames), (SELECT count(*) FROM (SELECT DISTINCT batch_id, part FROM frames)), (SELECT integrity_check FROM pragma_integrity_check)",
    );
    let row = row.fetch_one(&mut database).await.unwrap();
    let (frames, distinct, integrity): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((frames, integrity.as_str()), (distinct, "ok"));
}

async fn check_everything_is_there(node: &Node, begin: i64, acknowledged: &BTreeSet<i64>) {
    let last = *acknowledged.last().unwrap();
    // One point a millisecond, so that every stored sample shows as a point of its own; in pieces of 10,000 points.
    let mut values = BTreeSet::new();
    for from in (0..=last).step_by(10_000) {
        let (start, end) = (begin + from, begin + (from + 9_999).min(last));
        let range =
            [("start", start), ("end", end)].map(|(name, at)| (name, format!("{:.3}", at as f64 / 1e3)));
        let request = node
            .http()
            .get(node.url("/api/v1/metrics/query"))
            .query(&[("query", "pushed_7"), ("step", "1ms")])
            .query(&range);
        let (status, answer) = node.send(request).await;
        assert_eq!(status, 200, "{answer}");
        let points = answer["result"][0]["values"].as_array().unwrap();
        values.extend(points.iter().map(|point| point[1].as_str().unwrap().parse::<i64>().unwrap()));
    }
    let lost: Vec<_> = acknowledged.difference(&values).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_loses_nothing() {
    let folder = Folder::new();
    let start = Start::new(&folder.0);
    let mut node = start.start().await;
    let page = PageTarget::start("serial $SERIAL\n").await;
    let target = node.add_target("shop", &page.url, "100ms").await;
    eventually("some scrapes", 10, async || (node.jobs(&target).await.len() >= 5).then_some(())).await;
    let (took, status) = node.terminate().await;
    assert!(
        status.success() && took < Duration::from_secs(10),
        "{status} after {took:?}\n{}",
        start.log_text()
    );
    let served = page.served();
    let node = start.env("METRICSD_ROLES", "api").start().await;
    let completed = node.jobs(&target).await.iter().filter(|job| job["status"] == "completed").count();
    assert!(completed as u64 >= served - 1, "{served} pages were served, {completed} stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_data_folder_is_refused() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).start().await;
    let second = async |args: &[&str]| {
        let mut second = tokio::process::Command::new(env!("CARGO_BIN_EXE_metricsd"));
        second.args(args).arg("--data-dir").arg(&folder.0).env_clear().kill_on_drop(true);
        tokio::time::timeout(Duration::from_secs(10), second.output()).await.unwrap().unwrap()
    };
    for args in [&["run", "--listen", "127.0.0.1:0"][..], &["migrate"]] {
        let output = second(args).await;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && message.contains("another metricsd runs on the data folder"),
            "{args:?}: {message}"
        );
    }
    assert_eq!(node.get("/readyz").await.0, 200, "the first goes on");
    drop(node);
    // What the first had locked is free once it has ended, however it did.
    let mut output = second(&["migrate"]).await;
    for _ in 0..50 {
        if output.status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        output = second(&["migrate"]).await;
    }
    let message = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && message.contains("is up to date at schema version"), "{message}");
}
