//! Tests of validation and of the indexed form.

use super::{NativeHistogram, Span, indexed};
use proptest::prelude::*;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

fn good() -> NativeHistogram {
    NativeHistogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 10.0,
        sum: 12.0,
        positive_spans: vec![span(-2, 2), span(3, 1)],
        positive_buckets: vec![1.0, 2.0, 3.0],
        negative_spans: vec![span(0, 1)],
        negative_buckets: vec![3.0],
        ..NativeHistogram::default()
    }
}

fn custom() -> NativeHistogram {
    NativeHistogram {
        schema: -53,
        count: 6.0,
        sum: 12.0,
        positive_spans: vec![span(0, 3)],
        positive_buckets: vec![1.0, 2.0, 3.0],
        custom_values: vec![1.0, 2.0],
        ..NativeHistogram::default()
    }
}

fn refused(change: impl FnOnce(&mut NativeHistogram), mut histogram: NativeHistogram) -> String {
    change(&mut histogram);
    histogram.validate().unwrap_err()
}

#[test]
fn well_made_histograms_pass() {
    assert_eq!(good().validate(), Ok(()));
    assert_eq!(custom().validate(), Ok(()));
    assert_eq!(NativeHistogram::default().validate(), Ok(()));
    assert_eq!(NativeHistogram { schema: 52, ..good() }.validate(), Ok(()));
    let lowest = NativeHistogram { custom_values: vec![f64::NEG_INFINITY, 2.0], ..custom() };
    assert_eq!(lowest.validate(), Ok(()));
    let nan = NativeHistogram { sum: f64::NAN, count: 20.0, ..good() };
    assert_eq!(nan.validate(), Ok(()));
}

#[test]
fn badly_made_histograms_are_told_why() {
    assert!(refused(|it| it.schema = 53, good()).contains("schema 53"));
    assert!(refused(|it| it.schema = -5, good()).contains("schema -5"));
    assert!(refused(|it| it.count = 9.0, good()).contains("the count says 9"));
    assert!(refused(|it| it.count = f64::NAN, good()).contains("NaN"));
    assert!(refused(|it| it.zero_count = -1.0, good()).contains("zero bucket"));
    assert!(refused(|it| it.zero_threshold = -1.0, good()).contains("width"));
    assert!(refused(|it| it.positive_buckets[1] = f64::NAN, good()).contains("positive"));
    assert!(refused(|it| it.negative_buckets[0] = -1.0, good()).contains("negative"));
    assert!(refused(|it| it.negative_buckets.clear(), good()).contains("negative spans"));
    assert!(refused(|it| it.positive_spans[1].offset = -1, good()).contains("overlaps"));
    assert!(refused(|it| it.positive_spans[0].offset = i32::MAX, good()).contains("reach"));
    assert!(refused(|it| it.custom_values.push(1.0), good()).contains("custom bounds"));
}

#[test]
fn custom_buckets_are_checked_for_their_bounds() {
    assert!(refused(|it| it.custom_values[1] = 1.0, custom()).contains("does not exceed"));
    assert!(refused(|it| it.custom_values[1] = f64::INFINITY, custom()).contains("finite"));
    assert!(refused(|it| it.custom_values.truncate(1), custom()).contains("too few"));
    assert!(refused(|it| it.zero_count = 1.0, custom()).contains("zero bucket"));
    assert!(refused(|it| it.zero_threshold = 1.0, custom()).contains("zero bucket"));
    assert!(refused(|it| it.negative_spans.push(span(0, 0)), custom()).contains("negative"));
    assert!(refused(|it| it.positive_spans[0].offset = -1, custom()).contains("offset"));
}

#[test]
fn spans_are_read_and_written() {
    let read = indexed::indexed(&[span(-2, 1), span(0, 1), span(2, 0), span(1, 2)], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read, [(-2, 1.0), (-1, 2.0), (3, 3.0), (4, 4.0)]);
    assert_eq!(indexed::spans_of(&read).0, [span(-2, 2), span(3, 2)]);
    let overlapping = indexed::indexed(&[span(3, 2), span(-3, 2)], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(overlapping, [(2, 3.0), (3, 5.0), (4, 2.0)]);
    let too_long = indexed::indexed(&[span(0, u32::MAX), span(0, 1)], &[1.0]);
    assert_eq!(too_long, [(0, 1.0)]);
}

#[test]
fn lower_resolutions_hold_the_same_observations() {
    // At schema 1 bucket 1 ends at √2, bucket 2 at 2; at schema 0 bucket 1 ends at 2.
    let coarse = good().to_schema(0);
    assert_eq!(coarse.indexed_positive(), [(-1, 1.0), (0, 2.0), (2, 3.0)]);
    assert_eq!(coarse.indexed_negative(), [(0, 3.0)]);
    assert_eq!(coarse.validate(), Ok(()));
    assert_eq!(NativeHistogram { schema: 9, ..good() }.reduce_if_needed().schema, 8);
    assert_eq!(good().reduce_if_needed(), good());
    assert_eq!(custom().to_schema(-53), custom());
    assert_eq!(good().to_schema(2), good());
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same(
        buckets in proptest::collection::btree_map(-1_000_000..1_000_000i32, 0.0..100.0f64, 0..20),
    ) {
        let buckets: Vec<(i32, f64)> = buckets.into_iter().collect();
        let (spans, counts) = indexed::spans_of(&buckets);
        prop_assert_eq!(indexed::indexed(&spans, &counts), buckets);
    }

    #[test]
    fn any_spans_are_read(
        spans in proptest::collection::vec((any::<i32>(), any::<u32>()), 0..10),
        counts in proptest::collection::vec(any::<f64>(), 0..20),
        schema in any::<i32>(),
        target in any::<i32>(),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let read = indexed::indexed(&spans, &counts);
        prop_assert!(read.len() <= counts.len());
        prop_assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let histogram =
            NativeHistogram { schema, positive_spans: spans, positive_buckets: counts, ..NativeHistogram::default() };
        let _ = histogram.validate();
        let coarse = histogram.to_schema(target).reduce_if_needed();
        let _ = indexed::spans_of(&coarse.indexed_positive());
    }
}
