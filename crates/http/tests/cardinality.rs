//! Limits on the series of a source, and the report of who has them.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use metricsd_codec::remote_write::pack;
use metricsd_ingest::Limits;
use serde_json::{Value, json};

const REPORT: &str = "/api/v1/metrics/cardinality";

async fn push(service: &Service, source_id: &str, names: &[&str]) -> Answer {
    let items: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "value": 1, "labels": {"shop": name}})).collect();
    service.call("POST", &format!("/api/v1/metrics/custom?source_id={source_id}"), &json!(items)).await
}

async fn write(service: &Service, source_id: &str, names: &[&str]) -> Answer {
    let now = chrono::Utc::now().timestamp_millis();
    let timeseries = names
        .iter()
        .map(|name| TimeSeries {
            labels: Label::list([("__name__", *name)]),
            samples: vec![Sample { value: 1.0, timestamp: now }, Sample { value: 2.0, timestamp: now + 1 }],
            ..TimeSeries::default()
        })
        .collect();
    let body = WriteRequest { timeseries, metadata: Vec::new() };
    let request = Request::post(format!("/api/v1/write?source_id={source_id}"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy");
    service.send(request.body(Body::from(pack(&body.to_bytes()).unwrap())).unwrap()).await
}

fn limits(max_active: usize, max_new: usize) -> Limits {
    Limits {
        max_active_series_per_source: max_active,
        max_new_series_per_minute_per_source: max_new,
        ..Limits::default()
    }
}

async fn metrics_text(service: &Service) -> String {
    service.get("/metrics").await.text().to_owned()
}

#[tokio::test]
async fn a_push_keeps_its_known_series_and_is_told_which_limit_refuses_new_ones() {
    let service = Service::with_limits(limits(2, 0));
    assert_eq!(push(&service, "shop", &["a", "b"]).await.json()["accepted"], 2);
    let answer = push(&service, "shop", &["a", "c", "b", "d"]).await;
    assert_eq!(answer.status, 200);
    let result = answer.json();
    assert_eq!((&result["accepted"], &result["rejected"]), (&json!(2), &json!(2)), "{result}");
    let error = &result["errors"][0];
    assert_eq!((&error["index"], &error["reason"]), (&json!(1), &json!("series_limit")));
    let message = error["message"].as_str().unwrap();
    for part in
        ["\"shop\"", "limits.max_active_series_per_source", "allows, 2;", "/cardinality?source_id=shop"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(push(&service, "shop", &["e"]).await.status, 422);
    assert_eq!(push(&service, "other", &["c", "d"]).await.json()["accepted"], 2, "each source has its own");
    let text = metrics_text(&service).await;
    assert!(
        text.contains(
            "metricsd_ingest_rejected_samples_total{protocol=\"custom\",reason=\"series_limit\"} 3"
        ),
        "{text}"
    );
    assert!(text.contains("metricsd_ingest_active_series 4"), "{text}");
}

#[tokio::test]
async fn a_remote_write_stores_the_rest_and_says_what_was_refused() {
    let service = Service::with_limits(limits(0, 2));
    assert_eq!(write(&service, "prom", &["a", "b"]).await.status, 204);
    for _ in 0..2 {
        let answer = write(&service, "prom", &["a", "c", "b"]).await;
        assert_eq!(answer.status, 400);
        for part in [
            "2 of 6 samples were refused (series_rate_limit 2), 4 are stored; c at ",
            "source \"prom\" brings more new series a minute than \
             limits.max_new_series_per_minute_per_source allows, 2;",
        ] {
            assert!(answer.text().contains(part), "{part}: {}", answer.text());
        }
    }
    assert_eq!(write(&service, "prom", &["b", "a"]).await.status, 204);
    let found = service.get("/api/v1/metrics/query?query=a").await.json();
    assert_eq!(found["result"].as_array().unwrap().len(), 1);
    assert!(
        service.get("/api/v1/metrics/query?query=c").await.json()["result"].as_array().unwrap().is_empty()
    );
}

#[tokio::test]
async fn what_the_store_knows_is_not_new_to_another_process() {
    let first = Service::with_limits(limits(0, 0));
    let names: Vec<String> = (0..50).map(|at| format!("m{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(write(&first, "prom", &names).await.status, 204);
    let store = first.store.clone();
    for both in [true, false] {
        let second = Service::over(store.clone(), store.clone(), limits(0, 10), |_| {});
        let answer = match both {
            true => write(&second, "prom", &names).await,
            false => write(&second, "prom", &[&names[..], &["new"]].concat()).await,
        };
        assert_eq!(answer.status, if both { 204 } else { 400 }, "{}", answer.text());
        assert!(both || answer.text().starts_with("2 of 102 samples were refused (series_rate_limit 2)"));
    }
    let third = Service::over(store.clone(), store, limits(0, 10), |_| {});
    let labelled = ["x0", "x1"];
    assert_eq!(push(&third, "prom", &labelled).await.json()["accepted"], 2);
}

fn row<'a>(list: &'a Value, name: &str, value: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|row| row[name] == value).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn the_report_tells_who_has_how_many_series() {
    let service = Service::with_limits(limits(4, 1_000));
    let empty = service.get(REPORT).await.json();
    assert_eq!(
        (&empty["series"], &empty["active_series"], &empty["by_source"]),
        (&json!(0), &json!(0), &json!([]))
    );
    push(&service, "shop", &["a", "b", "c"]).await;
    write(&service, "prom", &["a", "b", "c", "d", "e"]).await;
    let answer = service.get(&format!("{REPORT}?limit=1000&source_id=shop")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shop = answer.json();
    assert_eq!(
        (&shop["series"], &shop["active_series"], &shop["growth"]),
        (&json!(3), &json!(3), &Value::Null)
    );
    assert_eq!(row(&shop["by_label"], "label", "shop"), &json!({"label": "shop", "values": 3}));
    assert_eq!(row(&shop["by_label_pair"], "value", "b")["series"], 1);
    let refused = json!({"series_limit": 0, "series_rate_limit": 0});
    let expected = json!([{
        "source_id": "shop", "series": 3, "active_series": 3, "new_series_last_minute": 3, "new_series_last_hour": 3,
        "refused_samples": refused
    }]);
    assert_eq!(shop["by_source"], expected);
    // What was answered before there was anything is some seconds old.
    tokio::time::sleep(std::time::Duration::from_millis(5_100)).await;
    let all = service.get(&format!("{REPORT}?limit=2")).await.json();
    assert_eq!(
        (&all["series"], &all["active_series"], &all["label_pairs"]),
        (&json!(7), &json!(7), &json!(7))
    );
    assert_eq!(all["by_metric"], json!([{"metric": "a", "series": 2}, {"metric": "b", "series": 2}]));
    let prom = &all["by_source"][0];
    assert_eq!((&prom["source_id"], &prom["active_series"]), (&json!("prom"), &json!(4)));
    assert_eq!(prom["refused_samples"], json!({"series_limit": 1, "series_rate_limit": 0}));
    let limits = json!({"max_active_series_per_source": 4, "max_new_series_per_minute_per_source": 1000});
    assert_eq!((&all["limits"], &all["active_window_seconds"]), (&limits, &json!(3600)));
    let growth = &all["growth"];
    assert_eq!(
        (&growth["series_added"], &growth["by_source"][0]["added"]),
        (&json!(7), &json!(4)),
        "{growth}"
    );
    assert_eq!(growth["by_label"][0], json!({"name": "__name__", "now": 4, "added": 4}));
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let service = Service::new();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("source_id=%20", "source_id"),
        ("a=1", "a"),
    ] {
        let problem = service.get(&format!("{REPORT}?{query}")).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], field, "{query}: {problem}");
    }
}
