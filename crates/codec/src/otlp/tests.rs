//! What the specification says of each kind of data point.

use std::collections::BTreeSet;

use metricsd_model::{STALE_NAN_BITS, is_stale};
use prost::Message;

use super::messages::*;
use super::*;
use crate::remote_write::message as written;

/// 2025-06-21T10:00:00Z.
pub(super) const NOW: i64 = 1_750_500_000_000;

pub(super) const fn nanos(millis: i64) -> u64 {
    millis.cast_unsigned() * 1_000_000
}

/// Converts a request; the body comes back as a message.
pub(super) fn converted(
    request: &ExportRequest,
    options: &OtlpOptions,
) -> (written::WriteRequest, Converted) {
    with_streams(request, options, None)
}

pub(super) fn with_streams(
    request: &ExportRequest,
    options: &OtlpOptions,
    streams: Option<&mut Streams>,
) -> (written::WriteRequest, Converted) {
    let body = request.to_bytes();
    let request = Request {
        body: &body,
        source_id: "s",
        received_at: NOW,
        earliest: NOW - 3_600_000,
        latest: i64::MAX,
    };
    let converted = convert(request, options, streams).unwrap();
    (written::WriteRequest::decode(converted.body.as_slice()).unwrap(), converted)
}

/// Series as text: labels in the order of their names, then samples.
pub(super) fn lines(request: &written::WriteRequest) -> Vec<String> {
    request.timeseries.iter().map(line).collect()
}

fn line(series: &written::TimeSeries) -> String {
    let mut labels: Vec<(&str, &str)> =
        series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
    labels.sort_unstable();
    let name = labels.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, value)| value);
    let others: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let samples: Vec<String> = series
        .samples
        .iter()
        .map(|sample| {
            let value = if is_stale(sample.value) { "stale".to_owned() } else { sample.value.to_string() };
            format!("{value}@{}", sample.timestamp - NOW)
        })
        .collect();
    format!("{name}{{{}}} {}", others.join(","), samples.join(" "))
}

pub(super) fn number(attributes: &[(&str, &str)], time: i64, value: f64) -> NumberPoint {
    NumberPoint {
        attributes: KeyValue::texts(attributes),
        time_unix_nano: nanos(time),
        value: Some(Number::Double(value)),
        ..NumberPoint::default()
    }
}

pub(super) fn counter(points: Vec<NumberPoint>) -> Data {
    Data::Sum(Sum { data_points: points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
}

pub(super) fn gauge(points: Vec<NumberPoint>) -> Data {
    Data::Gauge(Gauge { data_points: points })
}

fn check(resource: &[(&str, &str)], metrics: Vec<Metric>, options: &OtlpOptions, expected: &[&str]) {
    let request = ExportRequest::of(KeyValue::texts(resource), metrics);
    let (body, converted) = converted(&request, options);
    assert_eq!(lines(&body), expected);
    assert_eq!((converted.refused, converted.faults), (0, vec![]));
}

#[test]
fn numbers_become_gauges_and_counters() {
    let int = NumberPoint { value: Some(Number::Int(-3)), ..number(&[], NOW, 0.0) };
    let metrics = vec![
        Metric {
            description: "How warm it is.".to_owned(),
            ..Metric::new(
                "room.temperature",
                "Cel",
                gauge(vec![number(&[("room.name", "a")], NOW, 21.5), int]),
            )
        },
        Metric::new("requests", "{request}", counter(vec![number(&[("code", "200")], NOW + 1, 7.0)])),
        Metric::new(
            "queue",
            "1",
            Data::Sum(Sum {
                data_points: vec![number(&[], NOW, 2.0)],
                aggregation_temporality: CUMULATIVE,
                is_monotonic: false,
            }),
        ),
        Metric::new("load", "1", gauge(vec![number(&[], NOW, 0.5)])),
    ];
    let request = ExportRequest::of(Vec::new(), metrics);
    let (body, _) = converted(&request, &OtlpOptions::default());
    assert_eq!(
        lines(&body),
        [
            r#"room_temperature_celsius{room_name="a"} 21.5@0"#,
            "room_temperature_celsius{} -3@0",
            r#"requests_total{code="200"} 7@1"#,
            "queue{} 2@0",
            "load_ratio{} 0.5@0",
        ]
    );
    let said: Vec<_> = body
        .metadata
        .iter()
        .map(|entry| {
            (entry.metric_family_name.as_str(), entry.kind, entry.help.as_str(), entry.unit.as_str())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("room_temperature_celsius", 2, "How warm it is.", "celsius"),
            ("requests_total", 1, "", ""),
            ("queue", 2, "", ""),
            ("load_ratio", 2, "", ""),
        ]
    );
}

#[test]
fn histograms_become_buckets_that_count_all_below() {
    let point = HistogramPoint {
        attributes: KeyValue::texts(&[("le", "gone"), ("path", "/")]),
        time_unix_nano: nanos(NOW),
        count: 7,
        sum: Some(4.5),
        bucket_counts: vec![1, 2, 4],
        explicit_bounds: vec![0.5, 10.0],
        exemplars: vec![
            exemplar(10.0, &[("user", "u")]),
            exemplar(0.1, &[("user", &"x".repeat(100))]),
            exemplar(f64::NAN, &[]),
        ],
        ..HistogramPoint::default()
    };
    let histogram =
        |point| Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE });
    let metrics = vec![Metric::new("wait", "s", histogram(point.clone()))];
    let request = ExportRequest::of(Vec::new(), metrics);
    let (body, _) = converted(&request, &OtlpOptions::default());
    assert_eq!(
        lines(&body),
        [
            r#"wait_seconds_bucket{le="0.5",path="/"} 1@0"#,
            r#"wait_seconds_bucket{le="10.0",path="/"} 3@0"#,
            r#"wait_seconds_bucket{le="+Inf",path="/"} 7@0"#,
            r#"wait_seconds_sum{path="/"} 4.5@0"#,
            r#"wait_seconds_count{path="/"} 7@0"#,
        ]
    );
    let labels = |series: usize, exemplar: usize| -> Vec<(String, String)> {
        let labels = &body.timeseries[series].exemplars[exemplar].labels;
        labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let ids = [pair("trace_id", "000102030405060708090a0b0c0d0e0f"), pair("span_id", "ffffffffffffffff")];
    assert_eq!(labels(0, 0), ids, "attributes that make it too long are left out");
    assert_eq!(labels(1, 0), [&ids[..], &[pair("user", "u")]].concat());
    assert_eq!(body.timeseries[2].exemplars.len(), 1);
    assert_eq!(body.timeseries[1].exemplars[0].timestamp, NOW - 5);

    let options = OtlpOptions { custom_buckets: true, ..OtlpOptions::default() };
    let metrics = vec![Metric::new("wait", "s", histogram(point))];
    let (body, _) = converted(&ExportRequest::of(Vec::new(), metrics), &options);
    assert_eq!(body.timeseries.len(), 1);
    let native = &body.timeseries[0].histograms[0];
    assert_eq!((native.schema, native.count_float, native.sum), (-53, Some(7.0), 4.5));
    assert_eq!((&native.custom_values, &native.positive_counts), (&vec![0.5, 10.0], &vec![1.0, 2.0, 4.0]));
    assert_eq!(body.timeseries[0].exemplars.len(), 3);
    assert_eq!(lines(&body), [r#"wait_seconds{le="gone",path="/"} "#]);
}

fn exemplar(value: f64, attributes: &[(&str, &str)]) -> Exemplar {
    Exemplar {
        filtered_attributes: KeyValue::texts(attributes),
        time_unix_nano: nanos(NOW - 5),
        value: Some(Observed::Double(value)),
        span_id: vec![0xff; 8],
        trace_id: (0..16).collect(),
    }
}

pub(super) fn exponential(point: ExponentialPoint) -> Data {
    Data::Exponential(Exponential { data_points: vec![point], aggregation_temporality: CUMULATIVE })
}

#[test]
fn exponential_histograms_become_native_ones() {
    let buckets = |offset, counts: &[u64]| Some(Buckets { offset, bucket_counts: counts.to_vec() });
    let point = ExponentialPoint {
        time_unix_nano: nanos(NOW),
        count: 10,
        sum: Some(1.5),
        scale: 3,
        zero_count: 2,
        zero_threshold: 0.25,
        positive: buckets(-3, &[1, 0, 0, 2]),
        negative: buckets(0, &[5]),
        ..ExponentialPoint::default()
    };
    let native = |point: ExponentialPoint| {
        let metrics = vec![Metric::new("size", "By", exponential(point))];
        converted(&ExportRequest::of(Vec::new(), metrics), &OtlpOptions::default())
    };
    let (body, _) = native(point.clone());
    let histogram = &body.timeseries[0].histograms[0];
    // A bucket of OTLP is known by its lower bound, a native one by its upper.
    let span = |offset, length| written::BucketSpan { offset, length };
    assert_eq!(histogram.positive_spans, [span(-2, 1), span(2, 1)]);
    assert_eq!(histogram.negative_spans, [span(1, 1)]);
    assert_eq!((&histogram.positive_counts, &histogram.negative_counts), (&vec![1.0, 2.0], &vec![5.0]));
    assert_eq!((histogram.schema, histogram.sum, histogram.count_float), (3, 1.5, Some(10.0)));
    assert_eq!((histogram.zero_count_float, histogram.zero_threshold), (Some(2.0), 0.25));

    // Ten is two steps finer than native histograms: buckets 4..7 of base 2^(1/1024) become one of 2^(1/256).
    let fine = ExponentialPoint {
        scale: 10,
        positive: buckets(4, &[1, 1, 1, 1, 7]),
        count: 18,
        zero_threshold: 0.0,
        ..point.clone()
    };
    let (body, _) = native(fine);
    let histogram = &body.timeseries[0].histograms[0];
    assert_eq!((histogram.schema, &histogram.positive_counts), (8, &vec![4.0, 7.0]));
    assert_eq!((&histogram.positive_spans, histogram.zero_threshold), (&vec![span(2, 2)], 1e-128));

    for (point, said) in [
        (ExponentialPoint { scale: -5, ..point.clone() }, "coarser than -4"),
        (ExponentialPoint { positive: buckets(i32::MAX, &[1, 1]), ..point.clone() }, "beyond all numbers"),
    ] {
        let (body, converted) = native(point);
        assert_eq!((body.timeseries.len(), converted.refused), (0, 1));
        assert!(converted.faults[0].contains(said), "{:?}", converted.faults);
    }
    let ended = ExponentialPoint { flags: 1, ..point };
    assert_eq!(native(ended).0.timeseries[0].histograms[0].sum.to_bits(), STALE_NAN_BITS);
}

#[test]
fn summaries_become_quantiles() {
    let point = SummaryPoint {
        attributes: KeyValue::texts(&[("a", "b")]),
        time_unix_nano: nanos(NOW),
        count: 3,
        sum: 1.5,
        quantile_values: vec![
            Quantile { quantile: 0.5, value: 0.25 },
            Quantile { quantile: 1.0, value: 1.0 },
        ],
        ..SummaryPoint::default()
    };
    let metrics = vec![Metric::new("wait", "ms", Data::Summary(Summary { data_points: vec![point] }))];
    check(
        &[],
        metrics,
        &OtlpOptions::default(),
        &[
            r#"wait_milliseconds{a="b",quantile="0.5"} 0.25@0"#,
            r#"wait_milliseconds{a="b",quantile="1.0"} 1@0"#,
            r#"wait_milliseconds_sum{a="b"} 1.5@0"#,
            r#"wait_milliseconds_count{a="b"} 3@0"#,
        ],
    );
}

#[test]
fn what_was_not_recorded_ends_its_series() {
    let point = NumberPoint { flags: 1, value: None, ..number(&[], NOW, 0.0) };
    let histogram = HistogramPoint {
        flags: 1,
        time_unix_nano: nanos(NOW),
        explicit_bounds: vec![1.0],
        ..HistogramPoint::default()
    };
    let metrics = vec![
        Metric::new("a", "", counter(vec![point])),
        Metric::new(
            "h",
            "",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: CUMULATIVE }),
        ),
    ];
    check(
        &[],
        metrics,
        &OtlpOptions::default(),
        &[
            "a_total{} stale@0",
            r#"h_bucket{le="1.0"} stale@0"#,
            r#"h_bucket{le="+Inf"} stale@0"#,
            "h_sum{} stale@0",
            "h_count{} stale@0",
        ],
    );
}

pub(super) const SHOP: [(&str, &str); 5] = [
    ("service.name", "shop"),
    ("service.namespace", "eu"),
    ("service.instance.id", "i-1"),
    ("host.name", "h"),
    ("k8s.pod.name", "p"),
];

#[test]
fn resources_become_job_instance_and_target_info() {
    let metrics =
        || vec![Metric::new("a", "", gauge(vec![number(&[("job", "x"), ("host.name", "own")], NOW, 1.0)]))];
    let info = r#"target_info{host_name="h",instance="i-1",job="eu/shop",k8s_pod_name="p"} 1@0"#;
    let options = OtlpOptions::default();
    check(&SHOP, metrics(), &options, &[r#"a{host_name="own",instance="i-1",job="eu/shop"} 1@0"#, info]);
    let these = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    let chosen = Promotion::These(these(&["k8s.pod.name", "host.name"]));
    check(
        &SHOP,
        metrics(),
        &OtlpOptions { promotion: chosen, ..options.clone() },
        &[r#"a{host_name="own",instance="i-1",job="eu/shop",k8s_pod_name="p"} 1@0"#, info],
    );
    let all = Promotion::AllBut(these(&["host.name", "service.namespace"]));
    check(
        &SHOP,
        metrics(),
        &OtlpOptions { promotion: all, keep_identifying: true, ..options.clone() },
        &[
            r#"a{host_name="own",instance="i-1",job="eu/shop",k8s_pod_name="p",service_instance_id="i-1",service_name="shop"} 1@0"#,
            r#"target_info{host_name="h",instance="i-1",job="eu/shop",k8s_pod_name="p",service_instance_id="i-1",service_name="shop",service_namespace="eu"} 1@0"#,
        ],
    );
    // A resource of which nothing more is known, and one that has no name.
    check(&SHOP[..1], metrics(), &options, &[r#"a{host_name="own",job="shop"} 1@0"#]);
    check(&SHOP[3..], metrics(), &options, &[r#"a{host_name="own",job="x"} 1@0"#]);
}

#[test]
fn scopes_become_labels_where_they_are_asked_for() {
    let mut request = ExportRequest::of(
        Vec::new(),
        vec![Metric::new("a", "", gauge(vec![number(&[("otel.scope.name", "own")], NOW, 1.0)]))],
    );
    let scope = &mut request.resource_metrics[0].scope_metrics[0];
    scope.schema_url = "https://example.org/1".to_owned();
    scope.scope = Some(Scope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        attributes: KeyValue::texts(&[("short.name", "l")]),
    });
    let plain = converted(&request, &OtlpOptions::default()).0;
    assert_eq!(lines(&plain), [r#"a{otel_scope_name="own"} 1@0"#]);
    let options = OtlpOptions { scope_labels: true, ..OtlpOptions::default() };
    assert_eq!(
        lines(&converted(&request, &options).0),
        [
            r#"a{otel_scope_name="own",otel_scope_schema_url="https://example.org/1",otel_scope_short_name="l",otel_scope_version="1.2"} 1@0"#
        ]
    );
}

#[test]
fn attributes_of_every_kind_become_texts() {
    let any = |value| AnyValue { value: Some(value) };
    let list = Value::List(ArrayValue {
        values: vec![
            any(Value::Text("a\"\n\u{1}".to_owned())),
            any(Value::Int(-1)),
            any(Value::Double(f64::NAN)),
            AnyValue { value: None },
        ],
    });
    let map = Value::Map(KeyValueList {
        values: vec![KeyValue::of("z", Value::Bool(false)), KeyValue::of("a", list.clone())],
    });
    let attributes = vec![
        KeyValue::of("bool", Value::Bool(true)),
        KeyValue::of("int", Value::Int(i64::MIN)),
        KeyValue::of("double", Value::Double(0.1)),
        KeyValue::of("large", Value::Double(1e21)),
        KeyValue::of("bytes", Value::Bytes(vec![0, 255, 7, 1])),
        KeyValue::of("list", list),
        KeyValue::of("map", map),
        KeyValue::of("empty", Value::Text(String::new())),
        KeyValue { key: "none".to_owned(), value: None },
        KeyValue::of("", Value::Text("nameless".to_owned())),
    ];
    let point = NumberPoint { attributes, ..number(&[], NOW, 1.0) };
    let request = ExportRequest::of(Vec::new(), vec![Metric::new("a", "", gauge(vec![point]))]);
    let (body, _) = converted(&request, &OtlpOptions::default());
    let labels: Vec<(&str, &str)> =
        body.timeseries[0].labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
    let array = r#"["a\"\n\u0001",-1,"NaN",null]"#;
    assert_eq!(
        labels,
        [
            ("__name__", "a"),
            ("bool", "true"),
            ("bytes", "AP8HAQ=="),
            ("double", "0.1"),
            ("int", "-9223372036854775808"),
            ("large", "1e+21"),
            ("list", array),
            ("map", format!(r#"{{"a":{array},"z":false}}"#).as_str()),
        ]
    );
}

#[test]
fn attributes_of_one_label_are_joined_in_the_order_of_their_keys() {
    let attributes =
        [("b.c", "2"), ("x", "0"), ("b_c", "3"), ("b-c", "1"), ("x", "again"), ("__name__", "no")];
    check(
        &[],
        vec![Metric::new("a", "", gauge(vec![number(&attributes, NOW, 1.0)]))],
        &OtlpOptions::default(),
        &[r#"a{b_c="1;2;3",x="0"} 1@0"#],
    );
    let options = OtlpOptions { translation: Translation::NoTranslation, ..OtlpOptions::default() };
    check(
        &[],
        vec![Metric::new("a.b", "s", counter(vec![number(&attributes[..4], NOW, 1.0)]))],
        &options,
        &[r#"a.b{b-c="1",b.c="2",b_c="3",x="0"} 1@0"#],
    );
}
