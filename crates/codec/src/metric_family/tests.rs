//! What becomes of families, sample by sample; and what is refused.

use std::fmt::Write;
use std::ops::ControlFlow;

use super::message::{
    Bucket, BucketSpan, Counter, Exemplar, Histogram, LabelPair, Metric, MetricFamily, Quantile, Summary,
    Timestamp, Value, page,
};
use super::*;
use crate::exposition::parse_series;

/// All samples of a page, a line each.
pub(super) fn read(page: &[u8], wanted: Histograms) -> Result<Vec<String>, FamilyError> {
    let mut lines = Vec::new();
    let mut families = FamilyReader::new(page);
    while let Some(family) = families.next_family()? {
        let mut metrics = family.metrics();
        while let Some(metric) = metrics.next_metric()? {
            let mut fault = None;
            let flow = metric.visit(wanted, |sample| match show(&family, &metric, &sample) {
                Ok(line) => {
                    lines.push(line);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            assert_eq!(flow.is_break(), fault.is_some());
            if let Some(error) = fault {
                return Err(error);
            }
        }
    }
    Ok(lines)
}

fn show(
    family: &Family<'_>,
    metric: &super::Metric<'_>,
    sample: &FamilySample<'_, '_>,
) -> Result<String, FamilyError> {
    let mut line = String::new();
    write_key(&mut line, family, metric, sample.role)?;
    assert!(!matches!(parse_series(&line), Err(crate::exposition::SeriesError::Syntax(_))), "{line}");
    match &sample.histogram {
        None => write!(line, " {}", sample.value).unwrap(),
        Some(native) => {
            let kind = if sample.integer { "integers" } else { "floats" };
            let _ = write!(
                line,
                " {kind} schema {} count {} sum {} zero {}/{} {:?} {:?}",
                native.schema,
                native.count,
                native.sum,
                native.zero_count,
                native.zero_threshold,
                native.positive_buckets,
                native.negative_buckets
            );
        }
    }
    if let Some(timestamp) = metric.timestamp {
        let _ = write!(line, " at {timestamp}");
    }
    if let Some(created) = sample.created {
        let _ = write!(line, " since {created}");
    }
    for exemplar in sample.exemplars {
        let _ = write!(line, " # {:?} {} {:?}", exemplar.labels(), exemplar.value, exemplar.timestamp);
    }
    Ok(line)
}

const NATIVE: Histograms = Histograms { native: true, classic_too: false };
const BOTH: Histograms = Histograms { native: true, classic_too: true };
const CLASSIC: Histograms = Histograms { native: false, classic_too: false };

fn family(name: &str, kind: i32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily { name: name.into(), r#type: kind, metric, ..MetricFamily::default() }
}

fn labelled(pairs: &[(&str, &str)]) -> Metric {
    Metric { label: LabelPair::list(pairs.iter().copied()), ..Metric::default() }
}

fn value(value: f64) -> Option<Value> {
    Some(Value { value })
}

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn exemplar(id: &str, value: f64, timestamp: Option<Timestamp>) -> Exemplar {
    Exemplar { label: LabelPair::list([("trace_id", id)]), value, timestamp }
}

#[track_caller]
fn check(families: &[MetricFamily], wanted: Histograms, expected: &[&str]) {
    assert_eq!(read(&page(families), wanted).unwrap(), expected);
}

#[test]
fn plain_values() {
    let counter =
        Counter { value: 7.0, exemplar: Some(exemplar("x", 0.5, None)), created_timestamp: at(5, 2_999_999) };
    let gauge = Metric { gauge: value(-1.5), timestamp_ms: -5, ..labelled(&[("b.c", "x\n\"\\"), ("a", "")]) };
    check(
        &[
            family("c_total", 0, vec![Metric { counter: Some(counter), ..labelled(&[("a", "1")]) }]),
            family("g", 1, vec![gauge]),
            family("ü.x", 3, vec![Metric { untyped: value(f64::NAN), timestamp_ms: 9, ..Metric::default() }]),
            family("none", 1, vec![]),
        ],
        CLASSIC,
        &[
            r#"c_total{a="1"} 7 since 5002 # [("trace_id", "x")] 0.5 None"#,
            r#"g{"b.c"="x\n\"\\",a=""} -1.5 at -5"#,
            r#"{"ü.x"} NaN at 9"#,
        ],
    );
}

#[test]
fn summaries() {
    let quantile = |quantile, value| Quantile { quantile, value };
    let summary = Summary {
        sample_count: 3,
        sample_sum: 4.5,
        quantile: vec![quantile(0.5, 1.0), quantile(1.0, 3.0)],
        created_timestamp: at(-1, 0),
    };
    check(
        &[family("s", 2, vec![Metric { summary: Some(summary), ..labelled(&[("a", "1")]) }])],
        NATIVE,
        &[
            r#"s_count{a="1"} 3 since -1000"#,
            r#"s_sum{a="1"} 4.5 since -1000"#,
            r#"s{a="1",quantile="0.5"} 1 since -1000"#,
            r#"s{a="1",quantile="1.0"} 3 since -1000"#,
        ],
    );
}

fn classic() -> Histogram {
    let bucket = |count, upper_bound| Bucket { cumulative_count: count, upper_bound, ..Bucket::default() };
    Histogram {
        sample_count: 5,
        sample_sum: 9.25,
        bucket: vec![
            bucket(1, 1.0),
            Bucket { exemplar: Some(exemplar("x", 2.0, at(1, 0))), ..bucket(4, 2.5e6) },
        ],
        ..Histogram::default()
    }
}

#[test]
fn classic_histograms() {
    let metric = |histogram| vec![Metric { histogram: Some(histogram), ..Metric::default() }];
    let expected = [
        "h_count{} 5",
        "h_sum{} 9.25",
        r#"h_bucket{le="1.0"} 1"#,
        r#"h_bucket{le="2.5e+06"} 4 # [("trace_id", "x")] 2 Some(1000)"#,
        r#"h_bucket{le="+Inf"} 5"#,
    ];
    for wanted in [CLASSIC, NATIVE, BOTH] {
        check(&[family("h", 4, metric(classic()))], wanted, &expected);
        check(&[family("h", 5, metric(classic()))], wanted, &expected);
    }
    let floats = Histogram {
        sample_count: 1,
        sample_count_float: 2.5,
        bucket: vec![Bucket {
            cumulative_count: 1,
            cumulative_count_float: 2.5,
            upper_bound: f64::INFINITY,
            exemplar: None,
        }],
        ..Histogram::default()
    };
    check(
        &[family("h", 4, metric(floats))],
        CLASSIC,
        &["h_count{} 2.5", "h_sum{} 0", r#"h_bucket{le="+Inf"} 2.5"#],
    );
}

#[test]
fn native_histograms() {
    let span = |offset, length| BucketSpan { offset, length };
    let native = Histogram {
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 1,
        positive_span: vec![span(-1, 2), span(3, 1)],
        positive_delta: vec![1, 1, -1],
        negative_span: vec![span(0, 1)],
        negative_delta: vec![0],
        created_timestamp: at(10, 0),
        ..classic()
    };
    let metric = |histogram| vec![Metric { histogram: Some(histogram), ..labelled(&[("a", "b")]) }];
    let shown = r#"h{a="b"} integers schema 3 count 5 sum 9.25 zero 1/0.001 [1.0, 2.0, 1.0] [0.0] since 10000 # [("trace_id", "x")] 2 Some(1000)"#;
    check(&[family("h", 4, metric(native.clone()))], NATIVE, &[shown]);
    let lines = read(&page(&[family("h", 4, metric(native.clone()))]), BOTH).unwrap();
    assert_eq!((lines.len(), lines[5].as_str()), (6, shown));
    let lines = read(&page(&[family("h", 4, metric(native.clone()))]), CLASSIC).unwrap();
    assert_eq!((lines.len(), lines[4].as_str()), (5, r#"h_bucket{a="b",le="+Inf"} 5 since 10000"#));
    let floats = Histogram {
        sample_count_float: 5.5,
        zero_count: 0,
        zero_count_float: 0.5,
        bucket: Vec::new(),
        positive_delta: Vec::new(),
        positive_count: vec![1.0, 2.0, 1.5],
        negative_delta: Vec::new(),
        negative_count: vec![0.5],
        exemplars: vec![exemplar("dropped", 1.0, None), exemplar("kept", 2.0, at(3, 0))],
        ..native
    };
    let shown = r#"h{a="b"} floats schema 3 count 5.5 sum 9.25 zero 0.5/0.001 [1.0, 2.0, 1.5] [0.5] since 10000 # [("trace_id", "kept")] 2 Some(3000)"#;
    check(&[family("h", 5, metric(floats.clone()))], BOTH, &[shown]);
    let nothing_yet = Histogram { positive_span: vec![span(0, 0)], ..Histogram::default() };
    let shown = r#"h{a="b"} integers schema 0 count 0 sum 0 zero 0/0 [] []"#;
    check(&[family("h", 4, metric(nothing_yet))], NATIVE, &[shown]);
    // Without native histograms what is left is a classic one of one bucket.
    let shown = [
        r#"h_count{a="b"} 5.5 since 10000"#,
        r#"h_sum{a="b"} 9.25 since 10000"#,
        r#"h_bucket{a="b",le="+Inf"} 5.5 since 10000"#,
    ];
    check(&[family("h", 5, metric(floats))], CLASSIC, &shown);
}

#[test]
fn gauge_histograms_say_that_they_are_gauges() {
    let histogram = Histogram { zero_threshold: 1.0, ..Histogram::default() };
    for (kind, hint) in [(4, metricsd_model::ResetHint::Unknown), (5, metricsd_model::ResetHint::Gauge)] {
        let metric = Metric { histogram: Some(histogram.clone()), ..Metric::default() };
        let page = page(&[family("h", kind, vec![metric])]);
        let family = FamilyReader::new(&page).next_family().unwrap().unwrap();
        let metric = family.metrics().next_metric().unwrap().unwrap();
        let mut hints = Vec::new();
        let flow = metric.visit(NATIVE, |sample| {
            hints.extend(sample.histogram.map(|histogram| histogram.reset_hint));
            ControlFlow::Continue(())
        });
        assert_eq!((flow.unwrap(), hints), (ControlFlow::Continue(()), vec![hint]));
    }
}

#[test]
fn descriptions_may_stand_anywhere_and_unknown_fields_are_skipped() {
    // unit, a field 99, a metric whose label stands behind its value, name, type.
    let metric =
        [b"\x12\x09\x09\0\0\0\0\0\0\0\x40".as_slice(), b"\x0a\x06\x0a\x01a\x12\x01b".as_slice()].concat();
    let body =
        [b"\x2a\x01s\x9a\x06\x01x\x22".as_slice(), &[metric.len() as u8], &metric, b"\x0a\x03a_s\x18\x01"]
            .concat();
    let page = [&[body.len() as u8], body.as_slice()].concat();
    let family = FamilyReader::new(&page).next_family().unwrap().unwrap();
    assert_eq!((family.name, family.unit, family.help), ("a_s", "s", ""));
    assert_eq!(read(&page, CLASSIC).unwrap(), [r#"a_s{a="b"} 2"#]);
}

#[track_caller]
fn refused(page: &[u8], expected: &str) {
    let error = read(page, BOTH).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn bad_messages_are_refused_with_a_reason() {
    refused(b"\x05\x0a\x01a", "the page is cut short");
    refused(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more than 64 bits");
    refused(b"\x02\x18\x01", "a metric family has no name");
    refused(b"\0", "a metric family has no name");
    refused(b"\x05\x0a\x01a\x18\x06", "family \"a\": a metric family has a type that does not exist");
    refused(b"\x03\x0a\x01\xff", "a name that is not UTF-8");
    refused(b"\x06\x0a\x01a\x12\x01\xff", "a help text that is not UTF-8");
    refused(b"\x03\x0a\x05a", "is cut short");
    refused(
        b"\x05\x0a\x01a\x22\x00",
        "family \"a\": a metric of a counter has no counter's value, at byte 6",
    );
    refused(
        &page(&[family("a", 0, vec![Metric { gauge: value(1.0), ..Metric::default() }])]),
        "no counter's value",
    );
    refused(
        &page(&[family("a", 4, vec![Metric { gauge: value(1.0), ..Metric::default() }])]),
        "no histogram's value",
    );
    refused(b"\x09\x0a\x01a\x18\x01\x22\x02\x10\x01", "written as another kind");
    let nameless = Metric { gauge: value(1.0), ..labelled(&[("", "x")]) };
    refused(&page(&[family("a", 1, vec![nameless])]), "a label has no name");
    let late = Exemplar { timestamp: at(1, -1), ..exemplar("x", 1.0, None) };
    let counter = Counter { exemplar: Some(late), ..Counter::default() };
    refused(
        &page(&[family("a", 0, vec![Metric { counter: Some(counter), ..Metric::default() }])]),
        "nanoseconds",
    );
    let counter = Counter { created_timestamp: at(i64::MAX, 0), ..Counter::default() };
    refused(
        &page(&[family("a", 0, vec![Metric { counter: Some(counter), ..Metric::default() }])]),
        "beyond any date",
    );
}
