//! Bytes written by hand, as the messages' field numbers give them: a tag is `number << 3 | wire type`.

use metricsd_model::{NativeHistogram, ResetHint, Span};

use super::*;
use crate::exposition::MetricKind;

/// A field of bytes: a text, a message, a packed list.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn label(name: &[u8], value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, name), field(2, value)].concat())
}

fn sample(value: f64, timestamp: u8) -> Vec<u8> {
    field(2, &[double(1, value), varint(2, timestamp)].concat())
}

fn body(series: &[Vec<u8>]) -> Vec<u8> {
    field(1, &series.concat())
}

/// A series' labels, and its floats by time.
type Floats = (String, Vec<(i64, f64)>);

/// All series of a body.
fn floats(body: &[u8]) -> Result<Vec<Floats>, WireError> {
    let mut scanner = WriteScanner::new(body);
    let mut all = Vec::new();
    while let Some(series) = scanner.next_series()? {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let labels = series.parse_labels(10)?;
        let shown: Vec<String> =
            labels.iter().map(|label| format!("{}={}", text(label.name), text(label.value))).collect();
        let (mut items, mut samples) = (series.items(), Vec::new());
        while let Some(item) = items.next_item()? {
            match item {
                SeriesItem::Sample { timestamp, value } => samples.push((timestamp, value)),
                SeriesItem::Histogram(histogram) => drop(histogram.decode()?),
                SeriesItem::Exemplar(exemplar) => drop(exemplar.decode(10)?),
            }
        }
        all.push((shown.join(","), samples));
    }
    Ok(all)
}

#[test]
fn labels_and_samples_are_read_where_they_lie() {
    let first = [label(b"__name__", b"up"), label(b"job", b"node"), sample(1.5, 7), sample(-2.0, 8)];
    let second = [label(b"__name__", b"up")];
    let bytes = [body(&first), body(&second)].concat();
    let expected =
        [("__name__=up,job=node".to_owned(), vec![(7, 1.5), (8, -2.0)]), ("__name__=up".to_owned(), vec![])];
    assert_eq!(floats(&bytes).unwrap(), expected);
    let series = WriteScanner::new(&bytes).next_series().unwrap().unwrap();
    assert_eq!(series.labels(), first[..2].concat());
    assert_eq!(outline(&bytes, 10).unwrap(), Outline { series: 2, metadata: Vec::new() });
}

#[test]
fn times_before_the_epoch_and_absent_fields_are_read() {
    let minus_one = [&[2 << 3][..], &[0xff; 9], &[1]].concat();
    let bytes = body(&[label(b"", b""), field(2, &minus_one), field(2, b"")]);
    assert_eq!(floats(&bytes).unwrap(), [("=".to_owned(), vec![(-1, 0.0), (0, 0.0)])]);
}

#[test]
fn labels_that_are_spread_out_are_the_same_labels() {
    let together = body(&[label(b"a", b"1"), label(b"b", b"2"), sample(1.0, 1)]);
    let spread = body(&[label(b"a", b"1"), sample(1.0, 1), label(b"b", b"2")]);
    let last = body(&[sample(1.0, 1), label(b"a", b"1"), label(b"b", b"2")]);
    let labels = |bytes: &[u8]| WriteScanner::new(bytes).next_series().unwrap().unwrap().labels().to_vec();
    for other in [&spread, &last] {
        assert_eq!(floats(other).unwrap(), floats(&together).unwrap());
        assert_eq!(labels(other), labels(&together));
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let unknown = [
        varint(9, 1),
        double(10, 1.0),
        field(11, b"text"),
        [&[12 << 3 | 5][..], &[0; 4]].concat(),
        [&[13 << 3 | 3][..], &field(1, b"in a group"), &[14 << 3 | 3, 14 << 3 | 4], &[13 << 3 | 4]].concat(),
    ]
    .concat();
    let with = |mut bytes: Vec<u8>| {
        bytes.extend_from_slice(&unknown);
        bytes
    };
    let name = field(1, &with([field(1, b"__name__"), field(2, b"up")].concat()));
    let point = field(2, &with([double(1, 1.0), varint(2, 1)].concat()));
    let bytes = with(body(&[with(name), with(point)]));
    assert_eq!(floats(&bytes).unwrap(), [("__name__=up".to_owned(), vec![(1, 1.0)])]);
}

#[test]
fn what_does_not_read_is_named_with_its_place() {
    let check = |bytes: &[u8], expected: &str| {
        let found = outline(bytes, 10).map(drop).and_then(|()| floats(bytes).map(drop));
        assert_eq!(found.unwrap_err().to_string(), format!("{expected} of the unpacked body"));
    };
    check(&[0x0a], "the write request ends within a number, at byte 1");
    check(
        &[0x0a, 5, 0],
        "the write request is cut short: a field in it is longer than what is left, at byte 1",
    );
    check(&[0x08, 1], "the write request has a field written as another kind of value, at byte 1");
    check(&[0x0f], "the write request has a field of a kind that does not exist, at byte 0");
    check(&[0x02], "the write request has a field whose number does not exist, at byte 0");
    check(&[0x44], "the write request has an end of a group that did not begin, at byte 1");
    check(&[0xff; 11], "the write request holds a number of more than 64 bits, at byte 0");
    check(
        &field(3, &[0x12, 9]),
        "a metadata entry is cut short: a field in it is longer than what is left, at byte 3",
    );
    let labelled = |rest: &[u8]| body(&[label(b"a", b"1"), rest.to_vec()]);
    check(
        &labelled(&[0x12, 9]),
        "a time series is cut short: a field in it is longer than what is left, at byte 11",
    );
    check(&labelled(&field(2, &[0x09, 0])), "a sample ends within a number, at byte 13");
    check(
        &labelled(&field(2, &varint(1, 0))),
        "a sample has a field written as another kind of value, at byte 13",
    );
    check(
        &labelled(&field(3, &[0x0a, 1])),
        "an exemplar is cut short: a field in it is longer than what is left, at byte 13",
    );
    check(&labelled(&field(4, &[0x19])), "a histogram ends within a number, at byte 13");
    check(
        &body(&[field(1, &[0x0a, 3])]),
        "a label is cut short: a field in it is longer than what is left, at byte 5",
    );
    let deep = [vec![12 << 3 | 3; 101], vec![12 << 3 | 4; 101]].concat();
    check(&deep, "the write request has groups too deep within each other, at byte 101");
}

#[test]
fn more_labels_than_asked_for_show_as_one_more() {
    let bytes = body(&[label(b"a", b"1"), label(b"b", b"2"), label(b"c", b"3"), label(b"d", b"4")]);
    let series = WriteScanner::new(&bytes).next_series().unwrap().unwrap();
    assert_eq!(series.parse_labels(2).unwrap().len(), 3);
    assert_eq!(series.parse_labels(4).unwrap().len(), 4);
}

#[test]
fn metadata_is_read() {
    let entry = |kind: u8, rest: &[u8]| field(3, &[&varint(1, kind), rest].concat());
    let text = [field(2, b"up"), field(4, b"Whether."), field(5, b"bool")].concat();
    let bytes =
        [entry(2, &text), body(&[label(b"a", b"1")]), entry(99, &field(2, b"b")), field(3, b"")].concat();
    let empty = MetadataEntry { kind: MetricKind::Unknown, family: b"", help: b"", unit: b"" };
    let expected = vec![
        MetadataEntry { kind: MetricKind::Gauge, family: b"up", help: b"Whether.", unit: b"bool" },
        MetadataEntry { family: b"b", ..empty },
        empty,
    ];
    assert_eq!(outline(&bytes, 10).unwrap(), Outline { series: 1, metadata: expected.clone() });
    assert_eq!(outline(&bytes, 1).unwrap().metadata, expected[..1]);
    assert_eq!(floats(&bytes).unwrap().len(), 1);
}

fn histogram(fields: &[Vec<u8>]) -> Result<HistogramSample, WireError> {
    let bytes = body(&[field(4, &fields.concat())]);
    let series = WriteScanner::new(&bytes).next_series()?.unwrap();
    match series.items().next_item()? {
        Some(SeriesItem::Histogram(histogram)) => histogram.decode(),
        other => panic!("{other:?}"),
    }
}

/// Everything that a histogram of integers and one of floats have in common.
fn common() -> [Vec<u8>; 6] {
    [
        double(3, 18.4),
        varint(4, 2), // schema 1 in zigzag form
        double(5, 0.25),
        field(11, &[varint(1, 3), varint(2, 2)].concat()), // offset -2 in zigzag form
        field(8, &varint(2, 1)),
        [&[14 << 3][..], &[3], &[15 << 3], &[9]].concat(),
    ]
}

#[test]
fn integer_histograms_become_absolute() {
    let integers = [varint(1, 10), varint(6, 1), field(12, &[6, 3]), field(9, &[8])];
    let found = histogram(&[&common()[..], &integers].concat()).unwrap();
    let expected = NativeHistogram {
        schema: 1,
        zero_threshold: 0.25,
        zero_count: 1.0,
        count: 10.0,
        sum: 18.4,
        reset_hint: ResetHint::Gauge,
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive_buckets: vec![3.0, 1.0],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![4.0],
        custom_values: Vec::new(),
    };
    assert_eq!(found, HistogramSample { timestamp: 9, histogram: expected, integer: true });
}

#[test]
fn float_histograms_and_custom_bounds_are_read() {
    let list = |number, values: &[f64]| {
        field(number, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    // A field number above 15 takes two bytes.
    let custom = |values: &[f64]| {
        let list = list(1, values);
        [&[0x82, 0x01][..], &list[1..]].concat()
    };
    let floats = [double(2, 10.5), double(7, 0.5), list(13, &[3.0, 1.5]), list(10, &[4.0])];
    let found = histogram(&[&common()[..], &floats].concat()).unwrap();
    assert!(!found.integer);
    assert_eq!((found.histogram.count, found.histogram.zero_count), (10.5, 0.5));
    assert_eq!(
        (found.histogram.positive_buckets, found.histogram.negative_buckets),
        (vec![3.0, 1.5], vec![4.0])
    );
    // A list may also come number by number.
    let loose = [varint(4, 105), custom(&[1.0, 2.5]), [&[0x81, 0x01][..], &7.5f64.to_le_bytes()].concat()];
    let found = histogram(&loose).unwrap();
    assert_eq!((found.histogram.schema, found.histogram.custom_values), (-53, vec![1.0, 2.5, 7.5]));
    let counts = [double(13, 1.0), list(13, &[2.0]), double(2, 3.0)];
    assert_eq!(histogram(&counts).unwrap().histogram.positive_buckets, [1.0, 2.0]);
}

#[test]
fn absurd_histograms_are_bounded() {
    // The largest delta, again and again, stays at the largest number.
    let most = [&[0xfe][..], &[0xff; 8], &[1]].concat();
    let found = histogram(&[field(12, &[most.clone(), most].concat())]).unwrap();
    assert_eq!(found.histogram.positive_buckets, [i64::MAX as f64; 2]);
    let whole = body(&[field(4, &field(12, &[0; 70_000]))]);
    let error = floats(&whole).unwrap_err().to_string();
    assert!(error.starts_with("a histogram has more than 65536 buckets"), "{error}");
}

#[test]
fn exemplars_are_read() {
    let labels = [label(b"trace_id", b"abc"), label(b"span_id", b"def")].concat();
    let exemplar = field(3, &[labels, double(2, 0.5), varint(3, 9)].concat());
    let bytes = body(&[label(b"a", b"1"), exemplar]);
    let series = WriteScanner::new(&bytes).next_series().unwrap().unwrap();
    let Some(SeriesItem::Exemplar(exemplar)) = series.items().next_item().unwrap() else { panic!() };
    let decoded = exemplar.decode(5).unwrap();
    assert_eq!((decoded.value, decoded.timestamp, decoded.labels.len()), (0.5, 9, 2));
    assert_eq!(decoded.labels[0], RawLabel { name: b"trace_id", value: b"abc" });
    assert_eq!(exemplar.decode(0).unwrap().labels.len(), 1);
}

#[test]
fn blocks_unpack_within_their_limit() {
    let bytes = b"abcabcabcabcabcabcabcabcabcabc".repeat(40);
    let packed = pack(&bytes).unwrap();
    assert_eq!(unpack(&packed, bytes.len()).unwrap(), bytes);
    let error = unpack(&packed, bytes.len() - 1).unwrap_err();
    assert_eq!(error, BlockError::TooLarge { declared: 1200, limit: 1199 });
    assert_eq!(unpack(&pack(b"").unwrap(), 0).unwrap(), b"");
    let damaged = |bytes: &[u8]| match unpack(bytes, 1 << 30).unwrap_err() {
        BlockError::Damaged(message) => message,
        other => panic!("{other}"),
    };
    damaged(b"");
    damaged(&packed[..packed.len() - 1]);
    damaged(&[&packed[..], b"\0"].concat());
    // Declares 2^28 bytes in five.
    assert_eq!(
        damaged(&[0x80, 0x80, 0x80, 0x80, 1]),
        "5 bytes cannot unpack to 268435456, as its header says"
    );
    // A run of zeros packs best of all.
    let zeros = vec![0; 1 << 20];
    assert_eq!(unpack(&pack(&zeros).unwrap(), zeros.len()).unwrap(), zeros);
}
