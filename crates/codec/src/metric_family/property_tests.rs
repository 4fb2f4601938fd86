//! Properties: nothing makes the reader panic, and what is cut short is refused.

use proptest::collection::vec;
use proptest::prelude::*;

use super::message::{
    Bucket, BucketSpan, Exemplar, Histogram, LabelPair, Metric, MetricFamily, Timestamp, page,
};
use super::tests::read;
use super::*;

fn wanted() -> impl Strategy<Value = Histograms> {
    (any::<bool>(), any::<bool>()).prop_map(|(native, classic_too)| Histograms { native, classic_too })
}

fn family(name: String, labels: Vec<(String, String)>, numbers: &[u64]) -> MetricFamily {
    let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
    let label = labels.into_iter().map(|(name, value)| LabelPair { name, value }).collect();
    let exemplar = Exemplar {
        label: LabelPair::list([("trace_id", "x")]),
        value: f64::from_bits(number(0)),
        timestamp: Some(Timestamp { seconds: number(1) as i64 >> 12, nanos: 5 }),
    };
    let histogram = Histogram {
        sample_count: number(0),
        sample_sum: f64::from_bits(number(1)),
        schema: number(2) as i32,
        bucket: vec![Bucket {
            upper_bound: f64::from_bits(number(3)),
            exemplar: Some(exemplar),
            ..Bucket::default()
        }],
        positive_span: vec![BucketSpan { offset: number(4) as i32, length: number(5) as u32 }],
        positive_delta: numbers.iter().map(|number| *number as i64).collect(),
        negative_count: numbers.iter().map(|number| f64::from_bits(*number)).collect(),
        ..Histogram::default()
    };
    let metric =
        Metric { label, histogram: Some(histogram), timestamp_ms: number(6) as i64, ..Metric::default() };
    MetricFamily { name, r#type: 4, help: "Help.".into(), unit: "s".into(), metric: vec![metric] }
}

fn families() -> impl Strategy<Value = Vec<MetricFamily>> {
    let labels = vec(("\\PC{1,6}", "\\PC{0,6}"), 0..4);
    vec(("\\PC{1,8}", labels, vec(any::<u64>(), 0..8)).prop_map(|(n, l, v)| family(n, l, &v)), 1..4)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(page in vec(any::<u8>(), 0..200), wanted in wanted()) {
        let _ = read(&page, wanted);
    }

    #[test]
    fn no_damage_makes_it_panic(
        families in families(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        wanted in wanted(),
    ) {
        let mut page = page(&families);
        for (at, byte) in damage {
            let at = at.index(page.len());
            page[at] = byte;
        }
        let _ = read(&page, wanted);
    }

    #[test]
    fn what_is_cut_short_is_refused(families in families(), cut in any::<prop::sample::Index>(), wanted in wanted()) {
        let whole = page(&families);
        let cut = cut.index(whole.len());
        prop_assert!(read(&whole, wanted).is_ok());
        let ends: Vec<usize> = (0..=families.len()).map(|count| page(&families[..count]).len()).collect();
        prop_assert_eq!(read(&whole[..cut], wanted).is_ok(), ends.contains(&cut));
    }
}
