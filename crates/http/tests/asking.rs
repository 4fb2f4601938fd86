//! Asking: queries, latest metrics, statistics, jobs and events.

mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use common::{Service, request};
use futures::StreamExt;
use metricsd_model::{CollectionMethod, HealthStatus, MetricsCollected, MetricsCollectedData, TypeCounts};
use metricsd_ports::{Cache, CacheEntry, CacheKey, EventBus};
use serde_json::{Value, json};
use tower::ServiceExt;

const QUERY: &str = "/api/v1/metrics/query";

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

async fn with_samples(at: i64) -> Service {
    let service = Service::new();
    let body = json!([
        {"name": "up", "value": 1, "labels": {"job": "a"}, "timestamp": at},
        {"name": "up", "value": 0.5, "labels": {"job": "b"}, "timestamp": at}
    ]);
    let answer = service.call("POST", "/api/v1/metrics/custom", &body).await;
    assert_eq!(answer.json()["accepted"], 2);
    service
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

#[tokio::test]
async fn an_instant_query_answers_a_vector() {
    let at = now() / 1_000 * 1_000 - 60_000;
    let service = with_samples(at).await;
    let answer = service.get(&format!("{QUERY}?query=up%7Bjob%3D%22a%22%7D&time={}", at / 1_000)).await;
    let mut result = answer.json();
    assert!(result["stats"]["duration_ms"].as_f64().unwrap() >= 0.0);
    result["stats"]["duration_ms"] = json!(0);
    let expected = json!({
        "query": "up{job=\"a\"}",
        "result_type": "vector",
        "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [at / 1_000, "1"]}],
        "warnings": [],
        "stats": {"series": 1, "samples": 1, "duration_ms": 0}
    });
    assert_eq!(result, expected);
    let now = service.get(&format!("{QUERY}?query=up")).await.json();
    assert_eq!(now["result"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_range_query_answers_a_matrix() {
    let at = now() / 1_000 * 1_000 - 60_000;
    let service = with_samples(at).await;
    let uri = format!("{QUERY}?query=up&start={}&end={}&step=1s", seconds(at - 1_000), seconds(at + 1_000));
    let result = service.get(&uri).await.json();
    assert_eq!(result["result_type"], "matrix");
    let first = &result["result"][0];
    assert_eq!(first["metric"]["job"], "a");
    assert_eq!(first["values"], json!([[at / 1_000, "1"], [at / 1_000 + 1, "1"]]));
    assert_eq!(result["result"][1]["values"][0][1], "0.5");
}

#[tokio::test]
async fn wrong_questions_are_explained() {
    let service = Service::new();
    for (query, field, message) in [
        ("", "query", "is required"),
        ("query=", "query", "is required"),
        ("query=up%7B", "query", "1:4: parse error: unexpected end of input"),
        ("query=rate(up)", "query", "1:6: parse error: expected type range vector"),
        ("query=%7B%7D", "query", "at least one non-empty matcher"),
        ("query=up&start=1", "end", "is missing: a range needs start, end and step"),
        ("query=up&start=1&end=2", "step", "is missing"),
        ("query=up&step=1", "start", "is missing"),
        ("query=up&start=1&end=2&step=0", "step", "at least a millisecond"),
        ("query=up&start=1&end=2&step=x", "step", "is not a duration"),
        ("query=up&start=x&end=2&step=1", "start", "expected RFC 3339"),
        ("query=up&start=2&end=1&step=1", "query", "end timestamp must not be before start time"),
        ("query=up&start=0&end=99999&step=1", "query", "exceeded maximum resolution of 11000 points"),
        ("query=up&start=1&end=2&step=1&time=1", "time", "is for one moment"),
        ("query=up&time=soon", "time", "expected RFC 3339"),
        ("query=up&time=1&time=2", "time", "more than once"),
        ("query=up&timeout=1", "timeout", "is not known here"),
    ] {
        let problem = service.get(&format!("{QUERY}?{query}")).await.problem(400);
        let errors = problem["errors"].as_array().unwrap();
        let found = errors
            .iter()
            .any(|error| error["field"] == field && error["message"].as_str().unwrap().contains(message));
        assert!(found, "{query}: {problem}");
    }
}

#[tokio::test]
async fn the_latest_metrics_come_from_the_cache_or_else_from_the_store() {
    let service = Service::new();
    let latest = "/api/v1/metrics/targets/node-1/latest";
    service.get(latest).await.problem(404);
    service.create(&request()).await;
    assert_eq!(service.get(latest).await.json(), json!([]));
    let entry =
        CacheEntry { key: CacheKey::LatestMetrics("node-1".into()), value: "[{\"name\":\"up\"}]".into() };
    service.cache.put(&[entry]).await.unwrap();
    assert_eq!(service.get(latest).await.json(), json!([{"name": "up"}]));
}

#[tokio::test]
async fn statistics_are_true_to_the_catalogue() {
    let service = with_samples(now()).await;
    service.create(&request()).await;
    let stats = service.get("/api/v1/metrics/stats").await.json();
    assert_eq!((&stats["total_targets"], &stats["healthy_targets"]), (&json!(1), &json!(0)));
    assert_eq!(stats["total_metrics_collected"], 2);
    assert!(stats["collection_rate_per_second"].as_f64().unwrap() > 0.0);
    let cached = service.cache.get(&CacheKey::CollectionStats).await.unwrap().expect("an entry");
    assert_eq!(serde_json::from_str::<Value>(&cached).unwrap(), stats);
    service.get("/api/v1/metrics/stats?x=1").await.problem(400);
}

#[tokio::test]
async fn jobs_are_listed_newest_first() {
    let service = Service::new();
    for items in [json!([{"name": "a", "value": 1}]), json!([{"name": "a"}])] {
        service.call("POST", "/api/v1/metrics/custom", &items).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    let statuses: Vec<&str> =
        jobs.as_array().unwrap().iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["failed", "completed"]);
    let ledger =
        json!({"received": 1, "dropped": 0, "refused": {"invalid_value": 1}, "stored": 0, "added": 0});
    assert_eq!(jobs[0]["ledger"], ledger);
    let oldest = jobs[1]["created_at"].as_str().unwrap();
    let count = async |query: &str| {
        service.get(&format!("/api/v1/metrics/jobs?{query}")).await.json().as_array().unwrap().len()
    };
    assert_eq!(count("status=failed").await, 1);
    assert_eq!(count("limit=1").await, 1);
    assert_eq!(count("target_id=none").await, 0);
    assert_eq!(count(&format!("before={oldest}")).await, 0);
    for (query, field) in
        [("status=done", "status"), ("before=x", "before"), ("limit=0", "limit"), ("x=1", "x")]
    {
        let problem = service.get(&format!("/api/v1/metrics/jobs?{query}")).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], field);
    }
}

fn event(source_id: &str) -> MetricsCollected {
    MetricsCollected {
        event_id: uuid::Uuid::new_v4(),
        timestamp: "2025-06-21T10:00:00.000Z".into(),
        metrics_collected: MetricsCollectedData {
            collection_batch_id: "batch_20250621_1".into(),
            source_id: source_id.into(),
            metrics_count: 1,
            collection_duration_ms: 1,
            collection_method: CollectionMethod::PullScraping,
            target_health: HealthStatus::Healthy,
            metrics_summary: TypeCounts { gauges: 1, ..TypeCounts::default() },
            error_count: 0,
            samples_per_second: 1_000,
            ledger: None,
        },
    }
}

#[tokio::test]
async fn events_stream_until_the_process_drains() {
    let service = Service::with(|api| api.settings.max_event_streams = 1);
    let uri = "/api/v1/metrics/events?source_id=b";
    let response =
        service.router.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let hello = body.next().await.unwrap().unwrap();
    assert!(hello.starts_with(b":"));
    let wanted = event("b");
    service.bus.publish(&[event("a"), wanted.clone()]).await.unwrap();
    let chunk = body.next().await.unwrap().unwrap();
    let text = std::str::from_utf8(&chunk).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    assert_eq!(serde_json::from_str::<MetricsCollected>(data).unwrap(), wanted);
    assert!(
        text.contains("event: metrics_collected") && text.contains(&format!("id: {}", wanted.event_id)),
        "{text}"
    );
    service.get(uri).await.problem(503);
    service.shutdown.cancel();
    assert!(body.next().await.is_none());
    drop(body);
    service.get("/api/v1/metrics/events?source_id=a%20b").await.problem(400);
}
