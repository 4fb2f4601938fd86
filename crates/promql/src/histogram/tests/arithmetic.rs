//! Operators.

use metricsd_model::{NativeHistogram, ResetHint, Span};

use super::super::{
    Incompatible, add, compact, divide, negate, same, scale, sub, to_schema, uses_custom_buckets,
};
use super::{h, is};

#[track_caller]
fn sum_is(one: &str, two: &str, wanted: &str) {
    is(&add(&h(one), &h(two)).unwrap().histogram, wanted);
    is(&add(&h(two), &h(one)).unwrap().histogram, wanted);
}

#[test]
fn sums_are_over_matching_buckets() {
    sum_is(
        "{{count:6 sum:10 z_bucket:1 buckets:[1 2] n_buckets:[2]}}",
        "{{count:4 sum:5 z_bucket:1 buckets:[1 2] offset:1}}",
        "{{count:10 sum:15 z_bucket:2 buckets:[1 3 2] n_buckets:[2]}}",
    );
}

#[test]
fn differences_are_gauges() {
    let one = h("{{count:6 sum:10 z_bucket:2 buckets:[1 2] n_buckets:[1]}}");
    let two = h("{{count:4 sum:12 z_bucket:1 buckets:[1 2] offset:1}}");
    is(
        &sub(&one, &two).unwrap().histogram,
        "{{count:2 sum:-2 z_bucket:1 buckets:[1 1 -2] n_buckets:[1] counter_reset_hint:gauge}}",
    );
}

#[test]
fn the_coarser_resolution_wins() {
    // At schema 1 the buckets 1 and 2 end at √2 and 2, 3 and 4 at √8 and 4.
    sum_is(
        "{{schema:1 count:10 buckets:[1 2 3 4] offset:1 n_buckets:[1 1] n_offset:3}}",
        "{{count:5 buckets:[5] offset:1}}",
        "{{count:15 buckets:[8 7] offset:1 n_buckets:[2] n_offset:2}}",
    );
}

#[test]
fn the_wider_zero_bucket_wins() {
    sum_is(
        "{{count:2 z_bucket:1 z_bucket_w:1 buckets:[1] offset:1}}",
        "{{count:13 z_bucket:1 z_bucket_w:0.25 buckets:[2 3 4] offset:-1 n_buckets:[3]}}",
        "{{count:15 z_bucket:10 z_bucket_w:1 buckets:[5] offset:1}}",
    );
}

#[test]
fn a_zero_bucket_does_not_end_within_a_filled_bucket() {
    // 0.75 lies in (0.5,1], which holds 3: all of it becomes zero, and the other histogram follows.
    sum_is(
        "{{count:3 z_bucket:1 z_bucket_w:0.75 n_buckets:[2] n_offset:1}}",
        "{{count:3 buckets:[3]}}",
        "{{count:6 z_bucket:4 z_bucket_w:1 n_buckets:[2] n_offset:1}}",
    );
    // The other histogram's bucket (0.5,1] has a finer neighbour there that must go as well.
    sum_is(
        "{{schema:1 count:4 z_bucket_w:0.75 buckets:[4]}}",
        "{{count:3 buckets:[3]}}",
        "{{count:7 z_bucket:7 z_bucket_w:1}}",
    );
    // An empty bucket is in nobody's way.
    sum_is(
        "{{count:1 z_bucket:1 z_bucket_w:0.75}}",
        "{{buckets:[0]}}",
        "{{count:1 z_bucket:1 z_bucket_w:0.75}}",
    );
}

#[test]
fn custom_bounds_are_brought_to_those_that_both_have() {
    let one = h("{{schema:-53 count:10 custom_values:[1 2 3] buckets:[1 2 3 4]}}");
    let two = h("{{schema:-53 count:100 custom_values:[2 3 5] buckets:[10 20 30 40]}}");
    let sum = add(&one, &two).unwrap();
    assert!(sum.reconciled);
    is(&sum.histogram, "{{schema:-53 count:110 buckets:[13 23 74] custom_values:[2 3]}}");
    let nothing_shared = h("{{schema:-53 count:3 custom_values:[7] buckets:[1 2]}}");
    let difference = sub(&one, &nothing_shared).unwrap();
    assert!(difference.reconciled);
    is(&difference.histogram, "{{schema:-53 count:7 buckets:[7] counter_reset_hint:gauge}}");
    let double = add(&one, &one).unwrap();
    assert!(!double.reconciled);
    is(&double.histogram, "{{schema:-53 count:20 buckets:[2 4 6 8] custom_values:[1 2 3]}}");
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let custom = h("{{schema:-53 count:1 custom_values:[1] buckets:[1]}}");
    assert_eq!(add(&custom, &h("{{}}")), Err(Incompatible));
    assert_eq!(sub(&h("{{}}"), &custom), Err(Incompatible));
    assert!(uses_custom_buckets(&custom) && !uses_custom_buckets(&h("{{}}")));
}

#[test]
fn sums_keep_hints_that_agree() {
    use ResetHint::{Gauge, No, Unknown, Yes};
    let hinted = |reset_hint| NativeHistogram { reset_hint, ..NativeHistogram::default() };
    for (one, two, wanted, collision) in [
        (Yes, Yes, Yes, false),
        (No, No, No, false),
        (Yes, No, Unknown, true),
        (Unknown, Yes, Unknown, false),
        (Unknown, No, Unknown, false),
        (Gauge, Yes, Gauge, false),
        (Gauge, Unknown, Gauge, false),
    ] {
        for (one, two) in [(one, two), (two, one)] {
            let sum = add(&hinted(one), &hinted(two)).unwrap();
            assert_eq!((sum.histogram.reset_hint, sum.collision), (wanted, collision), "{one:?} {two:?}");
            let difference = sub(&hinted(one), &hinted(two)).unwrap();
            assert_eq!((difference.histogram.reset_hint, difference.collision), (Gauge, collision));
        }
    }
}

#[test]
fn factors_and_divisors_reach_everything() {
    let histogram = h("{{count:6 sum:10 z_bucket:2 buckets:[1] n_buckets:[3] counter_reset_hint:not_reset}}");
    is(
        &scale(&histogram, 0.5),
        "{{count:3 sum:5 z_bucket:1 buckets:[0.5] n_buckets:[1.5] counter_reset_hint:not_reset}}",
    );
    is(
        &divide(&histogram, 0.5),
        "{{count:12 sum:20 z_bucket:4 buckets:[2] n_buckets:[6] counter_reset_hint:not_reset}}",
    );
    let negative = "{{count:-6 sum:-10 z_bucket:-2 buckets:[-1] n_buckets:[-3] counter_reset_hint:gauge}}";
    is(&negate(&histogram), negative);
    is(&divide(&histogram, -1.0), negative);
    is(&scale(&histogram, 0.0), "{{counter_reset_hint:not_reset}}");
}

#[test]
fn dividing_by_zero_leaves_no_buckets() {
    let histogram = h("{{schema:2 count:6 z_bucket:2 z_bucket_w:0.1 buckets:[1] n_buckets:[3]}}");
    is(&divide(&histogram, 0.0), "{{schema:2 count:+Inf sum:NaN z_bucket:+Inf z_bucket_w:0.1}}");
}

#[test]
fn empty_buckets_go() {
    let mut histogram = h("{{count:3 buckets:[0 1 0 0 2 0] n_buckets:[0 0]}}");
    compact(&mut histogram);
    assert_eq!(histogram.positive_spans, [Span { offset: 1, length: 1 }, Span { offset: 2, length: 1 }]);
    assert_eq!(histogram.positive_buckets, [1.0, 2.0]);
    assert!(histogram.negative_spans.is_empty() && histogram.negative_buckets.is_empty());
}

#[test]
fn resolution_only_goes_down() {
    let histogram = h("{{schema:1 count:3 buckets:[1 2] offset:1}}");
    is(&to_schema(&histogram, 0), "{{count:3 buckets:[3] offset:1}}");
    is(&to_schema(&histogram, -1), "{{schema:-1 count:3 buckets:[3] offset:1}}");
    is(&to_schema(&histogram, 2), "{{schema:1 count:3 buckets:[1 2] offset:1}}");
}

#[test]
fn sameness_is_about_places_and_bits() {
    let one = h("{{count:3 sum:NaN buckets:[0 1 0 2] offset:-1}}");
    let two = NativeHistogram {
        positive_spans: vec![
            Span { offset: 0, length: 1 },
            Span { offset: 0, length: 0 },
            Span { offset: 1, length: 1 },
        ],
        positive_buckets: vec![1.0, 2.0],
        reset_hint: ResetHint::Yes,
        ..one.clone()
    };
    assert!(same(&one, &two));
    assert!(!same(&one, &NativeHistogram { sum: f64::from_bits(0x7ff8_0000_0000_0001), ..one.clone() }));
    assert!(!same(&one, &NativeHistogram { schema: 1, ..one.clone() }));
    assert!(!same(&one, &NativeHistogram { zero_threshold: 0.1, ..one.clone() }));
    assert!(!same(&one, &h("{{count:3 sum:NaN buckets:[1 0 2] offset:1}}")));
    let custom = h("{{schema:-53 count:1 buckets:[1] custom_values:[1 2]}}");
    assert!(!same(&custom, &NativeHistogram { custom_values: vec![1.0, 3.0], ..custom.clone() }));
}
