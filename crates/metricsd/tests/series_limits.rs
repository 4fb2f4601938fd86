//! The limits on a source's series, for each way in, and what the report says of them.

mod support;

use std::collections::BTreeMap;

use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use metricsd_codec::remote_write::pack;
use serde_json::{Value, json};
use support::page::PageTarget;
use support::{Folder, Node, Start, eventually};

async fn push(node: &Node, names: std::ops::Range<usize>) -> Value {
    let items: Vec<Value> = names.map(|at| json!({"name": format!("pushed_{at}"), "value": at})).collect();
    node.post("/api/v1/metrics/custom?source_id=push", &json!(items)).await.1
}

async fn write(node: &Node, names: std::ops::Range<usize>) -> (u16, String) {
    let timestamp = chrono::Utc::now().timestamp_millis();
    let timeseries = names.map(|at| TimeSeries {
        labels: Label::list([("__name__", format!("written_{at}").as_str())]),
        samples: vec![Sample { value: at as f64, timestamp }],
        ..TimeSeries::default()
    });
    let body = WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() };
    let request = node
        .http()
        .post(node.url("/api/v1/write?source_id=prom"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .body(pack(&body.to_bytes()).unwrap());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn page(lines: std::ops::Range<usize>) -> String {
    lines.map(|at| format!("scraped_{at} {at}\n")).collect()
}

/// What the target's health says once its last scrape refused so many samples for this reason.
async fn refused_by_scrape(node: &Node, target: &str, reason: &str, count: u64) -> Value {
    eventually(reason, 10, async || {
        let job = node.jobs(target).await.into_iter().next()?;
        (job["ledger"]["refused"][reason] == count).then_some(())
    })
    .await;
    node.get(&format!("/api/v1/metrics/targets/{target}")).await.1
}

async fn sources(node: &Node) -> BTreeMap<String, Value> {
    let (status, report) = node.get("/api/v1/metrics/cardinality").await;
    assert_eq!(status, 200, "{report}");
    let rows = report["by_source"].as_array().unwrap().clone();
    rows.into_iter().map(|row| (row["source_id"].as_str().unwrap().to_owned(), row)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn active_series_are_bounded_for_each_way_in() {
    let folder = Folder::new();
    let start = Start::new(&folder.0).env("METRICSD_LIMITS_MAX_ACTIVE_SERIES_PER_SOURCE", "5");
    let node = start.start().await;
    assert_eq!(push(&node, 0..5).await["rejected"], 0);
    let result = push(&node, 0..7).await;
    assert_eq!((&result["accepted"], &result["errors"][1]["reason"]), (&json!(5), &json!("series_limit")));
    assert_eq!(write(&node, 0..5).await.0, 204);
    let (status, text) = write(&node, 0..8).await;
    assert!(status == 400 && text.contains("series_limit 3), 5 are stored"), "{text}");
    let target_page = PageTarget::start(&page(0..5)).await;
    let target = node.add_target("shop", &target_page.url, "200ms").await;
    eventually("a scrape", 10, async || (!node.query("scraped_4").await.is_empty()).then_some(())).await;
    target_page.set(&page(0..9));
    let health = refused_by_scrape(&node, &target, "series_limit", 4).await;
    let told = health["last_error"].to_string() + &node.jobs(&target).await[0]["error_details"].to_string();
    assert!(told.contains("limits.max_active_series_per_source allows, 5;"), "{health} {told}");
    assert_eq!(node.query("{__name__=~\"scraped_.*\"}").await.len(), 5, "the known ones go on");
    assert_eq!(health["health_status"], "healthy", "the scrape is good for the rest: {health}");
    let seen = sources(&node).await;
    assert_eq!(
        ["push", "prom", "shop"].map(|id| seen[id]["active_series"].clone()),
        [5, 5, 5].map(|n| json!(n))
    );
    assert_eq!(seen["prom"]["refused_samples"]["series_limit"], 3);
    assert!(node.own_metric("metricsd_ingest_rejected_samples_total").await >= 9.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_series_a_minute_are_bounded_for_each_way_in_and_a_restart_forgets_nobody() {
    let folder = Folder::new();
    let limited = |limit: &str| {
        Start::new(&folder.0).env("METRICSD_LIMITS_MAX_NEW_SERIES_PER_MINUTE_PER_SOURCE", limit)
    };
    let target_page = PageTarget::start(&page(0..60)).await;
    let target;
    {
        let mut node = limited("0").start().await;
        push(&node, 0..60).await;
        assert_eq!(write(&node, 0..60).await.0, 204);
        target = node.add_target("shop", &target_page.url, "200ms").await;
        eventually("a scrape", 10, async || (!node.query("scraped_4").await.is_empty()).then_some(())).await;
        node.terminate().await;
    }
    let node = limited("5").start().await;
    // Ten times what may be new: all of them are known to the store.
    assert_eq!(push(&node, 0..60).await["accepted"], 60);
    assert_eq!(write(&node, 0..60).await.0, 204);
    eventually("a scrape", 10, async || (node.query("scraped_59").await.len() == 1).then_some(())).await;
    assert_eq!(node.query("{__name__=~\"scraped_.*\"}").await.len(), 60);
    assert_eq!(node.own_metric("metricsd_ingest_rejected_samples_total").await, 0.0);
    let result = push(&node, 50..100).await;
    assert_eq!(result["errors"][0]["reason"], "series_rate_limit", "{result}");
    assert!(result["accepted"].as_u64().unwrap() < 20, "{result}");
    let (status, text) = write(&node, 50..100).await;
    assert!(
        status == 400 && text.contains("limits.max_new_series_per_minute_per_source allows, 5;"),
        "{text}"
    );
    target_page.set(&page(0..100));
    eventually("refused lines", 10, async || {
        let job = node.jobs(&target).await.into_iter().next()?;
        (job["ledger"]["refused"]["series_rate_limit"].as_u64()? > 30).then_some(())
    })
    .await;
    assert!(node.query("{__name__=~\"scraped_.*\"}").await.len() >= 60);
}
