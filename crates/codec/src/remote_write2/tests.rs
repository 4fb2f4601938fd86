//! What a request of 2.0 becomes.

use prost::Message;

use super::message::{Exemplar, Histogram, Metadata, Request, Sample, TimeSeries};
use super::*;
use crate::remote_write::message as first;

const BOUNDS: Bounds = Bounds { max_symbols: 1_000, max_bytes: 1 << 20 };

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

fn written(request: &Request) -> first::WriteRequest {
    let body = transcode(&request.to_bytes(), BOUNDS, None).unwrap().body;
    first::WriteRequest::decode(body.as_slice()).unwrap()
}

fn pairs(labels: &[first::Label]) -> Vec<(&str, &str)> {
    labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect()
}

#[test]
fn symbols_become_labels() {
    let mut request = Request::default();
    let labels = [("__name__", "requests_total"), ("job", "shop"), ("größe", "")];
    let labels_refs = request.labels(labels);
    let metadata =
        Metadata { kind: 1, help_ref: request.symbol("How many."), unit_ref: request.symbol("requests") };
    request.timeseries.push(TimeSeries {
        labels_refs,
        samples: vec![sample(5, 1.5), sample(-7, f64::NAN)],
        metadata: Some(metadata),
        ..TimeSeries::default()
    });
    let found = written(&request);
    assert_eq!(pairs(&found.timeseries[0].labels), labels);
    let samples = &found.timeseries[0].samples;
    assert_eq!((samples[0].timestamp, samples[0].value, samples[1].timestamp), (5, 1.5, -7));
    assert!(samples[1].value.is_nan());
    let said = &found.metadata[0];
    assert_eq!(
        (said.kind, said.metric_family_name.as_str(), said.help.as_str(), said.unit.as_str()),
        (1, "requests_total", "How many.", "requests")
    );
}

#[test]
fn histograms_and_exemplars_are_as_they_were() {
    let mut request = Request::default();
    let histogram = Histogram {
        count_int: Some(3),
        sum: 4.5,
        schema: -53,
        positive_spans: vec![first::BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 1],
        custom_values: vec![0.5, 1.0],
        timestamp: 9,
        start_timestamp: 4,
        ..Histogram::default()
    };
    let labels_refs = request.labels([("__name__", "h")]);
    let exemplar =
        Exemplar { labels_refs: request.labels([("trace_id", "abc")]), value: 0.25, timestamp: -3 };
    request.timeseries.push(TimeSeries {
        labels_refs,
        histograms: vec![histogram],
        exemplars: vec![exemplar],
        ..TimeSeries::default()
    });
    let found = written(&request);
    let of = &found.timeseries[0].histograms[0];
    assert_eq!((of.count_int, of.sum, of.schema, of.timestamp), (Some(3), 4.5, -53, 9));
    assert_eq!((&of.positive_deltas, &of.custom_values), (&vec![1, 1], &vec![0.5, 1.0]));
    let example = &found.timeseries[0].exemplars[0];
    assert_eq!(
        (pairs(&example.labels), example.value, example.timestamp),
        (vec![("trace_id", "abc")], 0.25, -3)
    );
    assert_eq!(transcode(&request.to_bytes(), BOUNDS, None).unwrap().exemplars, 1);
}

#[test]
fn a_family_is_described_once_under_its_own_name() {
    let mut request = Request::default();
    let help_ref = request.symbol("How long.");
    for (name, kind) in [
        ("took_seconds_bucket", 3),
        ("took_seconds_bucket", 3),
        ("took_seconds_sum", 3),
        ("took_seconds_count", 3),
        ("took_count", 2),
        ("size", 5),
        ("size_sum", 5),
        ("build_info", 6),
        ("_count", 3),
        ("unsaid", 0),
    ] {
        let labels_refs = request.labels([("__name__", name)]);
        let metadata = Some(Metadata { kind, help_ref: if kind == 0 { 0 } else { help_ref }, unit_ref: 0 });
        let samples = vec![sample(1, 1.0)];
        request.timeseries.push(TimeSeries { labels_refs, samples, metadata, ..TimeSeries::default() });
    }
    let found = written(&request);
    let said: Vec<_> = found.metadata.iter().map(|of| (of.metric_family_name.as_str(), of.kind)).collect();
    let expected = [("took_seconds", 3), ("took_count", 2), ("size", 5), ("build_info", 6), ("_count", 3)];
    assert_eq!(said, expected);
}

#[test]
fn what_began_is_told_once() {
    let mut request = Request::default();
    let counter = |start_timestamp, timestamp| Sample { value: 1.0, timestamp, start_timestamp };
    let a = request.labels([("__name__", "a")]);
    let b = request.labels([("__name__", "b")]);
    let h = request.labels([("__name__", "h")]);
    request.timeseries = vec![
        TimeSeries {
            labels_refs: a,
            samples: vec![counter(10, 20), counter(10, 30), counter(40, 40), counter(35, 50)],
            ..TimeSeries::default()
        },
        // Drafts said it of the series.
        TimeSeries {
            labels_refs: b,
            samples: vec![counter(0, 20)],
            created_timestamp: 15,
            ..TimeSeries::default()
        },
        TimeSeries {
            labels_refs: h,
            histograms: vec![
                Histogram {
                    schema: 3,
                    count_int: Some(1),
                    timestamp: 9,
                    start_timestamp: 4,
                    ..Histogram::default()
                },
                Histogram { reset_hint: 3, timestamp: 19, start_timestamp: 14, ..Histogram::default() },
            ],
            ..TimeSeries::default()
        },
    ];
    let mut asked = 0;
    let mut unknown = |_: &[u8], _| {
        asked += 1;
        true
    };
    let mut starts = Starts::new(&mut unknown);
    transcode(&request.to_bytes(), BOUNDS, Some(&mut starts)).unwrap();
    let (found, body) = starts.finish();
    assert_eq!(found.iter().map(|start| start.at).collect::<Vec<_>>(), [10, 35, 15, 4]);
    assert_eq!(asked, 4);
    let zeros = first::WriteRequest::decode(body.as_slice()).unwrap();
    let floats: Vec<_> = zeros.timeseries.iter().flat_map(|series| &series.samples).collect();
    assert!(floats.iter().all(|sample| sample.value == 0.0) && floats.len() == 3);
    let nothing = &zeros.timeseries[3].histograms[0];
    assert_eq!((nothing.schema, nothing.count_float, nothing.timestamp), (3, Some(0.0), 4));
}

#[test]
fn what_is_told_of_beginnings_is_bounded() {
    let mut request = Request::default();
    let labels_refs = request.labels([("__name__", "x".repeat(100_000).as_str())]);
    let begun = |at| Sample { start_timestamp: at, ..sample(2_000, 1.0) };
    let samples = (1..1_500).map(begun).collect();
    request.timeseries = vec![TimeSeries { labels_refs, samples, ..TimeSeries::default() }];
    let mut unknown = |_: &[u8], _| true;
    let mut starts = Starts::new(&mut unknown);
    transcode(&request.to_bytes(), BOUNDS, Some(&mut starts)).unwrap();
    let (found, body) = starts.finish();
    assert!(found.len() > 600 && body.len() <= (64 << 20) + 1_000, "{} in {}", found.len(), body.len());
}

#[test]
fn what_does_not_read_is_refused_as_a_whole() {
    let refused = |request: &Request| transcode(&request.to_bytes(), BOUNDS, None).unwrap_err().to_string();
    let with = |symbols: &[&str], labels_refs: Vec<u32>| Request {
        symbols: symbols.iter().map(|text| (*text).to_owned()).collect(),
        timeseries: vec![TimeSeries { labels_refs, samples: vec![sample(1, 1.0)], ..TimeSeries::default() }],
    };
    let text = refused(&with(&["", "__name__", "a"], vec![1, 3]));
    assert!(text.contains("refers to a symbol that the table does not have"), "{text}");
    let text = refused(&with(&["", "__name__", "a"], vec![1]));
    assert!(text.contains("its references are not pairs"), "{text}");
    let text = refused(&with(&["__name__", "a"], vec![0, 1]));
    assert!(text.contains("does not begin with an empty one"), "{text}");
    let whole = with(&["", "__name__", "a"], vec![1, 2]).to_bytes();
    for length in 1..whole.len() {
        let cut = transcode(&whole[..length], BOUNDS, None);
        // What is cut between two fields of the request is a smaller request.
        assert!(cut.is_err() || cut.unwrap().body.len() < 20, "{length}");
    }
    // A body of 1.0 has none of the fields, so that nothing comes of it.
    let mut body = crate::remote_write::BodyWriter::new();
    body.series().label("__name__", "a").sample(1, 1.0);
    assert_eq!(transcode(&body.into_bytes(), BOUNDS, None), Ok(Transcoded::default()));
}

#[test]
fn what_references_unfold_to_is_bounded() {
    let mut request = Request::default();
    let labels_refs = request.labels([("__name__", "x".repeat(10_000).as_str())]);
    let series = TimeSeries { labels_refs, samples: vec![sample(1, 1.0)], ..TimeSeries::default() };
    request.timeseries = vec![series; 1_000];
    assert!(request.to_bytes().len() < 50_000);
    let refused = transcode(&request.to_bytes(), BOUNDS, None);
    assert_eq!(refused, Err(TranscodeError::TooLarge { max: BOUNDS.max_bytes }));
    let symbols = Request { symbols: vec![String::new(); 1_001], timeseries: Vec::new() };
    let refused = transcode(&symbols.to_bytes(), BOUNDS, None);
    assert_eq!(refused, Err(TranscodeError::TooManySymbols { max: 1_000 }));
}
