use metricsd_model::{HISTOGRAM_MARKER_BITS, STALE_NAN_BITS, Span};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[track_caller]
fn check_floats(values: &[f64]) -> Vec<u8> {
    let blob = pack_floats(values);
    assert_eq!(bits(&unpack_floats(&blob).unwrap()), bits(values));
    blob
}

/// The floats that arithmetic likes to change.
const ODD: [u64; 10] = [
    STALE_NAN_BITS,
    HISTOGRAM_MARKER_BITS,
    0x7ff8_0000_0000_0000,
    0x7ff8_0000_0000_0001,
    0xfff8_0000_0000_0000,
    0xfff0_0000_0000_0002,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x8000_0000_0000_0000,
    1,
];

/// Columns as metrics have them: counters, decimals, constants, with odd floats strewn in.
fn column() -> impl Strategy<Value = Vec<f64>> {
    let steps = vec((0u32..1000, proptest::option::weighted(0.05, 0..ODD.len())), 0..700);
    let scale = prop_oneof![Just(1.0), Just(0.1), Just(0.001), Just(0.0), Just(1e17), Just(1024.0)];
    (steps, scale, any::<bool>()).prop_map(|(steps, scale, counts)| {
        let mut total = 0u32;
        steps
            .into_iter()
            .map(|(step, odd)| {
                total = if counts { total + step } else { step };
                odd.map_or(f64::from(total) * scale, |odd| f64::from_bits(ODD[odd]))
            })
            .collect()
    })
}

#[test]
fn a_blob_is_tagged() {
    assert_eq!(pack_floats(&[]), [RAW]);
    assert_eq!(pack_ints(&[1, -1]), [RAW, 1, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(pack_ids(&[1]), [RAW, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(check_floats(&[0.5; 31])[0], RAW);
    let counter: Vec<f64> = (0..240).map(|at| f64::from(at) * 15.0 + 1e6).collect();
    let blob = check_floats(&counter);
    assert!(blob[0] == PCO && blob.len() < 100, "{} bytes", blob.len());
}

#[test]
fn stale_columns_stay_small() {
    let mut counter: Vec<f64> = (0..240).map(|at| f64::from(at * at % 7919) + 0.25).collect();
    counter[239] = f64::from_bits(STALE_NAN_BITS);
    let blob = check_floats(&counter);
    assert!(blob[0] == PCO && blob.len() < 1000, "{} bytes", blob.len());
}

#[test]
fn damaged_blobs_are_refused() {
    assert_eq!(unpack_floats(&[]), Err(PackError::UnknownTag));
    assert_eq!(unpack_floats(&[9, 0]), Err(PackError::UnknownTag));
    assert_eq!(unpack_floats(&[RAW, 1, 2]), Err(PackError::Damaged));
    assert_eq!(unpack_floats(&[PCO]), Err(PackError::Damaged));
    let blob = pack_ints(&(0..100).collect::<Vec<i32>>());
    assert_eq!(blob[0], PCO);
    assert_eq!(unpack_floats(&blob), Err(PackError::Damaged), "integers are no floats");
    assert_eq!(unpack_ints(&blob[..blob.len() - 1]), Err(PackError::Damaged));
    assert_eq!(unpack_ints(&[blob.as_slice(), &[0]].concat()), Err(PackError::Damaged));
    let histograms = pack_histograms(&[(7, NativeHistogram::default())]);
    assert_eq!(unpack_histograms(&histograms[..10]), Err(PackError::Damaged));
    assert_eq!(unpack_histograms(&[histograms.as_slice(), &[0]].concat()), Err(PackError::Damaged));
    assert_eq!(unpack_histograms(&[255; 4]), Err(PackError::TooMany));
}

/// A few bytes of pco can stand for millions of equal values; past the limit they are refused, not allocated.
#[test]
fn a_small_blob_cannot_ask_for_more_than_the_limit() {
    let mut blob = vec![PCO];
    blob.extend(simple_compress(&vec![1i32; MAX_VALUES + 1], &ChunkConfig::default()).unwrap());
    assert!(blob.len() < 10_000, "{} bytes", blob.len());
    assert_eq!(unpack_ints(&blob), Err(PackError::TooMany));
}

#[test]
fn histograms_come_back() {
    let histogram = NativeHistogram {
        schema: 3,
        count: 4.0,
        sum: f64::from_bits(STALE_NAN_BITS),
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive_buckets: vec![1.0, 3.0],
        ..NativeHistogram::default()
    };
    for histograms in [vec![], vec![(0, NativeHistogram::default()), (u32::MAX, histogram)]] {
        assert_eq!(unpack_histograms(&pack_histograms(&histograms)).unwrap(), histograms);
    }
}

proptest! {
    #[test]
    fn all_bits_survive(values in vec(any::<u64>(), 0..300)) {
        check_floats(&values.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<f64>>());
        prop_assert_eq!(unpack_ids(&pack_ids(&values)).unwrap(), values);
    }

    #[test]
    fn columns_survive(values in column()) {
        check_floats(&values);
    }

    #[test]
    fn integers_survive(values in prop_oneof![vec(any::<i32>(), 0..300), vec(-9..9i32, 0..300)]) {
        prop_assert_eq!(unpack_ints(&pack_ints(&values)).unwrap(), values);
    }

    #[test]
    fn no_bytes_make_it_panic(mut blob in vec(any::<u8>(), 0..200), tag in 0u8..3) {
        let _ = unpack_histograms(&blob);
        blob.insert(0, tag);
        let _ = (unpack_floats(&blob), unpack_ints(&blob), unpack_ids(&blob));
    }

    #[test]
    fn no_damage_makes_it_panic(
        values in column(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut blob = pack_floats(&values);
        for (at, byte) in damage {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        let _ = unpack_floats(&blob);
        let _ = unpack_floats(&blob[..cut.index(blob.len())]);
    }
}
