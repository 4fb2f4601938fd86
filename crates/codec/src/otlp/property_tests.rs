//! Whatever the bytes, nothing panics, and what comes out is a body of remote write.

use proptest::prelude::*;
use prost::Message;

use super::messages::*;
use super::tests::{NOW, nanos};
use super::*;
use crate::remote_write::message as written;

fn read(body: &[u8], options: &OtlpOptions) -> Result<Converted, OtlpError> {
    let mut streams = Streams::new(StreamLimits { max_bytes: 10_000, max_idle: 1_000 });
    let request = Request { body, source_id: "s", received_at: NOW, earliest: 0, latest: i64::MAX };
    let converted = convert(request, options, Some(&mut streams))?;
    let body = written::WriteRequest::decode(converted.body.as_slice()).expect("a body of remote write");
    assert!(converted.refused <= converted.points);
    assert!(converted.rejected(0..body.timeseries.len()).max(converted.refused) <= converted.points);
    assert!(streams.size().1 <= 10_000);
    Ok(converted)
}

fn options() -> impl Strategy<Value = OtlpOptions> {
    (0..4usize, any::<[bool; 6]>()).prop_map(|(strategy, [all, keep, custom, scope, delta, zeros])| {
        OtlpOptions {
            translation: Translation::ALL[strategy],
            promotion: if all {
                Promotion::AllBut(Default::default())
            } else {
                Promotion::These(Default::default())
            },
            keep_identifying: keep,
            custom_buckets: custom,
            scope_labels: scope,
            delta,
            start_zeros: zeros,
            max_bytes: 1 << 20,
        }
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = prop_oneof![
        "[a-z\\PC]{0,8}".prop_map(Value::Text),
        any::<f64>().prop_map(Value::Double),
        any::<i64>().prop_map(Value::Int),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ];
    let one = ("[a-c._0-9\\PC]{0,4}", value).prop_map(|(key, value)| KeyValue::of(&key, value));
    proptest::collection::vec(one, 0..6)
}

fn data() -> impl Strategy<Value = Data> {
    let times = || (any::<u64>(), any::<u64>(), 0..2u32);
    let number =
        (attributes(), times(), any::<u64>()).prop_map(|(attributes, (start, time, flags), bits)| {
            NumberPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                flags,
                value: Some(Number::Double(f64::from_bits(bits))),
                ..NumberPoint::default()
            }
        });
    let sum = (proptest::collection::vec(number, 0..4), 0..4, any::<bool>());
    let counts = || proptest::collection::vec(any::<u64>(), 0..6);
    let histogram =
        (attributes(), times(), counts(), proptest::collection::vec(any::<f64>(), 0..5), any::<u64>());
    let buckets =
        || (any::<i32>(), counts()).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts });
    let exponential = (attributes(), times(), any::<i32>(), buckets(), buckets(), any::<f64>());
    prop_oneof![
        sum.prop_map(|(data_points, aggregation_temporality, is_monotonic)| {
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        }),
        (histogram, 0..3).prop_map(
            |((attributes, (start, time, flags), counts, bounds, count), temporality)| {
                let point = HistogramPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: time,
                    flags,
                    count,
                    bucket_counts: counts,
                    explicit_bounds: bounds,
                    ..HistogramPoint::default()
                };
                Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: temporality })
            }
        ),
        (exponential, 0..3).prop_map(
            |((attributes, (start, time, flags), scale, positive, negative, width), temporality)| {
                let point = ExponentialPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: time,
                    flags,
                    scale: if flags == 0 { scale % 40 } else { scale },
                    positive: Some(positive),
                    negative: Some(negative),
                    zero_threshold: width,
                    ..ExponentialPoint::default()
                };
                Data::Exponential(Exponential {
                    data_points: vec![point],
                    aggregation_temporality: temporality,
                })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300), options in options()) {
        let _ = read(&body, &options);
        let _ = protobuf_of_json(&body);
    }

    #[test]
    fn any_request_is_converted(
        resource in attributes(),
        metrics in proptest::collection::vec(("[a-c._/\\PC]{0,6}", "[a-zB/{}1%]{0,4}", data()), 0..4),
        options in options(),
        spoilt in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let metrics = metrics.into_iter().map(|(name, unit, data)| Metric::new(&name, &unit, data)).collect();
        let mut body = ExportRequest::of(resource, metrics).to_bytes();
        match spoilt {
            Some((place, byte)) if !body.is_empty() => {
                let place = place.index(body.len());
                body[place] = byte;
                let _ = read(&body, &options);
            }
            _ => {
                read(&body, &options).expect("a whole request");
            }
        }
    }

    #[test]
    fn any_text_of_json_is_read_or_refused(
        key in "resourceMetrics|scopeMetrics|x",
        inner in "(\\[|\\]|\\{|\\}|\"[a-z]{0,3}\"|:|,|[0-9.e-]{1,4}|null|true){0,20}",
    ) {
        if let Ok(body) = protobuf_of_json(format!("{{\"{key}\":[{{\"a\":{inner}}}]}}").as_bytes()) {
            read(&body, &OtlpOptions::default()).expect("what JSON became");
        }
    }

    #[test]
    fn a_point_of_any_time_keeps_its_millisecond(time in 1i64..4_000_000_000_000) {
        let point = NumberPoint {
            time_unix_nano: nanos(time) + 999_999,
            value: Some(Number::Int(1)),
            ..NumberPoint::default()
        };
        let metric = Metric::new("a", "", Data::Gauge(Gauge { data_points: vec![point] }));
        let converted = read(&ExportRequest::of(Vec::new(), vec![metric]).to_bytes(), &OtlpOptions::default()).unwrap();
        let body = written::WriteRequest::decode(converted.body.as_slice()).unwrap();
        prop_assert_eq!(body.timeseries[0].samples[0].timestamp, time);
    }
}
