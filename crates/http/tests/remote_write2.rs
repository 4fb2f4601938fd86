//! Remote write 2.0 through the routes: negotiated, stored, counted in the answer.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_codec::remote_write::{message::BucketSpan, pack};
use metricsd_codec::remote_write2::message::{
    Exemplar, Histogram, Metadata, Request as Message, Sample, TimeSeries,
};

const TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

async fn send(service: &Service, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(path)
        .header("content-type", media_type)
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "2.0.0");
    service.send(request.body(Body::from(body)).unwrap()).await
}

async fn write(service: &Service, path: &str, message: &Message) -> Answer {
    send(service, path, TYPE, pack(&message.to_bytes()).unwrap()).await
}

/// Samples, histograms and exemplars that the answer says were written.
fn counts(answer: &Answer) -> [u64; 3] {
    ["samples", "histograms", "exemplars"]
        .map(|kind| answer.header(&format!("x-prometheus-remote-write-{kind}-written")).parse().unwrap())
}

fn sample(timestamp: i64, value: f64, start_timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp }
}

fn message(at: i64) -> Message {
    let mut message = Message::default();
    let help_ref = message.symbol("How many.");
    let counter = message.labels([("__name__", "orders_total"), ("till", "7")]);
    let native = message.labels([("__name__", "took_seconds")]);
    let trace = message.labels([("trace_id", "abc")]);
    message.timeseries = vec![
        TimeSeries {
            labels_refs: counter,
            samples: vec![sample(at - 1_000, 1.0, at - 60_000), sample(at, 2.0, at - 60_000)],
            exemplars: vec![Exemplar { labels_refs: trace, value: 1.0, timestamp: at }],
            metadata: Some(Metadata { kind: 1, help_ref, unit_ref: 0 }),
            ..TimeSeries::default()
        },
        TimeSeries {
            labels_refs: native,
            histograms: vec![Histogram {
                count_int: Some(3),
                sum: 4.5,
                schema: 0,
                positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
                positive_deltas: vec![1, 1],
                timestamp: at,
                start_timestamp: at - 60_000,
                ..Histogram::default()
            }],
            ..TimeSeries::default()
        },
    ];
    message
}

#[tokio::test]
async fn a_request_is_stored_and_counted() {
    let service = Service::new();
    let answer = write(&service, "/api/v1/write?source_id=shop", &message(now())).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    assert_eq!(counts(&answer), [2, 1, 1]);
    let found = service.get("/api/v1/query?query=orders_total").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "2");
    let found = service.get("/api/v1/query?query=histogram_count(took_seconds)").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "3");
    let said = service.get("/api/v1/metadata?metric=orders_total").await.json();
    assert_eq!(said["data"]["orders_total"][0]["help"], "How many.");
    let examples =
        service.get("/api/v1/query_exemplars?query=orders_total&start=0&end=9999999999").await.json();
    assert_eq!(examples["data"][0]["exemplars"][0]["labels"]["trace_id"], "abc");
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!((jobs.as_array().unwrap().len(), &jobs[0]["source_id"]), (1, &"shop".into()));
}

#[tokio::test]
async fn a_repeated_request_says_the_same() {
    let service = Service::new();
    let message = message(now());
    for _ in 0..2 {
        let answer = write(&service, "/api/v1/write", &message).await;
        assert_eq!((answer.status.as_u16(), counts(&answer)), (204, [2, 1, 1]));
    }
    let found = service.get("/api/v1/query?query=count_over_time(orders_total[5m])").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "2");
}

#[tokio::test]
async fn what_is_refused_in_part_is_counted_too() {
    let service = Service::new();
    let mut message = message(now());
    message.timeseries[0].samples[0].timestamp -= 2 * 86_400_000;
    message.timeseries[1].histograms[0].positive_deltas = vec![9, 9];
    let nameless = message.labels([("job", "x")]);
    message.timeseries.push(TimeSeries {
        labels_refs: nameless,
        samples: vec![sample(now(), 1.0, 0)],
        ..TimeSeries::default()
    });
    let answer = write(&service, "/api/v1/write", &message).await;
    assert_eq!((answer.status.as_u16(), counts(&answer)), (400, [1, 0, 1]));
    let text = answer.text();
    assert!(text.starts_with("3 of 4 samples were refused"), "{text}");
}

#[tokio::test]
async fn beginnings_are_samples_of_nothing_where_that_is_asked_for() {
    let service = Service::new();
    let at = now();
    let count = async |metric: &str| {
        let found = service.get(&format!("/api/v1/query?query=count_over_time({metric}[10m])")).await.json();
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let path = "/api/v1/write?created_timestamp_zero=true";
    let answer = write(&service, path, &message(at)).await;
    assert_eq!((answer.status.as_u16(), counts(&answer)), (204, [2, 1, 1]));
    assert_eq!(
        (count("orders_total").await.as_deref(), count("took_seconds").await.as_deref()),
        (Some("3"), Some("2"))
    );
    // The next request says the same beginning.
    let mut next = message(at);
    next.timeseries.iter_mut().for_each(|series| {
        series.samples.iter_mut().for_each(|sample| sample.timestamp += 2);
        series.histograms.iter_mut().for_each(|histogram| histogram.timestamp += 2);
    });
    let answer = write(&service, path, &next).await;
    assert_eq!(answer.status, 204);
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 3, "two requests and one collection of beginnings");
    let found = service.get("/api/v1/query?query=min_over_time(orders_total[10m])").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "0");
    let refused = write(&service, "/api/v1/write?created_timestamp_zero=yes", &message(at)).await;
    assert_eq!((refused.status.as_u16(), counts(&refused)), (400, [0, 0, 0]));
}

#[tokio::test]
async fn what_is_not_known_is_refused_by_its_type() {
    let service = Service::new();
    let body = pack(&message(now()).to_bytes()).unwrap();
    for media_type in ["application/x-protobuf;proto=io.prometheus.write.v3.Request", "application/json"] {
        let answer = send(&service, "/api/v1/write", media_type, body.clone()).await;
        assert_eq!(answer.status, 415);
        assert!(answer.text().contains("proto=io.prometheus.write.v2.Request"), "{}", answer.text());
    }
    // As 1.0 the message says nothing; a block that is damaged is refused.
    let answer = send(&service, "/api/v1/write", "application/x-protobuf", body.clone()).await;
    assert_eq!(answer.status, 204);
    let answer = send(&service, "/api/v1/write", TYPE, body[..body.len() / 2].to_vec()).await;
    assert_eq!((answer.status.as_u16(), counts(&answer)), (400, [0, 0, 0]));
}
