//! Requests and answers of remote read.

use metricsd_model::{STALE_NAN_BITS, Span};
use proptest::prelude::*;

use super::*;

fn matcher(kind: i32, value: &str) -> LabelMatcher {
    LabelMatcher { kind, name: "l".into(), value: value.into() }
}

fn request(matchers: Vec<LabelMatcher>, accepted: &[i32]) -> Vec<u8> {
    let query = Query { start_timestamp_ms: -5, end_timestamp_ms: 7, matchers };
    encode_read(&ReadRequest { queries: vec![query], accepted_response_types: accepted.to_vec() })
}

#[test]
fn requests_read_with_all_kinds_of_matchers() {
    let matchers = vec![matcher(0, "a"), matcher(1, "a"), matcher(2, "a|b"), matcher(3, "a.*")];
    let queries = decode_read(&request(matchers, &[1, 0])).unwrap();
    let [query] = queries.as_slice() else { panic!("{queries:?}") };
    let shown: Vec<String> = query.matchers.iter().map(ToString::to_string).collect();
    assert_eq!((query.start, query.end), (-5, 7));
    assert_eq!(shown, [r#"l="a""#, r#"l!="a""#, r#"l=~"a|b""#, r#"l!~"a.*""#]);
    assert!(decode_read(b"").unwrap().is_empty());
}

#[test]
fn requests_that_cannot_be_answered_say_why() {
    let check = |bytes: &[u8], part: &str| {
        let error = decode_read(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    check(b"{}", "not a remote read request");
    check(
        &request(vec![matcher(0, ""), matcher(4, "")], &[]),
        "queries[0].matchers[1]: type 4 does not exist",
    );
    check(&request(vec![matcher(2, "(")], &[]), "queries[0].matchers[0]: ");
    check(&request(Vec::new(), &[1]), "supported is SAMPLES (0)");
}

#[test]
fn answers_hold_floats_markers_and_histograms() {
    let histogram = NativeHistogram {
        count: 3.0,
        sum: 4.5,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive_buckets: vec![3.0],
        ..NativeHistogram::default()
    };
    let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
    let mut writer = ResultWriter::default();
    writer.begin();
    let values = [1.0, marker, f64::from_bits(STALE_NAN_BITS)];
    writer.series([("__name__", "a")], &[1, 2, 3], &values, &[(1, histogram.clone())]);
    writer.series([("__name__", "b")], &[1], &[2.0], &[]);
    writer.end();
    writer.begin();
    writer.end();
    let results = decode_results(&writer.finish()).unwrap();
    let [first, second] = results.as_slice() else { panic!("{results:?}") };
    assert!(second.timeseries.is_empty());
    let [a, b] = first.timeseries.as_slice() else { panic!("{first:?}") };
    let floats: Vec<(i64, u64)> = a.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
    assert_eq!(floats, [(1, 1f64.to_bits()), (3, STALE_NAN_BITS)]);
    assert_eq!(a.histograms, [Histogram::of(&histogram, 2)]);
    assert_eq!((a.histograms[0].count_float, a.histograms[0].timestamp), (Some(3.0), 2));
    assert_eq!((b.labels.clone(), b.samples.len()), (Label::list([("__name__", "b")]), 1));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_read(&bytes);
        let _ = decode_results(&bytes);
    }
}
