//! OTLP over HTTP: both encodings, what is stored, what is refused and how it is said.

mod common;

use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_codec::otlp::answer::{ExportResponse, RetryInfo, Status};
use metricsd_codec::otlp::messages::*;
use metricsd_ingest::Limits;
use prost::Message;

const PATHS: [&str; 2] = ["/v1/metrics", "/api/v1/otlp/v1/metrics"];

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn point(time: i64, value: f64, attributes: &[(&str, &str)]) -> NumberPoint {
    NumberPoint {
        attributes: KeyValue::texts(attributes),
        time_unix_nano: time.cast_unsigned() * 1_000_000,
        value: Some(Number::Double(value)),
        ..NumberPoint::default()
    }
}

fn counter(name: &str, data_points: Vec<NumberPoint>) -> Metric {
    let sum = Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
    Metric::new(name, "", Data::Sum(sum))
}

fn request(metrics: Vec<Metric>) -> Vec<u8> {
    let resource = [("service.name", "shop"), ("service.instance.id", "i-1"), ("host.name", "h")];
    ExportRequest::of(KeyValue::texts(&resource), metrics).to_bytes()
}

async fn send(service: &Service, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let request = Request::post(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    service.send(request.body(Body::from(body)).unwrap()).await
}

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const JSON: [(&str, &str); 1] = [("content-type", "application/json; charset=utf-8")];

async fn value(service: &Service, query: &str) -> String {
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let found = service.get(&format!("/api/v1/query?query={query}")).await.json();
    found["data"]["result"][0]["value"][1].as_str().unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn protobuf_is_stored_on_either_path() {
    for path in PATHS {
        let service = Service::new();
        let body = request(vec![counter("orders", vec![point(now(), 7.0, &[("shop.id", "a")])])]);
        let answer = send(&service, path, &PROTOBUF, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-protobuf"));
        assert!(answer.body.is_empty(), "an answer that says nothing is empty");
        assert_eq!(value(&service, "orders_total{shop_id=\"a\",job=\"shop\",instance=\"i-1\"}").await, "7");
        assert_eq!(
            value(&service, "orders_total * on (job, instance) group_left (host_name) target_info").await,
            "7"
        );
        // Again: a sender that did not hear the answer.
        assert_eq!(send(&service, path, &PROTOBUF, body).await.status, 200);
        let jobs = service.get("/api/v1/metrics/jobs").await.json();
        assert_eq!(jobs.as_array().unwrap().len(), 1);
        assert_eq!(jobs[0]["source_id"], "otlp");
    }
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let service = Service::new();
    let nanos = format!("{}000000", now());
    let old = format!("{}000000", now() - 2 * 86_400_000);
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"level","gauge":{{"dataPoints":[
             {{"asInt":"5","timeUnixNano":"{nanos}"}},{{"asInt":"6","timeUnixNano":"{old}"}}]}}}},
             {{"name":"d","sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{{"asInt":"1"}}]}}}}]}}]}}]}}"#
    );
    let headers = [JSON[0], ("x-source-id", "web/shop")];
    let answer = send(&service, PATHS[0], &headers, body.into_bytes()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "2");
    let said = partial["errorMessage"].as_str().unwrap();
    for part in ["2 of 3 data points", "too_old", "older than 1d", "d: it has delta temporality"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(value(&service, "level").await, "5");
    assert_eq!(service.get("/api/v1/metrics/jobs").await.json()[0]["source_id"], "web/shop");

    let answer = send(&service, PATHS[0], &JSON, b"{\"resourceMetrics\":7}".to_vec()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/json"));
    assert_eq!(answer.json()["code"], 3);
}

#[tokio::test]
async fn what_was_refused_is_counted_in_data_points() {
    let service = Service::new();
    let histogram = |time: i64| {
        let point = HistogramPoint {
            time_unix_nano: time.cast_unsigned() * 1_000_000,
            count: 2,
            sum: Some(1.0),
            bucket_counts: vec![1, 1],
            explicit_bounds: vec![1.0],
            ..HistogramPoint::default()
        };
        let data = Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE };
        Metric::new("wait", "s", Data::Histogram(data))
    };
    let in_2100 = 4_102_444_800_000;
    let metrics = vec![
        histogram(in_2100),
        counter("a", vec![point(now(), 1.0, &[]), point(now() - 100_000_000, 1.0, &[("k", "v")])]),
        histogram(now()),
    ];
    let answer = send(&service, PATHS[0], &PROTOBUF, request(metrics)).await;
    let partial = ExportResponse::decode(answer.body.clone()).unwrap().partial_success.unwrap();
    // Five samples of one histogram and one of a counter. Its resource is described at the newest time of all.
    assert_eq!(partial.rejected_data_points, 2, "{}", partial.error_message);
    assert!(partial.error_message.contains("too_new"), "{}", partial.error_message);
    assert_eq!(value(&service, "wait_seconds_count").await, "2");
    assert_eq!(value(&service, "histogram_quantile(0.5, wait_seconds_bucket)").await, "1");
}

#[tokio::test]
async fn compressed_bodies_are_bounded() {
    let service = Service::with_limits(Limits { max_decompressed_bytes: 100_000, ..Limits::default() });
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let headers = [PROTOBUF[0], ("content-encoding", "gzip")];
    let body = gzip(&request(vec![counter("a", vec![point(now(), 3.0, &[])])]));
    assert_eq!(send(&service, PATHS[0], &headers, body.clone()).await.status, 200);
    assert_eq!(value(&service, "a_total").await, "3");

    let check = async |headers: &[(&str, &str)], body: Vec<u8>, status: u16, code: i32, said: &str| {
        let answer = send(&service, PATHS[0], headers, body).await;
        let found = Status::decode(answer.body.clone()).unwrap();
        assert_eq!((answer.status.as_u16(), found.code), (status, code), "{}", found.message);
        assert!(found.message.contains(said), "{}", found.message);
    };
    check(&headers, gzip(&vec![0; 10_000_000]), 413, 8, "larger than 100000 bytes once it is unpacked").await;
    check(&headers, body[..body.len() - 9].to_vec(), 400, 3, "not whole gzip").await;
    check(&PROTOBUF, vec![0xff; 10], 400, 3, "at byte 0").await;
    let brotli = [PROTOBUF[0], ("content-encoding", "br")];
    check(&brotli, Vec::new(), 415, 3, "supported are gzip and zstd").await;
    let answer = send(&service, PATHS[0], &[("content-type", "text/plain")], Vec::new()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_i64()), (415, Some(3)));
    let answer = send(&service, "/v1/metrics?source_id=-", &PROTOBUF, Vec::new()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        send(&service, PATHS[0], &PROTOBUF, Vec::new()).await.status,
        200,
        "nothing to say is no error"
    );
}

#[tokio::test]
async fn a_process_that_takes_nothing_says_when_to_come_back() {
    let service = Service::with(|api| api.otlp = None);
    let answer = send(&service, PATHS[0], &PROTOBUF, Vec::new()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "5");
    let status = Status::decode(answer.body.clone()).unwrap();
    assert_eq!(status.code, 14);
    let info = RetryInfo::decode(status.details[0].value.as_slice()).unwrap();
    assert_eq!(info.retry_delay.unwrap().seconds, 5);
}

#[tokio::test]
async fn refused_data_points_are_counted_whatever_series_they_became() {
    let service = Service::new();
    let histogram = |place: usize| {
        let time = if place.is_multiple_of(3) { now() } else { now() - 400 * 86_400_000 };
        HistogramPoint {
            attributes: KeyValue::texts(&[("place", &place.to_string())]),
            time_unix_nano: time.cast_unsigned() * 1_000_000,
            count: 12,
            bucket_counts: vec![1; 12],
            explicit_bounds: (1..12).map(f64::from).collect(),
            ..HistogramPoint::default()
        }
    };
    let data_points = (0..30).map(histogram).collect();
    let data = Data::Histogram(Histogram { data_points, aggregation_temporality: CUMULATIVE });
    let answer = send(&service, PATHS[0], &PROTOBUF, request(vec![Metric::new("h", "", data)])).await;
    let partial = ExportResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 20, "{}", partial.error_message);
}
