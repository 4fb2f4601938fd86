use std::sync::Arc;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Exemplar, FailureReason, FamilyMetadata, FamilyType, Fence,
    Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus, JoinedPush, LabelSet, Layout, Ledger,
    MetricSource, MetricType, Missed, NativeHistogram, Protocol, Refusal, STALE_NAN_BITS, Series,
    SeriesExemplar, SeriesId, TypeCounts, Waited,
};
use proptest::prelude::*;

use super::{BatchDecoder, BatchEncoder, BatchError};

fn series(labels: LabelSet, kind: usize, help: Option<String>) -> Arc<Series> {
    Arc::new(Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: MetricType::ALL[kind % MetricType::ALL.len()],
        source_type: MetricSource::ALL[kind % MetricSource::ALL.len()],
        source: "shop".into(),
        target_id: "shop-1".into(),
        unit: help.as_ref().map(|help| help.chars().rev().collect::<String>().into()),
        help: help.map(Into::into),
    })
}

fn label_set() -> impl Strategy<Value = LabelSet> {
    proptest::collection::btree_map("[a-z_]{1,6}", "[^\\x00]{0,8}", 0..5)
        .prop_map(|pairs| LabelSet::new(pairs).expect("a label set"))
}

fn layout() -> impl Strategy<Value = Arc<Layout>> {
    let one = (label_set(), any::<usize>(), proptest::option::of("\\PC{0,6}"));
    (proptest::collection::vec(one, 0..8), any::<bool>()).prop_map(|(list, shared)| {
        let list = list.into_iter().map(|(labels, kind, help)| series(labels, kind, help)).collect();
        if shared { Layout::shared(list) } else { Layout::inline(list) }
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let column = (any::<u64>(), 0..3_600_000i32);
    (layout(), any::<i64>(), proptest::collection::vec(column, 8), any::<bool>()).prop_map(
        |(layout, time, columns, with_offsets)| {
            let count = layout.ids.len();
            let values = columns.iter().take(count).map(|(bits, _)| f64::from_bits(*bits)).collect();
            let offsets = with_offsets.then(|| columns.iter().take(count).map(|(_, at)| *at).collect());
            let histogram = NativeHistogram { schema: 3, count: 2.5, ..NativeHistogram::default() };
            let histograms = if count > 2 { vec![(2, histogram)] } else { Vec::new() };
            Frame { layout, time, offsets, values, histograms }
        },
    )
}

fn collection(seed: usize, counts: [u64; 4]) -> Collection {
    let pick = |len: usize| seed % len;
    Collection {
        source_id: format!("source {seed} ä"),
        target_id: if seed.is_multiple_of(2) { String::new() } else { "shop-1".into() },
        method: CollectionMethod::ALL[pick(CollectionMethod::ALL.len())],
        started: seed as i64 - 1_000,
        duration_ms: counts[0] as f64 / 3.0,
        status: JobStatus::ALL[pick(JobStatus::ALL.len())],
        health: HealthStatus::ALL[pick(HealthStatus::ALL.len())],
        reason: seed.is_multiple_of(3).then(|| FailureReason::ALL[pick(FailureReason::ALL.len())]),
        error: seed.is_multiple_of(3).then(|| "why".into()),
        ledger: Ledger {
            received: counts[0],
            dropped: counts[1],
            refused: [(Refusal::ALL[pick(Refusal::ALL.len())], counts[2])].into(),
            stored: counts[3],
            added: counts[1],
            missed: [(Missed::ALL[pick(Missed::ALL.len())], counts[2])].into(),
            waited: [None, Some(Waited::Spool), Some(Waited::Log)][pick(3)],
        },
        types: TypeCounts { counters: counts[0], gauges: 1, histograms: counts[1], summaries: counts[2] },
    }
}

fn batch() -> impl Strategy<Value = Batch> {
    let exemplar =
        (label_set(), label_set(), any::<u64>(), any::<i64>()).prop_map(|(of, labels, bits, at)| {
            let exemplar = Exemplar { labels, value: f64::from_bits(bits), timestamp: at };
            SeriesExemplar { series: series(of, 1, None), exemplar }
        });
    let family = ("[a-z]{0,5}", "\\PC{0,5}").prop_map(|(family, help)| FamilyMetadata {
        family,
        metric_type: FamilyType::Summary,
        unit: help.clone(),
        help,
    });
    (
        any::<u128>(),
        any::<u16>(),
        any::<[u64; 4]>(),
        proptest::collection::vec(frame(), 0..4),
        proptest::collection::vec(exemplar, 0..4),
        proptest::collection::vec(family, 0..3),
    )
        .prop_map(|(id, seed, counts, frames, exemplars, families)| Batch {
            id: BatchId(id),
            collection: collection(usize::from(seed), counts),
            frames,
            exemplars,
            families,
            fence: (seed % 2 == 1).then(|| Fence {
                member: uuid::Uuid::from_u128(!id),
                epoch: counts[3],
                bucket: seed,
                slot: -i64::from(seed),
            }),
            protocol: Protocol::ALL.get(usize::from(seed % 16)).copied(),
            joined: (0..counts[2] % 4)
                .map(|push| JoinedPush {
                    id: BatchId(!id ^ u128::from(push)),
                    columns: vec![seed.into(), 1],
                    exemplars: seed.into(),
                    families: u32::from(seed) / 2,
                })
                .collect(),
        })
}

/// All that a batch says. Floats show as their bits, since a NaN is not equal to itself.
fn said(batch: &Batch) -> String {
    use std::fmt::Write;
    let mut text = format!("{:?} {:?} {:?}", batch.id, batch.collection, batch.families);
    let _ = write!(text, "{:?} {:?}", batch.fence, batch.protocol);
    let _ = write!(text, " {:?}", batch.joined);
    for frame in &batch.frames {
        let bits: Vec<u64> = frame.values.iter().map(|value| value.to_bits()).collect();
        let packed: Vec<_> = frame.histograms.iter().map(|(column, it)| (column, it.pack())).collect();
        let _ = write!(text, "\n{} {:?} {bits:?} {packed:?} {:?}", frame.time, frame.offsets, frame.layout);
    }
    for SeriesExemplar { series, exemplar } in &batch.exemplars {
        let (labels, at) = (&exemplar.labels, exemplar.timestamp);
        let _ = write!(text, "\n{series:?} {labels:?} {} {at}", exemplar.value.to_bits());
    }
    text
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(batch in batch()) {
        let (mut encoder, mut decoder) = (BatchEncoder::new(), BatchDecoder::new());
        let record = encoder.encode(&batch).unwrap();
        prop_assert_eq!(said(&decoder.decode(&record.bytes).unwrap()), said(&batch));
        // Once more, now that both remember its lists.
        let again = encoder.encode(&batch).unwrap();
        prop_assert_eq!(&again.bytes, &record.bytes);
        prop_assert_eq!(said(&decoder.decode(&again.bytes).unwrap()), said(&batch));
        // And without the lists that stood in the record before.
        let short = encoder.encode_after(&batch, |id| record.lists.iter().any(|(given, _)| given == id)).unwrap();
        prop_assert!(short.lists.is_empty());
        prop_assert_eq!(said(&decoder.decode(&short.bytes).unwrap()), said(&batch));
        if !record.lists.is_empty() {
            let alone = BatchDecoder::of_segment().decode(&short.bytes);
            prop_assert_eq!(alone.unwrap_err(), BatchError::UnknownList);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_batch(batch in batch(), at in any::<usize>(), to in any::<u8>()) {
        let mut bytes = BatchEncoder::new().encode(&batch).unwrap().bytes;
        let at = at % bytes.len();
        prop_assert!(BatchDecoder::new().decode(&bytes[..at]).is_err(), "cut at {at}");
        bytes[at] = to;
        let _ = BatchDecoder::new().decode(&bytes);
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = BatchDecoder::new().decode(&bytes);
        // The same as the inside of a record that decompresses.
        bytes = zstd::bulk::compress(&bytes, 1).unwrap();
        bytes.insert(0, super::VERSION);
        let _ = BatchDecoder::new().decode(&bytes);
    }
}

#[test]
fn markers_keep_their_bits_and_versions_are_told_apart() {
    let list = vec![series(LabelSet::new([("__name__", "a")]).unwrap(), 0, None)];
    let frame = |bits| Frame {
        layout: Layout::shared(list.clone()),
        time: 5,
        offsets: None,
        values: vec![f64::from_bits(bits)],
        histograms: Vec::new(),
    };
    let frames = vec![frame(STALE_NAN_BITS), frame(HISTOGRAM_MARKER_BITS)];
    let batch = Batch::new(BatchId(7), collection(1, [1; 4]), frames);
    let mut bytes = BatchEncoder::new().encode(&batch).unwrap().bytes;
    let read = BatchDecoder::new().decode(&bytes).unwrap();
    assert_eq!(said(&read), said(&batch));
    bytes[0] = 2;
    assert_eq!(BatchDecoder::new().decode(&bytes).unwrap_err(), BatchError::Version(2));
    assert_eq!(BatchDecoder::new().decode(&[]).unwrap_err(), BatchError::Compression);
    // A header that promises more than is allowed makes nobody allocate it.
    let huge = [1, 0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 255, 127, 1, 0, 0];
    assert_eq!(BatchDecoder::new().decode(&huge).unwrap_err(), BatchError::Compression);
}
