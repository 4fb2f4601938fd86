//! Pushing metrics: item by item, compressed, repeated, refused.

mod common;

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, request::Builder};
use common::{Answer, Service};
use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_ingest::Limits;
use metricsd_model::{Batch, MatchOp, Matcher, MetricSource};
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{Catalog, ErrorKind, PortError, Receipt, SampleSink, SampleSource};
use serde_json::{Value, json};

const CUSTOM: &str = "/api/v1/metrics/custom";

fn post() -> Builder {
    Request::post(CUSTOM).header("content-type", "application/json")
}

async fn push(service: &Service, builder: Builder, body: impl Into<Body>) -> Answer {
    service.send(builder.body(body.into()).unwrap()).await
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn metrics_are_stored_and_found() {
    let service = Service::new();
    let body = json!([
        {"name": "orders", "metric_type": "COUNTER", "value": 7, "labels": {"shop": "a"}, "source": "APPLICATION", "help_text": "Orders."},
        {"name": "ratio", "value": "NaN"},
        {"name": "limit", "value": "+Inf", "timestamp": now()}
    ]);
    let answer = push(&service, post(), body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = answer.json();
    assert!(result["batch_id"].as_str().unwrap().starts_with("batch_"));
    let seen = ["accepted", "rejected", "duplicate", "errors"].map(|field| result[field].clone());
    assert_eq!(seen, [json!(3), json!(0), json!(false), json!([])]);
    let found = service.get("/api/v1/metrics/query?query=orders").await.json();
    assert_eq!(found["result"][0]["metric"], json!({"__name__": "orders", "shop": "a"}));
    let found = service.get("/api/v1/metrics/query?query=%7B__name__%3D~%22ratio%7Climit%22%7D").await.json();
    let values: Vec<&Value> =
        found["result"].as_array().unwrap().iter().map(|entry| &entry["value"][1]).collect();
    assert_eq!(values, ["+Inf", "NaN"]);
}

#[tokio::test]
async fn lines_and_messages_are_taken_like_lists() {
    let service = Service::new();
    let lines = [
        r#"{"name":"orders","metric_type":"COUNTER","value":7,"labels":{"shop":"a"},"help_text":"Orders.","source":"KUBERNETES"}"#,
        "",
        r#"{"name":"orders"}"#,
        "no json",
        r#"{"name":"took","histogram":{"buckets":{"1":2},"sum":3,"count":4},"unit":"seconds"}"#,
        r#"{"name":"late","value":1,"timestamp":5}"#,
        r#"{"name":"mixed","value":1,"source":"INFRASTRUCTURE"}"#,
    ];
    let typed = |name: &str| Request::post(CUSTOM).header("content-type", name);
    let answer = push(&service, typed("application/x-ndjson"), lines.join("\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = answer.json();
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(3), &json!(3)));
    let found: Vec<_> =
        result["errors"].as_array().unwrap().iter().map(|e| (&e["line"], &e["reason"])).collect();
    let (value, old) = (json!("invalid_value"), json!("too_old"));
    assert_eq!(found, [(&json!(3), &value), (&json!(4), &value), (&json!(6), &old)]);
    let quantile = "/api/v1/query?query=took_bucket%7Ble%3D%22%2BInf%22%7D";
    assert_eq!(service.get(quantile).await.json()["data"]["result"][0]["value"][1], "4");
    let said = service.get("/api/v1/metadata?metric=took").await.json();
    assert_eq!(said["data"]["took"][0], json!({"type": "histogram", "help": "", "unit": "seconds"}));
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!(jobs[0]["ledger"]["refused"], json!({"invalid_value": 2, "too_old": 1}));
    let sources: Vec<MetricSource> = {
        let matchers = [Matcher::new("__name__", MatchOp::Regex, "orders|mixed").unwrap()];
        let series = service.store.series(&matchers, 10).await.unwrap();
        series.iter().map(|series| series.source_type).collect()
    };
    assert_eq!(sources, [MetricSource::Infrastructure, MetricSource::Kubernetes]);
    let metric = Metric { name: "p".into(), metric_type: 2, value: Some(2.5), ..Metric::default() };
    let message = Metrics { metrics: vec![metric, Metric::default()], first_sequence: 0 };
    for name in ["application/x-protobuf", "application/vnd.metricsd.custom+protobuf"] {
        let answer = push(&service, typed(name), message.to_bytes()).await;
        let result = answer.json();
        assert_eq!((&result["accepted"], &result["rejected"]), (&json!(1), &json!(1)));
        assert_eq!(result["errors"][0]["index"], 1);
    }
    push(&service, typed("application/x-protobuf"), "[]").await.problem(400);
}

#[tokio::test]
async fn good_items_are_stored_when_others_are_bad() {
    let service = Service::new();
    let now = now();
    let mut items = vec![json!({"name": "good", "value": 1})];
    let bad = [
        (json!({"value": 1}), "invalid_name", "name"),
        (json!({"name": "", "value": 1}), "invalid_name", "name"),
        (json!({"name": "x".repeat(201), "value": 1}), "invalid_name", "name"),
        (json!({"name": "a"}), "invalid_value", "value"),
        (json!({"name": "a", "value": "much"}), "invalid_value", "value"),
        (json!({"name": "a", "value": 1, "units": "s"}), "invalid_value", "units"),
        (json!({"name": "a", "value": 1, "metric_type": "gauge"}), "invalid_value", "metric_type"),
        (json!({"name": "a", "value": 1, "labels": {"__x": "y"}}), "invalid_label", "labels"),
        (json!({"name": "a", "value": 1, "labels": {"x": 1}}), "invalid_label", "labels.x"),
        (json!({"name": "a", "value": 1, "timestamp": now - 2 * 86_400_000}), "too_old", "timestamp"),
        (json!({"name": "a", "value": 1, "timestamp": now + 7_200_000}), "too_new", "timestamp"),
        (json!({"name": "a", "value": 1, "timestamp": "yesterday"}), "invalid_value", "timestamp"),
        (json!(7), "invalid_value", ""),
    ];
    items.extend(bad.iter().map(|(item, _, _)| item.clone()));
    let answer = push(&service, post(), json!(items).to_string()).await;
    assert_eq!(answer.status, 200);
    let result = answer.json();
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(1), &json!(bad.len())));
    for (place, (item, reason, field)) in bad.iter().enumerate() {
        let error = &result["errors"][place];
        assert_eq!(
            (&error["index"], &error["reason"], &error["field"]),
            (&json!(place + 1), &json!(reason), &json!(field)),
            "{item}: {error}"
        );
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_push_of_bad_items_only_is_unprocessable() {
    let service = Service::new();
    let items: Vec<Value> = (0..150).map(|_| json!({"name": "a"})).collect();
    let answer = push(&service, post(), json!(items).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (422, "application/json"));
    let result = answer.json();
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(0), &json!(150)));
    assert_eq!(result["errors"].as_array().unwrap().len(), 100);
    let empty = push(&service, post(), "[]").await;
    assert_eq!((empty.status.as_u16(), &empty.json()["accepted"]), (200, &json!(0)));
}

#[tokio::test]
async fn the_same_request_is_stored_once() {
    let service = Service::new();
    let duplicate = async |builder: Builder, body: &Value| {
        let answer = push(&service, builder, body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["duplicate"].clone()
    };
    let timed = json!([{"name": "a", "value": 1, "timestamp": now()}]);
    assert_eq!(duplicate(post(), &timed).await, false);
    assert_eq!(duplicate(post(), &timed).await, true);
    assert_eq!(duplicate(post().header("x-source-id", "other"), &timed).await, false);
    let keyed = json!([{"name": "b", "value": 1}]);
    assert_eq!(duplicate(post().header("idempotency-key", "k1"), &keyed).await, false);
    assert_eq!(duplicate(post().header("idempotency-key", "k1"), &keyed).await, true);
    assert_eq!(duplicate(post().header("idempotency-key", "k2"), &keyed).await, false);
    // Without a key and without a time, the same value twice is two samples.
    let timeless = json!([{"name": "c", "value": 1}]);
    assert_eq!(duplicate(post(), &timeless).await, false);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(duplicate(post(), &timeless).await, false);
}

#[tokio::test]
async fn the_source_is_named_by_parameter_or_header() {
    let service = Service::new();
    let body = json!([{"name": "a", "value": 1}]).to_string();
    let builder = Request::post(format!("{CUSTOM}?source_id=shop")).header("x-source-id", "ignored");
    push(&service, builder, body.clone()).await;
    push(&service, post().header("x-source-id", "till"), body.clone()).await;
    push(&service, post(), body.clone()).await;
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    let mut sources: Vec<&str> =
        jobs.as_array().unwrap().iter().map(|job| job["source_id"].as_str().unwrap()).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["custom", "shop", "till"]);
    for (builder, field) in [
        (Request::post(format!("{CUSTOM}?source_id=a%20b")), "source_id"),
        (Request::post(format!("{CUSTOM}?src=a")), "src"),
        (post().header("x-source-id", "a b"), "X-Source-Id"),
        (post().header("idempotency-key", ""), "Idempotency-Key"),
        (post().header("idempotency-key", "a b"), "Idempotency-Key"),
        (post().header("idempotency-key", "a\tb"), "Idempotency-Key"),
        (post().header("idempotency-key", "k".repeat(201)), "Idempotency-Key"),
    ] {
        let problem = push(&service, builder, body.clone()).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let problem = push(&service, post().header("x-source-id", "täg"), body).await.problem(400);
    assert_eq!(problem["errors"][0]["message"], "must be visible ASCII characters");
}

#[tokio::test]
async fn a_key_is_for_one_body() {
    let service = Service::new();
    let keyed =
        async |body: Value| push(&service, post().header("idempotency-key", "k"), body.to_string()).await;
    let (good, bad) = (json!({"name": "a", "value": 1}), json!({"name": "b", "value": "much"}));
    // What is refused as a whole does not take the key.
    assert_eq!(keyed(json!([bad])).await.status, 422);
    let first = keyed(json!([good, bad])).await.json();
    assert_eq!((&first["accepted"], &first["duplicate"]), (&json!(1), &json!(false)));
    let again = keyed(json!([good, bad])).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let seen = ["batch_id", "accepted", "rejected", "duplicate"].map(|field| again.json()[field].clone());
    assert_eq!(seen, [first["batch_id"].clone(), json!(1), json!(1), json!(true)]);
    for other in [json!([good, {"name": "b", "value": 2}]), json!([good])] {
        let problem = keyed(other).await.problem(409);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("this Idempotency-Key was used for another body: "), "{detail}");
        assert!(detail.contains(first["batch_id"].as_str().unwrap()), "{detail}");
    }
    // Once the job is gone, nobody knows what was stored.
    service.store.purge_jobs(now() + 60_000).await.unwrap();
    assert_eq!(keyed(json!([good])).await.json()["duplicate"], true);
}

#[tokio::test]
async fn bodies_may_be_compressed() {
    let service = Service::new();
    let body = json!([{"name": "a", "value": 1}]).to_string();
    let check = async |encoding: &str, bytes: Vec<u8>| {
        let answer = push(&service, post().header("content-encoding", encoding), bytes).await;
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.text());
        assert_eq!(answer.json()["accepted"], 1);
    };
    check("gzip", gzip(body.as_bytes())).await;
    check("GZIP", gzip(body.as_bytes())).await;
    check("zstd", zstd::encode_all(body.as_bytes(), 3).unwrap()).await;
    check("identity", body.into_bytes()).await;
}

/// Sends a body to a service with narrow limits, and checks that it is refused.
async fn refused(builder: Builder, body: Vec<u8>, status: u16, detail: &str) {
    let limits = Limits {
        max_body_bytes: 2_000,
        max_decompressed_bytes: 4_000,
        max_push_items: 3,
        ..Limits::default()
    };
    let service = Service::with_limits(limits);
    let problem = push(&service, builder, body).await.problem(status);
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{detail}: {problem}");
}

#[tokio::test]
async fn bodies_that_are_no_list_are_refused() {
    let no_list = "expected a JSON list of metrics";
    for body in [&b"[{]"[..], b"{}", b"", b"[] []", b"[\"\xff\"]"] {
        refused(post(), body.to_vec(), 400, no_list).await;
    }
    refused(post(), b"[{]".to_vec(), 400, "line 1 column 3").await;
    let text = Request::post(CUSTOM).header("content-type", "text/plain");
    refused(text, b"[]".to_vec(), 415, "send Content-Type: application/json").await;
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused() {
    let encoded = |encoding: &str| post().header("content-encoding", encoding);
    refused(post(), vec![b' '; 2_001], 413, "larger than 2000 bytes").await;
    let declared = post().header("content-length", "2001");
    refused(declared, Vec::new(), 413, "larger than 2000 bytes").await;
    refused(post(), b"[1,2,3,4]".to_vec(), 413, "more than 3 items").await;
    let unpacked = "larger than 4000 bytes once it is unpacked";
    refused(encoded("gzip"), gzip(&[b' '; 8_000]), 413, unpacked).await;
    let bomb = zstd::encode_all(&vec![b' '; 1 << 20][..], 3).unwrap();
    refused(encoded("zstd"), bomb, 413, unpacked).await;
}

#[tokio::test]
async fn bodies_that_do_not_unpack_are_refused() {
    let encoded = |encoding: &str| post().header("content-encoding", encoding);
    let whole = gzip(b"[]");
    refused(encoded("gzip"), b"[]".to_vec(), 400, "not whole gzip").await;
    refused(encoded("gzip"), whole[..whole.len() - 4].to_vec(), 400, "not whole gzip").await;
    refused(encoded("zstd"), b"[]".to_vec(), 400, "not whole zstd").await;
    refused(encoded("br"), b"[]".to_vec(), 415, "supported are gzip and zstd").await;
    let twice = encoded("gzip").header("content-encoding", "gzip");
    refused(twice, whole, 415, "supported are gzip and zstd").await;
}

#[tokio::test]
async fn refused_items_are_counted_whatever_series_they_became() {
    let service = Service::new();
    let buckets: serde_json::Map<String, Value> =
        (1..12).map(|bound| (bound.to_string(), json!(bound))).collect();
    let item = |place: usize| {
        // Three of a kind: too old.
        let timestamp = if place.is_multiple_of(3) { now() } else { now() - 400 * 86_400_000 };
        json!({"name": format!("h{place}"), "timestamp": timestamp,
            "histogram": {"buckets": buckets, "sum": 1, "count": 11}})
    };
    let body = Value::from_iter((0..30).map(item));
    let answer = push(&service, post(), body.to_string()).await;
    let result = answer.json();
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(10), &json!(20)), "{result}");
}

/// A store that is away.
struct Away;

#[async_trait]
impl SampleSink for Away {
    async fn append(&self, _: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "cannot connect to db.internal:5432"))
    }

    async fn ping(&self) -> Result<(), PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "cannot connect to db.internal:5432"))
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_store_is_away() {
    let service = Service::over(Arc::new(MemoryStore::new()), Arc::new(Away), Limits::default(), |_| {});
    let answer = push(&service, post(), json!([{"name": "a", "value": 1}]).to_string()).await;
    assert!(!answer.header("retry-after").is_empty());
    let problem = answer.problem(503);
    assert!(!problem.to_string().contains("db.internal"), "{problem}");
    let ready = service.get("/readyz").await;
    assert_eq!(ready.status, 503);
    let ready = ready.json();
    assert_eq!(ready["status"], "unavailable");
    assert_eq!(ready["dependencies"][0]["name"], "storage");
    assert_eq!(ready["dependencies"][0]["error"], "cannot be reached");
    assert_eq!(ready["dependencies"][1]["status"], "up");
}
