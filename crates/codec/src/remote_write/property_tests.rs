//! Any request reads as what was written, any bytes read as something or as an error, and where a decoder that knows
//! the messages only by their schema reads something, it is the same.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::message::{
    BucketSpan, Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries as Series, WriteRequest,
};
use super::*;
use crate::exposition::MetricKind;

fn float() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

fn labels() -> impl Strategy<Value = Vec<Label>> {
    vec((".{0,8}", ".{0,12}"), 0..5)
        .prop_map(|pairs| Label::list(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

fn spans() -> impl Strategy<Value = Vec<BucketSpan>> {
    vec((any::<i32>(), any::<u32>()), 0..3)
        .prop_map(|spans| spans.into_iter().map(|(offset, length)| BucketSpan { offset, length }).collect())
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let counts = prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(count, zero)| (Some(count), None, Some(zero), None)),
        (float(), float()).prop_map(|(count, zero)| (None, Some(count), None, Some(zero))),
    ];
    let buckets = || (spans(), vec(-1_000i64..1_000, 0..5), vec(float(), 0..5));
    let numbers = (float(), any::<i32>(), float(), 0..4i32, any::<i64>(), vec(float(), 0..4));
    (counts, buckets(), buckets(), numbers).prop_map(|(counts, positive, negative, numbers)| {
        let (sum, schema, zero_threshold, reset_hint, timestamp, custom_values) = numbers;
        Histogram {
            count_int: counts.0,
            count_float: counts.1,
            zero_count_int: counts.2,
            zero_count_float: counts.3,
            positive_spans: positive.0,
            positive_deltas: positive.1,
            positive_counts: positive.2,
            negative_spans: negative.0,
            negative_deltas: negative.1,
            negative_counts: negative.2,
            sum,
            schema,
            zero_threshold,
            reset_hint,
            timestamp,
            custom_values,
        }
    })
}

fn series() -> impl Strategy<Value = Series> {
    let samples = vec((float(), any::<i64>()), 0..4).prop_map(|samples| {
        samples.into_iter().map(|(value, timestamp)| Sample { value, timestamp }).collect::<Vec<_>>()
    });
    let exemplars = vec((labels(), float(), any::<i64>()), 0..2).prop_map(|exemplars| {
        let exemplar = |(labels, value, timestamp)| Exemplar { labels, value, timestamp };
        exemplars.into_iter().map(exemplar).collect::<Vec<_>>()
    });
    (labels(), samples, exemplars, vec(histogram(), 0..2)).prop_map(
        |(labels, samples, exemplars, histograms)| Series { labels, samples, exemplars, histograms },
    )
}

fn request() -> impl Strategy<Value = WriteRequest> {
    let metadata = vec((0..9i32, ".{0,8}", ".{0,8}", ".{0,4}"), 0..3).prop_map(|entries| {
        let entry =
            |(kind, metric_family_name, help, unit)| MetricMetadata { kind, metric_family_name, help, unit };
        entries.into_iter().map(entry).collect::<Vec<_>>()
    });
    (vec(series(), 0..4), metadata).prop_map(|(timeseries, metadata)| WriteRequest { timeseries, metadata })
}

/// What the scanner reads, as text: NaN equals itself there, bit for bit.
fn scanned(body: &[u8]) -> Result<String, WireError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = |labels: &[RawLabel<'_>]| -> Vec<_> {
        labels.iter().map(|label| (text(label.name), text(label.value))).collect()
    };
    let outline = outline(body, usize::MAX)?;
    let metadata: Vec<_> = outline
        .metadata
        .iter()
        .map(|entry| (entry.kind, text(entry.family), text(entry.help), text(entry.unit)))
        .collect();
    let (mut scanner, mut all) = (WriteScanner::new(body), Vec::new());
    while let Some(series) = scanner.next_series()? {
        let (mut floats, mut exemplars, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        let mut items = series.items();
        while let Some(item) = items.next_item()? {
            match item {
                SeriesItem::Sample { timestamp, value } => floats.push((timestamp, value.to_bits())),
                SeriesItem::Exemplar(exemplar) => {
                    let exemplar = exemplar.decode(usize::MAX - 1)?;
                    exemplars.push((pairs(&exemplar.labels), exemplar.value.to_bits(), exemplar.timestamp));
                }
                SeriesItem::Histogram(histogram) => {
                    let sample = histogram.decode()?;
                    histograms.push((sample.timestamp, sample.integer, sample.histogram.pack()));
                }
            }
        }
        let only = series.only_float().map(|(timestamp, value)| (timestamp, value.to_bits()));
        let is_only = floats.len() == 1 && exemplars.is_empty() && histograms.is_empty();
        assert_eq!(only, is_only.then(|| floats[0]));
        all.push((pairs(&series.parse_labels(usize::MAX - 1)?), floats, exemplars, histograms));
    }
    assert_eq!(outline.series, all.len());
    Ok(format!("{all:?} {metadata:?}"))
}

/// The same of the messages as values.
fn expected(request: &WriteRequest) -> String {
    let pairs = |labels: &[Label]| -> Vec<_> {
        labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
    };
    let all: Vec<_> = request
        .timeseries
        .iter()
        .map(|series| {
            let floats: Vec<_> =
                series.samples.iter().map(|sample| (sample.timestamp, sample.value.to_bits())).collect();
            let exemplars: Vec<_> = series
                .exemplars
                .iter()
                .map(|exemplar| (pairs(&exemplar.labels), exemplar.value.to_bits(), exemplar.timestamp))
                .collect();
            let histograms: Vec<_> = series.histograms.iter().map(expected_histogram).collect();
            (pairs(&series.labels), floats, exemplars, histograms)
        })
        .collect();
    let kinds = [
        MetricKind::Unknown,
        MetricKind::Counter,
        MetricKind::Gauge,
        MetricKind::Histogram,
        MetricKind::GaugeHistogram,
        MetricKind::Summary,
        MetricKind::Info,
        MetricKind::StateSet,
    ];
    let kind =
        |number: i32| usize::try_from(number).ok().and_then(|at| kinds.get(at)).copied().unwrap_or_default();
    let metadata: Vec<_> = request
        .metadata
        .iter()
        .map(|entry| {
            (kind(entry.kind), entry.metric_family_name.clone(), entry.help.clone(), entry.unit.clone())
        })
        .collect();
    format!("{all:?} {metadata:?}")
}

fn expected_histogram(histogram: &Histogram) -> (i64, bool, Vec<u8>) {
    use metricsd_model::{NativeHistogram, ResetHint, Span};
    let integer = histogram.count_float.is_none();
    let spans = |spans: &[BucketSpan]| -> Vec<Span> {
        spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect()
    };
    let buckets = |deltas: &[i64], counts: &[f64]| -> Vec<f64> {
        if !integer {
            return counts.to_vec();
        }
        let mut sum = 0i64;
        let add = |delta: &i64| {
            sum = sum.saturating_add(*delta);
            sum as f64
        };
        deltas.iter().map(add).collect()
    };
    let model = NativeHistogram {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram
            .zero_count_float
            .unwrap_or_else(|| histogram.zero_count_int.unwrap_or_default() as f64),
        count: histogram.count_float.unwrap_or_else(|| histogram.count_int.unwrap_or_default() as f64),
        sum: histogram.sum,
        reset_hint: match histogram.reset_hint {
            1 => ResetHint::Yes,
            2 => ResetHint::No,
            3 => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
        positive_spans: spans(&histogram.positive_spans),
        positive_buckets: buckets(&histogram.positive_deltas, &histogram.positive_counts),
        negative_spans: spans(&histogram.negative_spans),
        negative_buckets: buckets(&histogram.negative_deltas, &histogram.negative_counts),
        custom_values: histogram.custom_values.clone(),
    };
    (histogram.timestamp, integer, model.pack())
}

/// Which of two counts counts depends on their order, which values do not tell.
fn is_ambiguous(request: &WriteRequest) -> bool {
    request.timeseries.iter().flat_map(|series| &series.histograms).any(|histogram| {
        (histogram.count_int.is_some() && histogram.count_float.is_some())
            || (histogram.zero_count_int.is_some() && histogram.zero_count_float.is_some())
    })
}

proptest! {
    #[test]
    fn every_request_reads_as_it_was_written(request in request()) {
        prop_assert_eq!(scanned(&request.to_bytes()).unwrap(), expected(&request));
    }

    /// Bytes are changed, dropped and repeated at will.
    #[test]
    fn what_reads_after_damage_reads_the_same_by_schema(
        request in request(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..4),
    ) {
        let mut body = request.to_bytes();
        for (place, byte, how) in damage {
            if body.is_empty() {
                break;
            }
            let place = place.index(body.len());
            match how {
                0 => body[place] = byte,
                1 => drop(body.remove(place)),
                2 => body.insert(place, byte),
                _ => body.truncate(place),
            }
        }
        let found = scanned(&body);
        if let Ok(request) = WriteRequest::decode(body.as_slice())
            && !is_ambiguous(&request)
        {
            prop_assert_eq!(found.unwrap(), expected(&request));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in vec(any::<u8>(), 0..200)) {
        let _ = scanned(&body);
    }

    #[test]
    fn no_block_makes_it_panic_or_exceeds_its_limit(block in vec(any::<u8>(), 0..200), limit in 0..4096usize) {
        if let Ok(unpacked) = unpack(&block, limit) {
            prop_assert!(unpacked.len() <= limit);
        }
    }

    #[test]
    fn every_block_unpacks(bytes in vec(0..4u8, 0..3_000)) {
        prop_assert_eq!(unpack(&pack(&bytes).unwrap(), bytes.len()).unwrap(), bytes);
    }
}
