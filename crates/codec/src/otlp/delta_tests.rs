//! Deltas are added up, and begins are marked.

use super::messages::*;
use super::tests::{NOW, converted, counter, lines, nanos, number, with_streams};
use super::*;

fn streams(max_bytes: usize) -> Streams {
    Streams::new(StreamLimits { max_bytes, max_idle: 300_000 })
}

fn options() -> OtlpOptions {
    OtlpOptions { delta: true, ..OtlpOptions::default() }
}

fn request(data: Data) -> ExportRequest {
    ExportRequest::of(Vec::new(), vec![Metric::new("a", "", data)])
}

fn deltas(points: &[(&str, i64, f64)]) -> ExportRequest {
    let point = |(stream, time, value): &(&str, i64, f64)| NumberPoint {
        start_time_unix_nano: nanos(NOW - 10),
        ..number(&[("k", *stream)], NOW + time, *value)
    };
    let data_points = points.iter().map(point).collect();
    request(Data::Sum(Sum { data_points, aggregation_temporality: DELTA, is_monotonic: true }))
}

#[track_caller]
fn check(streams: &mut Streams, request: &ExportRequest, expected: &[&str], refused: u64) {
    let (body, converted) = with_streams(request, &options(), Some(streams));
    assert_eq!(lines(&body), expected);
    assert_eq!(converted.refused, refused);
}

#[test]
fn sums_are_added_up_and_repetitions_say_the_same() {
    let mut streams = streams(1 << 20);
    let first = deltas(&[("x", 0, 5.0), ("y", 0, 1.0)]);
    let both = [r#"a_total{k="x"} 5@0"#, r#"a_total{k="y"} 1@0"#];
    check(&mut streams, &first, &both, 0);
    check(&mut streams, &first, &both, 0);
    check(
        &mut streams,
        &deltas(&[("x", 10, 2.0), ("x", 20, 1.0)]),
        &[r#"a_total{k="x"} 7@10"#, r#"a_total{k="x"} 8@20"#],
        0,
    );
    check(&mut streams, &deltas(&[("x", 15, 2.0), ("y", 15, 3.0)]), &[r#"a_total{k="y"} 4@15"#], 1);
    assert_eq!(streams.size().0, 2);
}

#[test]
fn a_delta_from_the_future_does_not_shut_its_stream() {
    let mut streams = streams(1 << 20);
    let mut take = |points: &[(&str, i64, f64)]| {
        let body = deltas(points).to_bytes();
        let request =
            Request { body: &body, source_id: "s", received_at: NOW, earliest: 0, latest: NOW + 1_000 };
        let converted = convert(request, &options(), Some(&mut streams)).unwrap();
        (converted.refused, converted.faults)
    };
    assert_eq!(take(&[("x", 0, 5.0)]).0, 0);
    let (refused, faults) = take(&[("x", 1_001, 1.0)]);
    assert_eq!((refused, faults), (1, vec!["a: the time of a delta is too far in the future".to_owned()]));
    assert_eq!(take(&[("x", 10, 1.0), ("x", 1_000, 1.0)]).0, 0);
}

#[test]
fn a_body_that_does_not_read_changes_nothing() {
    let mut streams = streams(1 << 20);
    check(&mut streams, &deltas(&[("x", 0, 5.0)]), &[r#"a_total{k="x"} 5@0"#], 0);
    let before = streams.size();
    let mut body = deltas(&[("x", 10, 2.0), ("z", 10, 2.0)]).to_bytes();
    body.push(0xff);
    let broken = Request { body: &body, source_id: "s", received_at: NOW, earliest: 0, latest: i64::MAX };
    assert!(convert(broken, &options(), Some(&mut streams)).is_err());
    assert_eq!(streams.size(), before);
    check(&mut streams, &deltas(&[("x", 10, 1.0)]), &[r#"a_total{k="x"} 6@10"#], 0);
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten() {
    let mut streams = streams(1_000);
    let many: Vec<(String, i64, f64)> = (0..50).map(|number| (format!("s{number}"), 0, 1.0)).collect();
    let many: Vec<(&str, i64, f64)> = many.iter().map(|(k, t, v)| (k.as_str(), *t, *v)).collect();
    let (body, converted) = with_streams(&deltas(&many), &options(), Some(&mut streams));
    let (count, bytes) = streams.size();
    assert!(count > 0 && bytes <= 1_000 && body.timeseries.len() == count, "{count} {bytes}");
    assert_eq!(converted.refused, 50 - count as u64);
    assert!(converted.faults[0].contains("otlp.max_delta_memory"), "{:?}", converted.faults);

    let later = NOW + 400_000;
    let body = deltas(&[("s0", 400_000, 2.0), ("new", 400_000, 3.0)]).to_bytes();
    let request = Request { body: &body, source_id: "s", received_at: later, earliest: 0, latest: i64::MAX };
    assert_eq!(convert(request, &options(), Some(&mut streams)).unwrap().refused, 0);
    assert_eq!(streams.size().0, 2, "streams that nobody hears of are forgotten");
}

#[test]
fn streams_of_different_sources_are_different() {
    let mut streams = streams(1 << 20);
    let body = deltas(&[("x", 0, 5.0)]).to_bytes();
    for source_id in ["s", "t"] {
        let request = Request { body: &body, source_id, received_at: NOW, earliest: 0, latest: i64::MAX };
        convert(request, &options(), Some(&mut streams)).unwrap();
    }
    assert_eq!(streams.size().0, 2);
}

#[test]
fn histograms_are_added_up_by_bucket() {
    let mut streams = streams(1 << 20);
    let delta = |time: i64, bounds: &[f64], counts: &[u64], sum| {
        let point = HistogramPoint {
            time_unix_nano: nanos(NOW + time),
            count: counts.iter().sum(),
            sum,
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..HistogramPoint::default()
        };
        request(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: DELTA }))
    };
    let first = [r#"a_bucket{le="1.0"} 1@0"#, r#"a_bucket{le="+Inf"} 3@0"#, "a_sum{} 2.5@0", "a_count{} 3@0"];
    check(&mut streams, &delta(0, &[1.0], &[1, 2], Some(2.5)), &first, 0);
    let second =
        [r#"a_bucket{le="1.0"} 5@1"#, r#"a_bucket{le="+Inf"} 7@1"#, "a_sum{} 3.5@1", "a_count{} 7@1"];
    check(&mut streams, &delta(1, &[1.0], &[4, 0], Some(1.0)), &second, 0);
    let anew = [r#"a_bucket{le="2.0"} 1@2"#, r#"a_bucket{le="+Inf"} 1@2"#, "a_sum{} 0.5@2", "a_count{} 1@2"];
    check(&mut streams, &delta(2, &[2.0], &[1, 0], Some(0.5)), &anew, 0);
}

#[test]
fn exponential_histograms_are_added_up_at_the_coarser_scale() {
    let mut streams = streams(1 << 20);
    let mut send = |time: i64, scale: i32, offset: i32, counts: &[u64], zero_count: u64| {
        let point = ExponentialPoint {
            time_unix_nano: nanos(NOW + time),
            count: counts.iter().sum::<u64>() + zero_count,
            sum: Some(1.0),
            scale,
            zero_count,
            positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
            ..ExponentialPoint::default()
        };
        let data =
            Data::Exponential(Exponential { data_points: vec![point], aggregation_temporality: DELTA });
        let (body, _) = with_streams(&request(data), &options(), Some(&mut streams));
        body.timeseries[0].histograms[0].clone()
    };
    send(0, 1, 0, &[1, 2], 1);
    // Scale 0: buckets (1,2] and (2,4]; those of scale 1 before are both within (1,2].
    let sum = send(1, 0, 0, &[10, 20], 0);
    assert_eq!((sum.schema, sum.count_float, sum.sum), (0, Some(34.0), 2.0));
    assert_eq!((&sum.positive_counts, sum.zero_count_float), (&vec![13.0, 20.0], Some(1.0)));
    // What would need more buckets than are kept is made coarser.
    let wide = send(2, 0, 3, &vec![1; 4_000], 0);
    assert!(wide.positive_counts.len() <= 512 && wide.schema == -3, "{}", wide.schema);
    assert_eq!(wide.positive_counts.iter().sum::<f64>(), 4_033.0);
}

#[test]
fn sums_that_may_fall_are_not_added_up() {
    let data_points = vec![number(&[], NOW, 1.0)];
    let falling =
        request(Data::Sum(Sum { data_points, aggregation_temporality: DELTA, is_monotonic: false }));
    let mut streams = streams(1 << 20);
    let (_, converted) = with_streams(&falling, &options(), Some(&mut streams));
    assert!(converted.faults[0].contains("whose level is not known"), "{:?}", converted.faults);
}

#[test]
fn a_begin_is_marked_by_a_zero_once() {
    let mut streams = streams(1 << 20);
    let options = OtlpOptions { start_zeros: true, delta: true, ..OtlpOptions::default() };
    let begun = |start: i64, time: i64, value: f64| {
        let start_time_unix_nano = nanos(NOW + start);
        request(counter(vec![NumberPoint { start_time_unix_nano, ..number(&[], NOW + time, value) }]))
    };
    let mut check = |request: &ExportRequest, expected: &str| {
        let (body, _) = with_streams(request, &options, Some(&mut streams));
        assert_eq!(lines(&body), [expected]);
    };
    check(&begun(-60, 0, 5.0), "a_total{} 0@-60 5@0");
    check(&begun(-60, 0, 5.0), "a_total{} 0@-60 5@0");
    check(&begun(-60, 10, 6.0), "a_total{} 6@10");
    check(&begun(15, 20, 1.0), "a_total{} 0@15 1@20");
    check(&begun(15, 30, 2.0), "a_total{} 2@30");
    check(&begun(-60, 12, 7.0), "a_total{} 7@12");
    check(&begun(40, 40, 0.0), "a_total{} 0@40");
    // What began before anything that may be stored.
    check(&begun(-4_000_000, 50, 9.0), "a_total{} 9@50");
    check(&deltas(&[("x", 0, 5.0)]), r#"a_total{k="x"} 0@-10 5@0"#);
    check(&deltas(&[("x", 5, 5.0)]), r#"a_total{k="x"} 10@5"#);
    let point = ExponentialPoint {
        start_time_unix_nano: nanos(NOW - 10),
        time_unix_nano: nanos(NOW),
        count: 1,
        zero_count: 1,
        scale: 2,
        ..ExponentialPoint::default()
    };
    let native = ExportRequest::of(Vec::new(), vec![Metric::new("e", "", super::tests::exponential(point))]);
    let (body, _) = with_streams(&native, &options, Some(&mut streams));
    let histograms = &body.timeseries[0].histograms;
    assert_eq!((histograms.len(), histograms[0].count_float, histograms[0].schema), (2, Some(0.0), 2));
    assert_eq!(lines(&converted(&begun(-60, 0, 5.0), &OtlpOptions::default()).0), ["a_total{} 5@0"]);
}
