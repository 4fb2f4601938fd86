//! Remote read: what remote write stored comes back.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_codec::remote_read::{
    LabelMatcher, Query, QueryResult, ReadRequest, decode_results, encode_read,
};
use metricsd_codec::remote_write::message::{BucketSpan, Histogram, Label, Sample, TimeSeries, WriteRequest};
use metricsd_codec::remote_write::{pack, unpack};
use metricsd_ingest::Limits;

fn matcher(kind: i32, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { kind, name: name.into(), value: value.into() }
}

fn query(matchers: Vec<LabelMatcher>) -> Query {
    Query { start_timestamp_ms: 0, end_timestamp_ms: i64::MAX / 2, matchers }
}

fn named(name: &str) -> Query {
    query(vec![matcher(0, "__name__", name)])
}

async fn ask(service: &Service, body: Vec<u8>) -> Answer {
    let request = Request::post("/api/v1/read")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("accept-encoding", "snappy");
    service.send(request.body(Body::from(body)).unwrap()).await
}

async fn read(service: &Service, queries: Vec<Query>) -> Vec<QueryResult> {
    let request = ReadRequest { queries, accepted_response_types: vec![1, 0] };
    let answer = ask(service, pack(&encode_read(&request)).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    assert_eq!(answer.header("content-encoding"), "snappy");
    decode_results(&unpack(&answer.body, 1 << 20).unwrap()).unwrap()
}

fn histogram(at: i64) -> Histogram {
    Histogram {
        count_float: Some(5.5),
        sum: 14.5,
        zero_threshold: 0.001,
        zero_count_float: Some(0.5),
        positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
        positive_counts: vec![3.0, 2.0],
        timestamp: at,
        ..Histogram::default()
    }
}

/// Three series of floats, one of histograms, at `at` and a second later.
async fn filled(at: i64, limits: Limits) -> Service {
    let service = Service::with_limits(limits);
    let samples = vec![Sample { value: 1.0, timestamp: at }, Sample { value: 2.0, timestamp: at + 1_000 }];
    let floats = |job: &str| TimeSeries {
        labels: Label::list([("__name__", "up"), ("job", job)]),
        samples: samples.clone(),
        ..TimeSeries::default()
    };
    let histograms = TimeSeries {
        labels: Label::list([("__name__", "h")]),
        histograms: vec![histogram(at), histogram(at + 1_000)],
        ..TimeSeries::default()
    };
    let timeseries = vec![floats("a"), floats("b"), floats("c"), histograms];
    let body = pack(&WriteRequest { timeseries, metadata: Vec::new() }.to_bytes()).unwrap();
    let answer = service.send(Request::post("/api/v1/write").body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    service
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[tokio::test]
async fn what_was_written_is_read_back() {
    let at = now();
    let service = filled(at, Limits::default()).await;
    let jobs = |result: &QueryResult| -> Vec<String> {
        result.timeseries.iter().map(|series| series.labels[1].value.clone()).collect()
    };
    let up = |kind, value: &str| query(vec![matcher(0, "__name__", "up"), matcher(kind, "job", value)]);
    let results =
        read(&service, vec![named("up"), up(0, "a"), up(1, "a"), up(2, "a|c"), up(3, "a|c"), named("none")])
            .await;
    let found: Vec<Vec<String>> = results.iter().map(jobs).collect();
    assert_eq!(found, [&["a", "b", "c"][..], &["a"], &["b", "c"], &["a", "c"], &["b"], &[]]);
    let first = &results[0].timeseries[0];
    let samples: Vec<(i64, f64)> = first.samples.iter().map(|s| (s.timestamp, s.value)).collect();
    assert_eq!(samples, [(at, 1.0), (at + 1_000, 2.0)]);
    assert_eq!(first.labels, Label::list([("__name__", "up"), ("job", "a")]));
    let results = read(&service, vec![named("h")]).await;
    assert_eq!(results[0].timeseries[0].histograms, [histogram(at), histogram(at + 1_000)]);
}

#[tokio::test]
async fn both_ends_of_the_range_belong_to_it() {
    let at = now();
    let service = filled(at, Limits::default()).await;
    let check = async |start, end, expected: &[i64]| {
        let range = Query { start_timestamp_ms: start, end_timestamp_ms: end, ..named("up") };
        let results = read(&service, vec![range]).await;
        let series = results[0].timeseries.first();
        let times: Vec<i64> =
            series.iter().flat_map(|series| &series.samples).map(|sample| sample.timestamp).collect();
        assert_eq!(times, expected, "{start} {end}");
    };
    check(at, at, &[at]).await;
    check(at + 1, at + 1_000, &[at + 1_000]).await;
    check(at + 1, at + 999, &[]).await;
    check(at + 1, at, &[]).await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let limits = Limits { max_query_samples: 8, ..Limits::default() };
    let service = filled(now(), limits).await;
    let check = async |body: Vec<u8>, status: u16, part: &str| {
        let answer = ask(&service, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "text/plain; charset=utf-8")
        );
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    };
    let packed = |request: &ReadRequest| pack(&encode_read(request)).unwrap();
    let of = |queries| packed(&ReadRequest { queries, accepted_response_types: Vec::new() });
    check(b"nonsense".to_vec(), 400, "").await;
    check(pack(b"nonsense").unwrap(), 400, "not a remote read request").await;
    check(of(vec![query(vec![matcher(7, "a", "b")])]), 400, "type 7 does not exist").await;
    check(of(vec![query(vec![matcher(2, "a", "(")])]), 400, "queries[0].matchers[0]").await;
    check(of(vec![named("up"), query(vec![matcher(2, "a", ".*")])]), 400, "queries[1]: needs at least one")
        .await;
    check(of(vec![named("up"), named("up")]), 400, "more than 2 samples").await;
    check(of((0..101).map(|_| named("up")).collect()), 400, "more than 100 queries").await;
    let streamed = ReadRequest { queries: vec![named("up")], accepted_response_types: vec![1] };
    check(packed(&streamed), 400, "supported is SAMPLES").await;
    check(pack(&vec![0; 2 << 20]).unwrap(), 413, "more than the limit").await;
}
