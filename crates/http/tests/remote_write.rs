//! Remote write: stored, repeated, refused in part and as a whole.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, request::Builder};
use common::{Answer, Service};
use metricsd_codec::remote_write::message::{
    BucketSpan, Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries, WriteRequest,
};
use metricsd_codec::remote_write::pack;
use metricsd_ingest::Limits;
use metricsd_model::{Batch, MatchOp, Matcher, MetricType, PromDuration, STALE_NAN_BITS};
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{
    ErrorKind, PortError, Receipt, SampleSink, SampleSource, SelectLimits, SelectedSeries, Selection,
};

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn post() -> Builder {
    Request::post("/api/v1/write")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries {
        labels: Label::list(labels.iter().copied()),
        samples: samples
            .iter()
            .map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp })
            .collect(),
        ..TimeSeries::default()
    }
}

fn request(timeseries: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { timeseries, metadata: Vec::new() }
}

async fn send(service: &Service, builder: Builder, body: Vec<u8>) -> Answer {
    service.send(builder.body(Body::from(body)).unwrap()).await
}

async fn write(service: &Service, request: &WriteRequest) -> Answer {
    send(service, post(), pack(&request.to_bytes()).unwrap()).await
}

async fn stored(service: &Service, name: &str) -> Vec<SelectedSeries> {
    let selection = Selection {
        matchers: vec![Matcher::equal("__name__", name)],
        start: i64::MIN / 2,
        end: i64::MAX / 2,
        limits: SelectLimits { max_series: 100, max_samples: 10_000 },
    };
    service.store.select(&selection).await.unwrap()
}

/// Limits without bounds in time.
fn timeless() -> Limits {
    let none = PromDuration::from_secs(0);
    Limits { max_sample_age: none, max_sample_future: none, ..Limits::default() }
}

#[tokio::test]
async fn samples_are_stored_and_found() {
    let service = Service::new();
    let at = now();
    let body = request(vec![
        series(
            &[("__name__", "up"), ("instance", "a:9100"), ("job", "node")],
            &[(at - 15_000, 1.0), (at, 0.0)],
        ),
        series(
            &[("job", "node"), ("__name__", "up"), ("instance", "b:9100")],
            &[(at, f64::from_bits(STALE_NAN_BITS))],
        ),
        series(&[("__name__", "größe"), ("ort.name", "Köln")], &[(at, f64::NAN)]),
    ]);
    let answer = write(&service, &body).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    let up = stored(&service, "up").await;
    assert_eq!(up.len(), 2);
    assert_eq!(up[0].labels.to_string(), r#"up{instance="a:9100",job="node"}"#);
    assert_eq!((&up[0].timestamps, &up[0].values), (&vec![at - 15_000, at], &vec![1.0, 0.0]));
    assert_eq!(up[1].values[0].to_bits(), STALE_NAN_BITS);
    assert!(stored(&service, "größe").await[0].values[0].is_nan());
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!((&jobs[0]["source_id"], &jobs[0]["metrics_collected"]), (&"remote_write".into(), &4.into()));
    let found = service.get("/api/v1/query?query=up").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "0");
}

#[tokio::test]
async fn the_same_request_is_stored_once() {
    let service = Service::new();
    let body = request(vec![series(&[("__name__", "a")], &[(now(), 1.0)])]);
    for _ in 0..3 {
        assert_eq!(write(&service, &body).await.status, 204);
    }
    let other = post().header("x-source-id", "other");
    assert_eq!(send(&service, other, pack(&body.to_bytes()).unwrap()).await.status, 204);
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 2);
    let page = service.get("/metrics").await;
    assert!(
        page.text().contains("metricsd_ingest_received_samples_total{protocol=\"remote_write\"} 4\n"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("metricsd_ingest_stored_samples_total{protocol=\"remote_write\"} 2\n"));
    assert!(page.text().contains("metricsd_ingest_duplicate_requests_total{protocol=\"remote_write\"} 2\n"));
}

#[tokio::test]
async fn a_writer_that_was_cut_off_for_hours_catches_up() {
    let service = Service::new();
    let at = now();
    let hours = |hours: i64| at - hours * 3_600_000;
    let samples = [(hours(23), 1.0), (hours(3), 2.0), (hours(2), 3.0), (at, 4.0)];
    let answer = write(&service, &request(vec![series(&[("__name__", "kept")], &samples)])).await;
    assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
    let kept = stored(&service, "kept").await;
    assert_eq!(kept[0].timestamps, samples.map(|(time, _)| time));
}

#[tokio::test]
async fn what_is_good_is_stored_when_the_rest_is_not() {
    let service = Service::new();
    let at = now();
    let body = request(vec![
        series(&[("__name__", "good"), ("l", "1")], &[(at, 1.0), (at, 1.0), (at, 2.0)]),
        series(
            &[("__name__", "good"), ("l", "2")],
            &[(at - 2 * 86_400_000, 1.0), (at + 7_200_000, 2.0), (at, 3.0)],
        ),
        series(&[("l", "nameless")], &[(at, 1.0)]),
        series(&[("__name__", "a"), ("l", "1"), ("l", "2")], &[(at, 1.0)]),
        series(&[("__name__", "a"), ("", "1")], &[(at, 1.0)]),
    ]);
    let answer = write(&service, &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "text/plain; charset=utf-8"));
    let text = answer.text();
    let counts = "6 of 9 samples were refused (duplicate 1, too_old 1, too_new 1, invalid_name 1, invalid_label 2), \
                  2 are stored; ";
    assert!(text.starts_with(counts), "{text}");
    for part in [
        "good{l=\"1\"} at ",
        "the same series has two values at this time",
        "older than 1d",
        "more than 10m ahead",
        "{l=\"nameless\"} at ",
        "there is no label __name__",
        "label \"l\" is given more than once",
        "a label name is empty",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let good = stored(&service, "good").await;
    assert_eq!((good.len(), good[0].values[0], good[1].values[0]), (2, 1.0, 3.0));
    assert!(stored(&service, "a").await.is_empty());
    let page = service.get("/metrics").await;
    assert!(page.text().contains(
        "metricsd_ingest_rejected_samples_total{protocol=\"remote_write\",reason=\"duplicate\"} 2\n"
    ));
}

#[tokio::test]
async fn a_value_given_twice_is_stored_once_and_is_no_fault() {
    let service = Service::new();
    let at = now();
    let twice = || series(&[("__name__", "a")], &[(at, f64::NAN)]);
    assert_eq!(write(&service, &request(vec![twice(), twice()])).await.status, 204);
    assert_eq!(stored(&service, "a").await[0].timestamps, [at]);
}

#[tokio::test]
async fn what_was_too_new_is_stored_when_it_is_sent_again_later() {
    let store = Arc::new(MemoryStore::new());
    let strict = Service::over(store.clone(), store.clone(), Limits::default(), |_| {});
    let patient = Service::over(store.clone(), store, timeless(), |_| {});
    let at = now();
    let body = request(vec![series(&[("__name__", "a")], &[(at, 1.0), (at + 7_200_000, 2.0)])]);
    assert_eq!(write(&strict, &body).await.status, 400);
    assert_eq!(stored(&strict, "a").await[0].values, [1.0]);
    assert_eq!(write(&patient, &body).await.status, 204);
    assert_eq!(stored(&strict, "a").await[0].values, [1.0, 2.0]);
}

#[tokio::test]
async fn without_bounds_samples_of_any_time_are_stored() {
    let service = Service::with_limits(timeless());
    let samples = [(-1, 1.0), (0, 2.0), (3_600_000, 3.0), (now() + 100 * 86_400_000, 4.0)];
    let body = request(vec![series(&[("__name__", "a")], &samples)]);
    assert_eq!(write(&service, &body).await.status, 204);
    assert_eq!(stored(&service, "a").await[0].values, [1.0, 2.0, 3.0, 4.0]);
    let body = request(vec![series(&[("__name__", "b")], &[(i64::MIN, 1.0), (i64::MAX, 2.0)])]);
    let answer = write(&service, &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("outside the years 1 to 9999"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_said_of_families_types_their_series() {
    let service = Service::new();
    let at = now();
    let family = |kind, name: &str, help: &str, unit: &str| MetricMetadata {
        kind,
        metric_family_name: name.into(),
        help: help.into(),
        unit: unit.into(),
    };
    let early = request(vec![series(&[("__name__", "late_total")], &[(at - 1, 1.0)])]);
    assert_eq!(write(&service, &early).await.status, 204);
    let metadata = vec![
        family(1, "late_total", "Late.", ""),
        family(3, "h_seconds", "Latency.", "seconds"),
        family(9, "odd", "", ""),
        family(1, "", "No name.", ""),
    ];
    let only = WriteRequest { timeseries: Vec::new(), metadata };
    assert_eq!(write(&service, &only).await.status, 204);
    assert_eq!(write(&service, &only).await.status, 204);
    let body = request(vec![
        series(&[("__name__", "late_total")], &[(at, 1.0)]),
        series(&[("__name__", "h_seconds_bucket"), ("le", "1")], &[(at, 1.0)]),
    ]);
    assert_eq!(write(&service, &body).await.status, 204);
    let any = [Matcher::new("__name__", MatchOp::Regex, ".+").unwrap()];
    let known = service.store.series(&any, 10).await.unwrap();
    let described: Vec<(&str, MetricType, Option<&str>, Option<&str>)> = known
        .iter()
        .map(|series| {
            (series.labels.metric_name(), series.metric_type, series.help.as_deref(), series.unit.as_deref())
        })
        .collect();
    let expected = [
        ("h_seconds_bucket", MetricType::Histogram, Some("Latency."), Some("seconds")),
        ("late_total", MetricType::Counter, Some("Late."), None),
    ];
    assert_eq!(described, expected);
    let found = service.get("/api/v1/metadata?metric=h_seconds").await.json();
    assert_eq!(found["data"]["h_seconds"][0]["help"], "Latency.");
}

/// Three observations in (1, 2], two of them in (2, 4], none below.
fn histogram(at: i64) -> Histogram {
    Histogram {
        count_int: Some(6),
        sum: 14.5,
        zero_threshold: 0.001,
        zero_count_int: Some(1),
        positive_spans: vec![BucketSpan { offset: 1, length: 2 }],
        positive_deltas: vec![3, -1],
        reset_hint: 2,
        timestamp: at,
        ..Histogram::default()
    }
}

#[tokio::test]
async fn native_histograms_are_stored() {
    let service = Service::new();
    let at = now();
    let of = |name: &str, histograms| TimeSeries {
        labels: Label::list([("__name__", name)]),
        histograms,
        ..TimeSeries::default()
    };
    let end = Histogram { sum: f64::from_bits(STALE_NAN_BITS), timestamp: at + 1, ..Histogram::default() };
    let miscounted = Histogram { count_int: Some(7), ..histogram(at) };
    let body = request(vec![of("h", vec![histogram(at), end]), of("bad", vec![miscounted])]);
    let answer = write(&service, &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("1 of 3 samples were refused (invalid_value 1), 2 are stored; bad at "));
    assert!(answer.text().contains("hold 6 observations, its count says 7"), "{}", answer.text());
    let found = stored(&service, "h").await;
    let (place, stored) = &found[0].histograms[0];
    assert_eq!((*place, &stored.positive_buckets, stored.count), (0, &vec![3.0, 2.0], 6.0));
    assert_eq!(found[0].values[1].to_bits(), STALE_NAN_BITS);
}

#[tokio::test]
async fn exemplars_come_along_and_bad_ones_harm_nothing() {
    let service = Service::new();
    let at = now();
    let exemplar = |value: &str, timestamp| Exemplar {
        labels: Label::list([("trace_id", value)]),
        value: 0.5,
        timestamp,
    };
    let mut with = series(&[("__name__", "a")], &[(at, 1.0)]);
    with.exemplars =
        vec![exemplar("abc", at), exemplar(&"x".repeat(200), at), exemplar("old", at - 2 * 86_400_000)];
    assert_eq!(write(&service, &request(vec![with])).await.status, 204);
    assert!(
        service
            .get("/metrics")
            .await
            .text()
            .contains("metricsd_ingest_dropped_exemplars_total{protocol=\"remote_write\"} 2\n")
    );
}

#[tokio::test]
async fn what_is_not_remote_write_is_refused() {
    let limits = Limits { max_write_samples: 3, max_decompressed_bytes: 4096, ..Limits::default() };
    let service = Service::with_limits(limits);
    let good = request(vec![series(&[("__name__", "a")], &[(now(), 1.0)])]).to_bytes();
    let packed = pack(&good).unwrap();
    let check = async |builder: Builder, body: Vec<u8>, status: u16, part: &str| {
        let answer = send(&service, builder, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "text/plain; charset=utf-8")
        );
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    };
    let typed = |name: &str| Request::post("/api/v1/write").header("content-type", name);
    check(typed("application/json"), packed.clone(), 415, "Content-Type is \"application/json\"").await;
    let second = "application/x-protobuf;proto=io.prometheus.write.v3.Request";
    check(typed(second), packed.clone(), 415, "remote write 1.0").await;
    let gzip = typed("application/x-protobuf").header("content-encoding", "gzip");
    check(gzip, packed.clone(), 415, "Content-Encoding is \"gzip\"; supported is snappy").await;
    check(post(), good.clone(), 400, "not a snappy block").await;
    check(post(), packed[..packed.len() - 3].to_vec(), 400, "not a snappy block").await;
    check(post(), pack(&good[..good.len() - 3]).unwrap(), 400, "the write request is cut short").await;
    check(post(), pack(b"\x0a\x02\x12\x7f").unwrap(), 400, "a time series is cut short").await;
    check(post(), pack(&[0; 5_000]).unwrap(), 413, "more than the limit of 4096").await;
    check(post(), vec![0xff, 0xff, 0xff, 0x7f], 413, "more than the limit").await;
    let many = request(vec![series(&[("__name__", "a")], &[(1, 1.0); 4])]).to_bytes();
    check(
        post(),
        pack(&many).unwrap(),
        413,
        "more than 3 samples, the bound set by limits.max_write_samples",
    )
    .await;
    let source = Request::post("/api/v1/write?source_id=a%20b");
    check(source, packed.clone(), 400, "source_id: ").await;
    for name in [
        "application/x-protobuf;proto=prometheus.WriteRequest",
        "Application/X-Protobuf; proto=\"prometheus.WriteRequest\"",
    ] {
        assert_eq!(send(&service, typed(name), packed.clone()).await.status, 204, "{name}");
    }
    assert_eq!(send(&service, Request::post("/api/v1/write?unknown=1"), packed).await.status, 204);
    assert_eq!(send(&service, post(), pack(b"").unwrap()).await.status, 204);
    assert_eq!(stored(&service, "a").await[0].timestamps.len(), 1);
}

struct Away;

#[async_trait]
impl SampleSink for Away {
    async fn append(&self, _: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "away"))
    }

    async fn ping(&self) -> Result<(), PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "away"))
    }
}

#[tokio::test]
async fn while_the_store_is_away_senders_are_told_to_come_back() {
    let service = Service::over(Arc::new(MemoryStore::new()), Arc::new(Away), Limits::default(), |_| {});
    let body = request(vec![series(&[("__name__", "a")], &[(now(), 1.0)])]);
    let answer = write(&service, &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"), "{}", answer.text());
    let closed = Service::with(|api| api.ingest = None);
    assert_eq!(write(&closed, &body).await.status, 503);
}
