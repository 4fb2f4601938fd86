//! What cannot be stored and what does not read; JSON; what senders are answered.

use std::collections::BTreeSet;

use prost::Message;

use super::messages::*;
use super::tests::{NOW, SHOP, converted, gauge, lines, nanos, number};
use super::*;
use crate::remote_write::message as written;

#[test]
fn what_cannot_be_stored_is_counted_and_harms_nobody() {
    let delta = Data::Sum(Sum {
        data_points: vec![number(&[], NOW, 1.0), number(&[], NOW, 2.0)],
        aggregation_temporality: DELTA,
        is_monotonic: true,
    });
    let unspecified = Data::Histogram(Histogram {
        data_points: vec![HistogramPoint::default()],
        aggregation_temporality: 0,
    });
    let bounded = |bucket_counts: Vec<u64>, explicit_bounds: Vec<f64>, count| {
        let time_unix_nano = nanos(NOW);
        let point =
            HistogramPoint { time_unix_nano, count, bucket_counts, explicit_bounds, ..Default::default() };
        Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE })
    };
    let many: Vec<KeyValue> = (0..1_025).map(|n| KeyValue::of(&n.to_string(), Value::Int(n))).collect();
    let metrics = vec![
        Metric::new("d", "", delta),
        Metric::new("u", "", unspecified),
        Metric::new("日本", "", gauge(vec![number(&[], NOW, 1.0)])),
        Metric::new("timeless", "", gauge(vec![NumberPoint { time_unix_nano: 0, ..number(&[], NOW, 1.0) }])),
        Metric::new("empty", "", gauge(vec![NumberPoint { value: None, ..number(&[], NOW, 1.0) }])),
        Metric::new("h1", "", bounded(vec![1], vec![1.0], 1)),
        Metric::new("h2", "", bounded(vec![1, 1, 1], vec![2.0, 1.0], 3)),
        Metric::new("h3", "", bounded(vec![1, 1], vec![f64::INFINITY], 2)),
        Metric::new("h4", "", bounded(vec![2, 1], vec![1.0], 2)),
        Metric::new("many", "", gauge(vec![NumberPoint { attributes: many, ..number(&[], NOW, 1.0) }])),
        Metric { data: None, ..Metric::new("nothing", "", delta_free()) },
        Metric::new("good", "", bounded(Vec::new(), Vec::new(), 2)),
    ];
    let (body, converted) = converted(&ExportRequest::of(Vec::new(), metrics), &OtlpOptions::default());
    assert_eq!(lines(&body), [r#"good_bucket{le="+Inf"} 2@0"#, "good_count{} 2@0"]);
    assert_eq!((converted.points, converted.refused), (12, 11));
    let said = converted.faults.join("\n");
    for part in [
        "d: it has delta temporality",
        "u: its aggregation temporality is not given",
        "日本: the name of the metric",
        "timeless: a data point has no time",
        "empty: a data point has no value",
        "h1: a data point has 1 bounds and 1 buckets",
        "h2: the bounds of a data point do not rise",
        "h3: a bound of a data point is not a finite number",
        "h4: the buckets of a data point hold 3 observations, its count says 2",
        "many: a data point has more than 1024 attributes",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    // Both series of the good data point, and one that there is not.
    assert_eq!(converted.rejected([0, 1, 7]), 12);
    assert_eq!(converted.rejected([]), 11);
}

fn delta_free() -> Data {
    gauge(Vec::new())
}

#[test]
fn a_request_that_becomes_too_large_is_refused() {
    let options = OtlpOptions {
        promotion: Promotion::AllBut(BTreeSet::new()),
        max_bytes: 100_000,
        ..OtlpOptions::default()
    };
    let resource = KeyValue::texts(&[("large", &"x".repeat(1_000))]);
    let points = |count: usize| (0..count).map(|_| number(&[], NOW, 1.0)).collect();
    let request =
        |count| ExportRequest::of(resource.clone(), vec![Metric::new("a", "", gauge(points(count)))]);
    assert_eq!(converted(&request(90), &options).0.timeseries.len(), 90);
    let body = request(200).to_bytes();
    let request = Request { body: &body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
    assert_eq!(convert(request, &options, None).unwrap_err(), OtlpError::TooLarge { limit: 100_000 });
}

#[test]
fn labels_of_a_resource_are_not_repeated_without_end() {
    let options = OtlpOptions {
        promotion: Promotion::AllBut(BTreeSet::new()),
        max_bytes: 100_000,
        ..OtlpOptions::default()
    };
    let resource = KeyValue::texts(&[("large", &"x".repeat(10_000))]);
    let read = |body: &[u8]| {
        let request = Request { body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
        convert(request, &options, None).map(|converted| (converted.points, converted.refused))
    };
    let scopes = |metrics: Vec<Metric>| {
        let mut request = ExportRequest::of(resource.clone(), Vec::new());
        let scope = ScopeMetrics { scope: None, metrics, schema_url: String::new() };
        request.resource_metrics[0].scope_metrics = vec![scope; 10_000];
        request.to_bytes()
    };
    assert_eq!(read(&scopes(Vec::new())), Ok((0, 0)));
    let too_large = Err(OtlpError::TooLarge { limit: 100_000 });
    assert_eq!(read(&scopes(vec![Metric { data: None, ..Metric::new("", "", delta_free()) }])), too_large);
    let request = |value: Option<NumberPoint>, count: usize| {
        let points = vec![value.unwrap_or(NumberPoint { value: None, ..number(&[], NOW, 1.0) }); count];
        ExportRequest::of(resource.clone(), vec![Metric::new("a", "", gauge(points))]).to_bytes()
    };
    // What is refused anyway is not named before.
    assert_eq!(read(&request(None, 1_000)), Ok((1_000, 1_000)));
    assert_eq!(read(&request(Some(number(&[], NOW, 1.0)), 1_000)), too_large);
}

#[test]
fn json_says_the_same() {
    let json = r#"{"resourceMetrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"shop"}},{"key":"n","value":{"intValue":"5"}}],"droppedAttributesCount":1},
      "scopeMetrics":[{"scope":{"name":"x"},"unknown":{"deep":[1,{}]},"metrics":[
        {"sum":{"isMonotonic":true,"dataPoints":[{"asInt":"9007199254740993","timeUnixNano":"1750500000000000000",
           "attributes":[{"key":"b","value":{"boolValue":false}},{"key":"y","value":{"bytesValue":"AP8HAQ=="}},
             {"key":"l","value":{"arrayValue":{"values":[{"doubleValue":"NaN"},{"intValue":3}]}}},
             {"key":"k","value":{"kvlistValue":{"values":[{"key":"q","value":null}]}}}],
           "exemplars":[{"asDouble":1,"traceId":"000102030405060708090A0B0C0D0E0F","spanId":"ffffffffffffffff"}]}],
           "aggregationTemporality":2},"name":"orders","unit":"1"},
        {"name":"g","gauge":{"dataPoints":[{"asDouble":0,"timeUnixNano":1750500000000000000},{"flags":1,"timeUnixNano":"1750500000001000000"}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1750500000000000000",
          "count":"3","scale":-1,"zeroCount":0,"positive":{"offset":-2,"bucketCounts":["1",2]},"min":null}]}}]}]}]}"#;
    let body = protobuf_of_json(json.as_bytes()).unwrap();
    let request = Request { body: &body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
    let converted = convert(request, &OtlpOptions::default(), None).unwrap();
    let written = written::WriteRequest::decode(converted.body.as_slice()).unwrap();
    assert_eq!(
        lines(&written),
        [
            r#"orders_total{b="false",job="shop",k="{\"q\":null}",l="[\"NaN\",3]",y="AP8HAQ=="} 9007199254740992@0"#,
            r#"g{job="shop"} 0@0"#,
            r#"g{job="shop"} stale@1"#,
            r#"e{job="shop"} "#,
            r#"target_info{job="shop",n="5"} 1@1"#,
        ]
    );
    let exemplar = &written.timeseries[0].exemplars[0];
    assert_eq!(
        (exemplar.value, exemplar.labels[0].value.as_str()),
        (1.0, "000102030405060708090a0b0c0d0e0f")
    );
    let histogram = &written.timeseries[3].histograms[0];
    assert_eq!((histogram.schema, &histogram.positive_counts), (-1, &vec![1.0, 2.0]));
    assert_eq!(histogram.positive_spans, [written::BucketSpan { offset: -1, length: 2 }]);
}

#[test]
fn buckets_of_a_data_point_are_bounded_before_they_are_kept() {
    // A bucket takes a byte in the request and eight in memory.
    let point = |buckets: usize| {
        let positive = Some(Buckets { offset: 0, bucket_counts: vec![0; buckets] });
        let time_unix_nano = nanos(NOW);
        let point = ExponentialPoint { time_unix_nano, positive, ..ExponentialPoint::default() };
        let data = Exponential { data_points: vec![point], aggregation_temporality: CUMULATIVE };
        let body =
            ExportRequest::of(Vec::new(), vec![Metric::new("e", "", Data::Exponential(data))]).to_bytes();
        let request = Request { body: &body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
        convert(request, &OtlpOptions::default(), None).map(|converted| converted.points)
    };
    assert_eq!(point(65_536), Ok(1));
    assert!(point(65_537).unwrap_err().to_string().contains("more than 65536 buckets"));
}

#[test]
fn bytes_in_json_are_read_in_either_alphabet() {
    for (text, expected) in [
        ("AP8HAQ==", Some("AP8HAQ==")),
        ("AP8HAQ", Some("AP8HAQ==")),
        ("-_8=", Some("+/8=")),
        ("+/9", Some("+/8=")),
        ("", Some("")),
        ("A", None),
        ("AP8H*Q==", None),
    ] {
        let attribute = format!(r#""attributes":[{{"key":"k","value":{{"bytesValue":"{text}"}}}}]"#);
        let json = point(&format!(r#"{attribute},"asInt":1,"timeUnixNano":"1750500000000000000""#));
        let read = protobuf_of_json(json.replace("\"gauge\"", "\"name\":\"g\",\"gauge\"").as_bytes());
        let found = read.ok().map(|body| {
            let request =
                Request { body: &body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
            let converted = convert(request, &OtlpOptions::default(), None).unwrap();
            let written = written::WriteRequest::decode(converted.body.as_slice()).unwrap();
            let labels = &written.timeseries[0].labels;
            labels.iter().find(|label| label.name == "k").map_or(String::new(), |label| label.value.clone())
        });
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

#[test]
fn json_that_does_not_read_says_where() {
    for (json, said) in [
        ("", "EOF while parsing"),
        ("[]", "expected an object (ExportMetricsServiceRequest)"),
        (r#"{"resourceMetrics":{}}"#, "resourceMetrics is a list"),
        (r#"{"resourceMetrics":[3]}"#, "expected an object for resourceMetrics"),
        (r#"{"resourceMetrics":[{"resource":[]}]}"#, "expected an object for resource"),
        (r#"{"resourceMetrics":[{"schemaUrl":7}]}"#, "expected a text for schemaUrl"),
        (r#"{"resourceMetrics":[]} {}"#, "trailing characters"),
        (&point(r#""timeUnixNano":"-1""#), "out of range for timeUnixNano"),
        (&point(r#""timeUnixNano":"soon""#), "expected a whole number for timeUnixNano"),
        (&point(r#""timeUnixNano":1.5"#), "expected a whole number for timeUnixNano"),
        (&point(r#""asDouble":"x""#), "expected a number for asDouble"),
        (&point(r#""flags":4294967296"#), "out of range for flags"),
        (&point(r#""exemplars":[{"traceId":"zz"}]"#), "expected hexadecimal digits for traceId"),
    ] {
        let error = protobuf_of_json(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(said), "{json}: {error}");
    }
    assert!(protobuf_of_json(br#"{"resourceMetrics":null}"#).unwrap().is_empty());
    let deep = format!("{}{}", r#"{"a":"#.repeat(500), "}".repeat(500));
    assert!(protobuf_of_json(deep.as_bytes()).is_err());
}

fn point(field: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{{{field}}}]}}}}]}}]}}]}}"#
    )
}

#[test]
fn bodies_that_do_not_read_are_refused_as_a_whole() {
    let refused = |body: &[u8]| {
        let request = Request { body, source_id: "", received_at: NOW, earliest: 0, latest: i64::MAX };
        convert(request, &OtlpOptions::default(), None).unwrap_err().to_string()
    };
    let good = ExportRequest::of(
        KeyValue::texts(&SHOP),
        vec![Metric::new("a", "", gauge(vec![number(&[("k", "v")], NOW, 1.0)]))],
    );
    let whole = good.to_bytes();
    for length in 1..whole.len() {
        assert!(refused(&whole[..length]).contains("at byte"), "{length}");
    }
    let spoilt = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    assert!(refused(&spoilt(b"shop", b"sh\xffp")).contains("not UTF-8"));
    let mut deep = AnyValue { value: Some(Value::Int(1)) };
    for _ in 0..40 {
        deep = AnyValue { value: Some(Value::List(ArrayValue { values: vec![deep] })) };
    }
    let attributes = vec![KeyValue { key: "deep".to_owned(), value: Some(deep) }];
    assert!(refused(&ExportRequest::of(attributes, Vec::new()).to_bytes()).contains("too deep"));
}

#[test]
fn answers_are_what_senders_expect() {
    use super::answer::{Code, Delay, ExportResponse, RetryInfo, Status};
    assert!(ExportResponse::whole().encode_to_vec().is_empty());
    assert_eq!(ExportResponse::whole().to_json().to_string(), "{}");
    let partial = ExportResponse::partial(3, "too old".to_owned());
    assert_eq!(
        partial.to_json().to_string(),
        r#"{"partialSuccess":{"errorMessage":"too old","rejectedDataPoints":"3"}}"#
    );
    assert_eq!(ExportResponse::decode(partial.encode_to_vec().as_slice()), Ok(partial));
    let status = Status::new(Code::Unavailable, "later", Some(7));
    assert_eq!(status.to_json().to_string(), r#"{"code":14,"message":"later"}"#);
    let detail = &status.details[0];
    assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let info = RetryInfo::decode(detail.value.as_slice()).unwrap();
    assert_eq!(info.retry_delay, Some(Delay { seconds: 7, nanos: 0 }));
}
