//! Any request becomes what a decoder that knows the messages only by their schema reads of it, and any bytes become
//! something or an error.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::message::{Exemplar, Request, Sample, TimeSeries};
use super::*;
use crate::remote_write::message as first;

const BOUNDS: Bounds = Bounds { max_symbols: 1_000, max_bytes: 1 << 20 };

fn request() -> impl Strategy<Value = Request> {
    let label = ("[a-z]{0,3}", ".{0,6}");
    let example = (vec(label, 0..3), any::<i32>(), any::<i64>());
    let series = (
        vec(label, 0..4),
        vec((any::<i32>(), any::<i64>(), any::<i64>()), 0..4),
        vec(example, 0..3),
        any::<i64>(),
    );
    vec(series, 0..6).prop_map(|list| {
        let mut request = Request::default();
        for (labels, samples, examples, created_timestamp) in list {
            let mut refer = |pairs: &[(String, String)]| {
                request.labels(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            };
            let of = TimeSeries {
                labels_refs: refer(&labels),
                samples: samples
                    .iter()
                    .map(|(value, timestamp, start)| Sample {
                        value: f64::from(*value),
                        timestamp: *timestamp,
                        start_timestamp: *start,
                    })
                    .collect(),
                exemplars: examples
                    .iter()
                    .map(|(labels, value, timestamp)| Exemplar {
                        labels_refs: refer(labels),
                        value: f64::from(*value),
                        timestamp: *timestamp,
                    })
                    .collect(),
                created_timestamp,
                ..TimeSeries::default()
            };
            request.timeseries.push(of);
        }
        request
    })
}

fn expected(request: &Request) -> Vec<first::TimeSeries> {
    let label = |refs: &[u32]| {
        refs.chunks(2)
            .map(|pair| first::Label {
                name: request.symbols[pair[0] as usize].clone(),
                value: request.symbols[pair[1] as usize].clone(),
            })
            .collect()
    };
    let series = |of: &TimeSeries| first::TimeSeries {
        labels: label(&of.labels_refs),
        samples: of
            .samples
            .iter()
            .map(|sample| first::Sample { value: sample.value, timestamp: sample.timestamp })
            .collect(),
        exemplars: of
            .exemplars
            .iter()
            .map(|example| first::Exemplar {
                labels: label(&example.labels_refs),
                value: example.value,
                timestamp: example.timestamp,
            })
            .collect(),
        histograms: Vec::new(),
    };
    request.timeseries.iter().map(series).collect()
}

proptest! {
    #[test]
    fn requests_become_the_same_in_the_first_version(request in request()) {
        let found = transcode(&request.to_bytes(), BOUNDS, None).unwrap();
        let read = first::WriteRequest::decode(found.body.as_slice()).unwrap();
        prop_assert_eq!(read.timeseries, expected(&request));
        let mut starts = 0u64;
        let mut unknown = |_: &[u8], _| { starts += 1; true };
        let mut heard = Starts::new(&mut unknown);
        prop_assert_eq!(transcode(&request.to_bytes(), BOUNDS, Some(&mut heard)), Ok(found));
        let (found, body) = heard.finish();
        prop_assert!(first::WriteRequest::decode(body.as_slice()).unwrap().timeseries.len() == found.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let mut unknown = |_: &[u8], _| true;
        let _ = transcode(&bytes, BOUNDS, Some(&mut Starts::new(&mut unknown)));
    }

    #[test]
    fn damage_is_read_or_refused(request in request(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = request.to_bytes();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let mut unknown = |_: &[u8], _| true;
        let _ = transcode(&bytes, BOUNDS, Some(&mut Starts::new(&mut unknown)));
    }
}
