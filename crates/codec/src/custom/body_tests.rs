//! One item in all forms becomes one body, whether or not it was seen before.

use proptest::prelude::*;
use prost::Message;

use super::message::{Bucket, Histogram, Metric, Metrics, Quantile, Summary};
use super::*;
use crate::remote_write::message::{Label, WriteRequest};
use metricsd_model::{MetricSource, Refusal};

const NOW: i64 = 1_750_500_000_000;

fn memory() -> Memory {
    Memory::new(1 << 20)
}

fn written(body: &CustomBody) -> WriteRequest {
    WriteRequest::decode(body.body.as_slice()).unwrap()
}

/// Series as text, with their samples.
fn shown(body: &CustomBody) -> Vec<String> {
    let label = |label: &Label| format!("{}={}", label.name, label.value);
    let series = |series: &crate::remote_write::message::TimeSeries| {
        let labels: Vec<String> = series.labels.iter().map(label).collect();
        let samples: Vec<String> = series
            .samples
            .iter()
            .map(|sample| format!("{}@{}", sample.value, sample.timestamp - NOW))
            .collect();
        format!("{} {}", labels.join(","), samples.join(" "))
    };
    written(body).timeseries.iter().map(series).collect()
}

#[test]
fn all_forms_become_the_same() {
    let memory = memory();
    let items = [
        r#"{"name":"a","labels":{"x":"1","y":"é"},"metric_type":"COUNTER","help_text":"A.","value":1.5,"timestamp":1750500000001}"#,
        r#"{"name":"b","value":-2}"#,
        r#"{"name":"a","labels":{"x":"1","y":"é"},"metric_type":"COUNTER","help_text":"A.","value":2.5,"timestamp":1750500000002}"#,
    ];
    let pairs = |labels: &[(&str, &str)]| Label::list(labels.iter().copied());
    let counter = |value, timestamp| Metric {
        name: "a".into(),
        labels: pairs(&[("x", "1"), ("y", "é")]),
        metric_type: 1,
        help_text: "A.".into(),
        value: Some(value),
        timestamp: Some(timestamp),
        ..Metric::default()
    };
    let plain = Metric { name: "b".into(), value: Some(-2.0), ..Metric::default() };
    let message =
        Metrics { metrics: vec![counter(1.5, NOW + 1), plain, counter(2.5, NOW + 2)], first_sequence: 0 };
    let expected = ["__name__=a,x=1,y=é 1.5@1", "__name__=b -2@0", "__name__=a,x=1,y=é 2.5@2"];
    for _ in 0..3 {
        let writer = || CustomWriter::new(&memory, NOW, 10);
        let bodies = [
            writer().json(format!(" [ {} ]\n", items.join(" , ")).as_bytes()).unwrap(),
            writer().lines(items.join("\r\n").as_bytes()).unwrap(),
            writer().protobuf(&message.to_bytes()).unwrap(),
        ];
        for body in &bodies {
            assert_eq!(shown(body), expected);
            assert_eq!((body.items, body.places.as_slice(), body.errors.len()), (3, &[0, 1, 2][..], 0));
            let said = written(body).metadata;
            assert_eq!((said.len(), said[0].kind, said[0].help.as_str()), (1, 1, "A."));
        }
    }
}

#[test]
fn histograms_and_summaries_become_their_series() {
    let memory = memory();
    let lines = r#"{"name":"h","labels":{"x":"1"},"histogram":{"buckets":{"0.5":1,"2":3},"sum":4.5,"count":4}}
{"name":"s","summary":{"quantiles":{"0.5":1.25},"sum":9,"count":3},"timestamp":1750500000007}"#;
    let body = CustomWriter::new(&memory, NOW, 10).lines(lines.as_bytes()).unwrap();
    let expected = [
        "__name__=h_bucket,x=1,le=0.5 1@0",
        "__name__=h_bucket,x=1,le=2.0 3@0",
        "__name__=h_bucket,x=1,le=+Inf 4@0",
        "__name__=h_sum,x=1 4.5@0",
        "__name__=h_count,x=1 4@0",
        "__name__=s,quantile=0.5 1.25@7",
        "__name__=s_sum 9@7",
        "__name__=s_count 3@7",
    ];
    assert_eq!(shown(&body), expected);
    assert_eq!(body.places, [0, 0, 0, 0, 0, 1, 1, 1]);
    let kinds: Vec<_> =
        written(&body).metadata.iter().map(|said| (said.metric_family_name.clone(), said.kind)).collect();
    assert_eq!(kinds, [("h".to_owned(), 3), ("s".to_owned(), 5)]);
    let bucket = |upper_bound, cumulative_count| Bucket { upper_bound, cumulative_count };
    let message = Metrics {
        metrics: vec![
            Metric {
                name: "h".into(),
                labels: Label::list([("x", "1")]),
                histogram: Some(Histogram {
                    buckets: vec![bucket(0.5, 1.0), bucket(2.0, 3.0)],
                    sum: 4.5,
                    count: 4.0,
                }),
                ..Metric::default()
            },
            Metric {
                name: "s".into(),
                summary: Some(Summary {
                    quantiles: vec![Quantile { quantile: 0.5, value: 1.25 }],
                    sum: 9.0,
                    count: 3.0,
                }),
                timestamp: Some(NOW + 7),
                ..Metric::default()
            },
        ],
        first_sequence: 0,
    };
    let body = CustomWriter::new(&memory, NOW, 10).protobuf(&message.to_bytes()).unwrap();
    assert_eq!(shown(&body), expected);
}

#[test]
fn native_histograms_and_examples_are_taken_over() {
    let line = r#"{"name":"n","histogram":{"schema":1,"count":3,"sum":2.5,"zero_count":1,"zero_threshold":0.001,
        "positive_spans":[[-1,2]],"positive_buckets":[1,1]},"exemplars":[{"labels":{"trace_id":"t"},"value":0.5}]}"#;
    let line = line.replace('\n', "");
    let body = CustomWriter::new(&memory(), NOW, 10).lines(line.as_bytes()).unwrap();
    assert_eq!(body.errors, []);
    let series = &written(&body).timeseries[0];
    let histogram = &series.histograms[0];
    assert_eq!((histogram.schema, histogram.count_float, histogram.timestamp), (1, Some(3.0), NOW));
    assert_eq!(histogram.positive_counts, [1.0, 1.0]);
    assert_eq!((series.exemplars[0].value, series.exemplars[0].timestamp), (0.5, NOW));
}

#[test]
fn faults_name_their_line_and_harm_no_other() {
    let memory = memory();
    let lines = "{\"name\":\"a\",\"value\":1}\n\n{\"name\":\"b\"}\nnot json\n{\"name\":\"c\",\"value\":1,\"labels\":{\"__x\":\"\"}}\n{\"name\":\"d\",\"value\":1}\n{\"name\":\"h\",\"histogram\":{\"buckets\":{\"1\":2,\"2\":1},\"count\":2}}\n{\"name\":\"v\",\"value\":1,\"summary\":{}}";
    for _ in 0..2 {
        let body = CustomWriter::new(&memory, NOW, 10).lines(lines.as_bytes()).unwrap();
        assert_eq!((shown(&body).len(), body.places.as_slice(), body.items), (2, &[0, 5][..], 7));
        let found: Vec<(usize, &str)> =
            body.errors.iter().map(|error| (error.index, error.field.as_str())).collect();
        assert_eq!(found, [(2, "value"), (3, ""), (4, "labels"), (6, "histogram"), (7, "value")]);
        assert!(body.errors[1].message.contains("not JSON"), "{}", body.errors[1]);
        assert_eq!(body.refused[&Refusal::InvalidLabel], 1);
    }
    let many = CustomWriter::new(&memory, NOW, 3).lines(lines.as_bytes());
    assert_eq!(many.unwrap_err(), BodyError::TooManyItems { limit: 3 });
}

#[test]
fn items_of_a_message_are_judged_one_by_one() {
    let nameless = Metric { value: Some(1.0), ..Metric::default() };
    let typed = Metric { name: "t".into(), metric_type: 9, ..Metric::default() };
    let zero = Metric { name: "z".into(), source: 2, ..Metric::default() };
    let good = Metric { name: "g".into(), value: Some(1.0), ..Metric::default() };
    let mut bytes = Metrics { metrics: vec![nameless, typed, zero, good], first_sequence: 7 }.to_bytes();
    bytes.extend([1 << 3 | 2, 3, 1 << 3 | 2, 1, 0xff]);
    let body = CustomWriter::new(&memory(), NOW, 10).protobuf(&bytes).unwrap();
    assert_eq!(shown(&body), ["__name__=z 0@0", "__name__=g 1@0"]);
    let found: Vec<(usize, &str)> =
        body.errors.iter().map(|error| (error.index, error.field.as_str())).collect();
    assert_eq!(found, [(0, "name"), (1, "metric_type"), (4, "name")]);
    assert_eq!(body.source, Some(MetricSource::Kubernetes));
    assert_eq!(first_sequence(&bytes), Ok(Some(7)));
    assert!(CustomWriter::new(&memory(), NOW, 10).protobuf(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn what_an_item_becomes_is_bounded_before_it_is_written() {
    let bucket = |place: usize| Bucket { upper_bound: place as f64, cumulative_count: place as f64 };
    let histogram = |buckets: usize| Metric {
        name: "h".into(),
        labels: Label::list([("l", "x".repeat(100_000).as_str())]),
        histogram: Some(Histogram {
            buckets: (0..buckets).map(bucket).collect(),
            sum: 1.0,
            count: buckets as f64,
        }),
        ..Metric::default()
    };
    let quantiles = (0..5_000).map(|place| Quantile { quantile: f64::from(place) / 5_000.0, value: 1.0 });
    let summary = Metric {
        histogram: None,
        summary: Some(Summary { quantiles: quantiles.collect(), sum: 1.0, count: 1.0 }),
        ..histogram(0)
    };
    let read = |metrics: Vec<Metric>| {
        let bytes = Metrics { metrics, first_sequence: 0 }.to_bytes();
        CustomWriter::new(&memory(), NOW, 100).protobuf(&bytes)
    };
    let too_large = Err(BodyError::TooLarge { limit: 128 << 20 });
    assert_eq!(read(vec![histogram(5_000)]).map(|body| body.body.len()), too_large);
    assert_eq!(read(vec![summary]).map(|body| body.body.len()), too_large);
    assert_eq!(read(vec![histogram(600); 3]).map(|body| body.body.len()), too_large);
    assert_eq!(read(vec![histogram(10); 3]).map(|body| body.places.len()), Ok(39));
}

#[test]
fn examples_belong_to_the_buckets_that_they_fall_into() {
    let example = |value: &str| format!(r#"{{"labels":{{"v":{value:?}}},"value":{value}}}"#);
    let values = ["3", "0.5", "0.1", "0.500001", "-7", "\"NaN\"", "\"-Inf\"", "\"+Inf\"", "2"];
    let examples: Vec<String> = values.iter().map(|value| example(value)).collect();
    let line = format!(
        r#"{{"name":"h","histogram":{{"buckets":{{"0.5":1,"2":3}},"sum":4.5,"count":4}},"exemplars":[{}]}}"#,
        examples.join(",")
    );
    let body = CustomWriter::new(&memory(), NOW, 10).lines(line.as_bytes()).unwrap();
    assert_eq!(body.errors, []);
    let of = |series: &crate::remote_write::message::TimeSeries| {
        series.exemplars.iter().map(|exemplar| exemplar.value).collect::<Vec<_>>()
    };
    let found: Vec<_> = written(&body).timeseries.iter().map(of).collect();
    assert_eq!(found[..3], [vec![0.5, 0.1, -7.0], vec![0.500_001, 2.0], vec![3.0, f64::INFINITY]]);
    assert!(found[3..].iter().all(Vec::is_empty));
}

#[test]
fn who_reads_long_holds_up_nobody() {
    let memory = std::sync::Arc::new(memory());
    let (told, tell) = std::sync::mpsc::channel();
    let long = CustomWriter::new(&memory, NOW, 10);
    let shared = memory.clone();
    std::thread::spawn(move || {
        for line in [&b"{\"name\":\"a\",\"value\":1}"[..], b"{\"name\":\"b\",\"value\":1}"] {
            let body = CustomWriter::new(&shared, NOW, 10).lines(line).unwrap();
            told.send(shown(&body).len()).unwrap();
        }
    });
    let patience = std::time::Duration::from_secs(20);
    assert_eq!((tell.recv_timeout(patience), tell.recv_timeout(patience)), (Ok(1), Ok(1)));
    assert_eq!(memory.len(), 0);
    drop(long.lines(b"{\"name\":\"c\",\"value\":1}").unwrap());
    assert_eq!(memory.len(), 3, "what waited is remembered with the next");
}

#[test]
fn items_that_were_taken_before_are_passed_over() {
    let lines = b"{\"name\":\"a\",\"value\":1}\n{\"name\":\"b\",\"value\":1}\n{\"name\":\"c\"}";
    let body = CustomWriter::new(&memory(), NOW, 2).skip(1).lines(lines).unwrap();
    assert_eq!((shown(&body), body.items, body.errors[0].index), (vec!["__name__=b 1@0".to_owned()], 2, 2));
}

#[test]
fn what_is_remembered_is_bounded() {
    let memory = Memory::new(10_000);
    for number in 0..1_000 {
        let line = format!("{{\"name\":\"metric_{number}\",\"value\":{number}}}");
        for _ in 0..2 {
            let body = CustomWriter::new(&memory, NOW, 2).lines(line.as_bytes()).unwrap();
            assert_eq!(shown(&body), [format!("__name__=metric_{number} {number}@0")]);
        }
    }
    assert!(memory.len() < 100, "{}", memory.len());
}

/// Text of an object that may be an item.
fn item() -> impl Strategy<Value = String> {
    let value = prop_oneof!["-?[0-9]{1,17}(\\.[0-9]{0,3})?(e-?[0-9]{1,3})?", Just("\"NaN\"".to_owned())];
    let labels = prop_oneof![
        Just(String::new()),
        "[a-z]{1,2}".prop_map(|text| format!(",\"labels\":{{\"l\":\"{text}\"}}")),
        Just(",\"labels\":{\"l\":\"\\u0041\"}".to_owned()),
    ];
    let time = prop_oneof![
        Just(String::new()),
        "(0|1)?[0-9]{1,14}".prop_map(|text| format!(",\"timestamp\":{text}"))
    ];
    ("[a-c]?", value, labels, time).prop_map(|(name, value, labels, time)| {
        format!("{{\"name\":\"{name}\",\"value\":{value}{labels}{time}}}")
    })
}

proptest! {
    #[test]
    fn scanning_and_reading_agree(items in proptest::collection::vec(item(), 1..8)) {
        let memory = memory();
        let body = format!("[{}]", items.join(","));
        let read = decode(body.as_bytes(), &CustomLimits { max_items: 100 });
        // The second time items are known.
        for _ in 0..2 {
            let scanned = CustomWriter::new(&memory, NOW, 100).json(body.as_bytes());
            match (&read, scanned) {
                (Err(error), Err(found)) => prop_assert_eq!(error, &found),
                (Ok(read), Ok(found)) => {
                    let errors: Vec<&ItemError> = read.iter().filter_map(|item| item.as_ref().err()).collect();
                    prop_assert_eq!(errors, found.errors.iter().collect::<Vec<_>>());
                    let values = read.iter().flatten().map(|item| (item.name.clone(), item.timestamp.unwrap_or(NOW)));
                    let request = written(&found);
                    let bodies = request.timeseries.iter().map(|series| {
                        (series.labels[0].value.clone(), series.samples[0].timestamp)
                    });
                    prop_assert_eq!(values.collect::<Vec<_>>(), bodies.collect::<Vec<_>>());
                    for (item, series) in read.iter().flatten().zip(&request.timeseries) {
                        let CustomValue::Float(value) = item.value else { panic!("no float") };
                        prop_assert_eq!(value.to_bits(), series.samples[0].value.to_bits());
                    }
                }
                (read, found) => prop_assert!(false, "{:?} {:?}", read, found.err()),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let memory = memory();
        let writer = || CustomWriter::new(&memory, NOW, 100);
        let _ = (writer().json(&body), writer().lines(&body), writer().protobuf(&body), first_sequence(&body));
    }
}
