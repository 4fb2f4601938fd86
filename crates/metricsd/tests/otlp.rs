//! OpenTelemetry's metrics over HTTP and gRPC: what was sent is what queries say, whoever encodes it.

mod support;

use std::path::Path;
use std::time::Duration;

use metricsd_codec::otlp::answer::ExportResponse;
use metricsd_codec::otlp::messages::*;
use serde_json::{Value, json};
use support::{Folder, Node, Start, eventually, free_port};
use tokio::process::Command;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// A node that serves gRPC too.
struct Both {
    _folder: Folder,
    node: Node,
    grpc: String,
}

impl Both {
    async fn start(env: &[(&'static str, &str)]) -> Self {
        let folder = Folder::new();
        let grpc = format!("127.0.0.1:{}", free_port());
        let start = Start::new(&folder.0).env("METRICSD_GRPC_LISTEN", grpc.as_str());
        let start = env.iter().fold(start, |start, (name, value)| start.env(name, *value));
        let node = start.start().await;
        Self { node, grpc, _folder: folder }
    }

    /// Over HTTP, as protobuf.
    async fn post(&self, request: &ExportRequest) -> (u16, Vec<u8>) {
        let sent = self.node.http().post(self.node.url("/v1/metrics"));
        let sent = sent.header("content-type", "application/x-protobuf").body(request.to_bytes());
        let answer = sent.send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }

    async fn call(&self, request: ExportRequest) -> Result<ExportResponse, Status> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut client = tonic::client::Grpc::new(channel).send_compressed(CompressionEncoding::Gzip);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static(EXPORT);
        let codec = ProstCodec::<ExportRequest, ExportResponse>::default();
        Ok(client.unary(Request::new(request), path, codec).await?.into_inner())
    }

    /// The value of a query that answers one.
    async fn value(&self, query: &str) -> Option<f64> {
        let found = self.node.query(query).await;
        assert!(found.len() <= 1, "{query}: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    async fn check(&self, query: &str, expected: f64) {
        assert_eq!(self.value(query).await, Some(expected), "{query}");
    }
}

fn nanos(millis: i64) -> u64 {
    millis.cast_unsigned() * 1_000_000
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// One of each kind; `n` makes the values.
fn everything(job: &str, at: i64, n: u64) -> ExportRequest {
    let attributes = KeyValue::texts(&[("http.method", "GET")]);
    let number = |value: Number| NumberPoint {
        attributes: attributes.clone(),
        time_unix_nano: nanos(at),
        value: Some(value),
        ..NumberPoint::default()
    };
    let histogram = HistogramPoint {
        attributes: attributes.clone(),
        time_unix_nano: nanos(at),
        count: 3 * n,
        sum: Some(n as f64 * 2.5),
        bucket_counts: vec![n, n, n],
        explicit_bounds: vec![0.5, 1.0],
        ..HistogramPoint::default()
    };
    let exponential = ExponentialPoint {
        attributes: attributes.clone(),
        time_unix_nano: nanos(at),
        count: 4 * n,
        sum: Some(n as f64),
        scale: 0,
        zero_count: n,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![n, 2 * n] }),
        ..ExponentialPoint::default()
    };
    let summary = SummaryPoint {
        attributes: attributes.clone(),
        time_unix_nano: nanos(at),
        count: n,
        sum: n as f64,
        quantile_values: vec![Quantile { quantile: 0.9, value: 0.7 }],
        ..SummaryPoint::default()
    };
    let counted = Sum {
        data_points: vec![number(Number::Int(n.cast_signed()))],
        aggregation_temporality: CUMULATIVE,
        is_monotonic: true,
    };
    let metrics = vec![
        Metric::new("requests", "", Data::Sum(counted)),
        Metric::new(
            "level",
            "1",
            Data::Gauge(Gauge { data_points: vec![number(Number::Double(n as f64 / 2.0))] }),
        ),
        Metric::new(
            "wait",
            "s",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: CUMULATIVE }),
        ),
        Metric::new(
            "size",
            "By",
            Data::Exponential(Exponential {
                data_points: vec![exponential],
                aggregation_temporality: CUMULATIVE,
            }),
        ),
        Metric::new("old", "", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let resource = [("service.name", job), ("service.instance.id", "i"), ("host.name", "h")];
    ExportRequest::of(KeyValue::texts(&resource), metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_what_queries_say() {
    let both = Both::start(&[]).await;
    let at = now();
    assert_eq!(both.post(&everything("http", at, 10)).await, (200, Vec::new()));
    assert_eq!(both.call(everything("grpc", at, 30)).await.unwrap(), ExportResponse::whole());
    for (job, n) in [("http", 10.0), ("grpc", 30.0)] {
        let of = format!("{{job={job:?},instance=\"i\",http_method=\"GET\"}}");
        both.check(&format!("requests_total{of}"), n).await;
        both.check(&format!("level_ratio{of}"), n / 2.0).await;
        both.check(&format!("sum(wait_seconds_bucket{{job={job:?},le=\"1.0\"}})"), 2.0 * n).await;
        both.check(&format!("wait_seconds_sum{of}"), n * 2.5).await;
        both.check(&format!("wait_seconds_count{of}"), 3.0 * n).await;
        both.check(&format!("histogram_count(size_bytes{of})"), 4.0 * n).await;
        both.check(&format!("histogram_fraction(1, 2, size_bytes{of})"), 0.25).await;
        both.check(&format!("old{{job={job:?},quantile=\"0.9\"}}"), 0.7).await;
        both.check(&format!("target_info{{job={job:?},host_name=\"h\"}}"), 1.0).await;
    }
    let (_, metadata) = both.node.get("/api/v1/metadata?metric=wait_seconds").await;
    assert_eq!(metadata["data"]["wait_seconds"][0]["type"], "histogram", "{metadata}");
    assert_eq!(metadata["data"]["wait_seconds"][0]["unit"], "seconds");
    let (_, jobs) = both.node.get("/api/v1/metrics/jobs").await;
    assert_eq!(jobs.as_array().unwrap().len(), 2, "{jobs}");
    assert_eq!(
        (&jobs[0]["source_id"], &jobs[0]["collection_method"]),
        (&json!("otlp"), &json!("PUSH_GATEWAY"))
    );

    // What was stored is not stored again.
    both.call(everything("grpc", at, 30)).await.unwrap();
    assert_eq!(both.node.get("/api/v1/metrics/jobs").await.1.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_are_added_up_where_they_are_to_be() {
    let both = Both::start(&[("METRICSD_OTLP_DELTA_TO_CUMULATIVE", "true")]).await;
    let at = now();
    let delta = |time: i64, value: i64| {
        let point = NumberPoint {
            start_time_unix_nano: nanos(time - 1_000),
            time_unix_nano: nanos(time),
            value: Some(Number::Int(value)),
            ..NumberPoint::default()
        };
        let sum = Sum { data_points: vec![point], aggregation_temporality: DELTA, is_monotonic: true };
        ExportRequest::of(Vec::new(), vec![Metric::new("events", "", Data::Sum(sum))])
    };
    assert_eq!(both.call(delta(at - 2_000, 5)).await.unwrap(), ExportResponse::whole());
    assert_eq!(both.post(&delta(at - 1_000, 7)).await.0, 200);
    // A repetition adds nothing.
    assert_eq!(both.post(&delta(at - 1_000, 7)).await, (200, Vec::new()));
    both.check("events_total", 12.0).await;
    let partial = both.call(delta(at - 1_500, 1)).await.unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_answers_what_is_under_way() {
    let mut both = Both::start(&[]).await;
    both.call(everything("a", now(), 1)).await.unwrap();
    let (took, status) = both.node.terminate().await;
    assert!(status.success() && took < Duration::from_secs(8), "{status} after {took:?}");
}

/// What the SDK counted, once it has exported; `None` where Python or its packages cannot be had here.
async fn sdk(kind: &str, endpoint: &str) -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages =
        "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http opentelemetry-exporter-otlp-proto-grpc";
    let done = Command::new(root.join("../../scripts/with_python.sh"))
        .args(["otlp", packages])
        .arg(root.join("tests/clients/otlp_sdk.py"))
        .args([kind, endpoint])
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await
        .unwrap();
    let (out, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.code() == Some(77) {
        eprintln!("not compared with OpenTelemetry's SDK: {log}");
        return None;
    }
    assert!(done.status.success(), "{log}");
    Some(serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out}\n{log}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetrys_sdk_sends_what_it_counts() {
    let both = Both::start(&[]).await;
    // One after the other: the first makes the environment.
    let Some(over_grpc) = sdk("grpc", &format!("http://{}", both.grpc)).await else { return };
    let over_http = sdk("http", &both.node.url("/v1/metrics")).await.expect("the same environment");
    for (kind, sent) in [("grpc", over_grpc), ("http", over_http)] {
        assert_eq!(sent["exported"], true, "{kind}: {sent}");
        let sent = |name: &str| sent[name].as_f64().unwrap();
        let job = format!("job=\"eu/shop-{kind}\",instance=\"i-1\"");
        for method in ["card", "cash"] {
            both.check(&format!("orders_total{{{job},payment_method={method:?}}}"), sent(method)).await;
        }
        both.check(&format!("queue_length{{{job}}}"), sent("queue")).await;
        both.check(&format!("room_temperature_celsius{{{job},room_name=\"kitchen\"}}"), 21.5).await;
        both.check(&format!("room_temperature_celsius{{{job},room_name=\"cellar\"}}"), -3.0).await;
        let sum = both.value(&format!("wait_seconds_sum{{{job}}}")).await.unwrap();
        assert!((sum - sent("wait")).abs() < 1e-6, "{sum}");
        for (le, count) in [("0.1", 1.0), ("1.0", 10.0), ("10.0", 100.0), ("+Inf", 100.0)] {
            both.check(&format!("wait_seconds_bucket{{{job},le={le:?}}}"), count).await;
        }
        both.check(&format!("histogram_sum(payload_size_bytes{{{job}}})"), sent("size")).await;
        both.check(&format!("histogram_count(payload_size_bytes{{{job}}})"), 100.0).await;
        let median =
            both.value(&format!("histogram_quantile(0.5, payload_size_bytes{{{job}}})")).await.unwrap();
        assert!((45.0..56.0).contains(&median), "{median}");
        both.check(&format!("target_info{{{job},host_name=\"h-1\"}}"), 1.0).await;
        both.exemplars(kind).await;
    }
}

impl Both {
    /// The exemplars of what was counted under a span.
    async fn exemplars(&self, kind: &str) {
        let query = format!("orders_total{{job=\"eu/shop-{kind}\"}}");
        let (start, end) = ((now() / 1000 - 600).to_string(), (now() / 1000 + 60).to_string());
        let found = eventually("exemplars", 10, async || {
            let request = self.node.http().get(self.node.url("/api/v1/query_exemplars"));
            let form = [("query", query.as_str()), ("start", start.as_str()), ("end", end.as_str())];
            let (status, answer) = self.node.send(request.query(&form)).await;
            assert_eq!(status, 200, "{answer}");
            Some(answer["data"].clone()).filter(|data| data.as_array().is_some_and(|data| !data.is_empty()))
        })
        .await;
        let labels = &found[0]["exemplars"][0]["labels"];
        assert_eq!(labels["trace_id"], "0102030405060708090a0b0c0d0e0f10", "{found}");
        assert_eq!(labels["span_id"], "1112131415161718");
    }
}
