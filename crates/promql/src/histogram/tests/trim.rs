//! Leaving observations out.

use std::f64::consts::SQRT_2;

use super::super::Side::{self, Above, Below};
use super::super::{same, trim};
use super::{close, h};

#[track_caller]
fn trimmed(histogram: &str, side: Side, bound: f64, wanted: &str, sum: f64) {
    let mut got = trim(&h(histogram), bound, side);
    close(got.sum, sum);
    got.sum = 0.0;
    let mut wanted = h(wanted);
    wanted.sum = 0.0;
    close(got.count, wanted.count);
    let rounded = |counts: &[f64]| counts.iter().map(|count| (count * 1e9).round()).collect::<Vec<_>>();
    assert_eq!(got.positive_spans, wanted.positive_spans);
    assert_eq!(rounded(&got.positive_buckets), rounded(&wanted.positive_buckets));
    assert_eq!(got.negative_spans, wanted.negative_spans);
    assert_eq!(rounded(&got.negative_buckets), rounded(&wanted.negative_buckets));
    close(got.zero_count, wanted.zero_count);
}

/// (0.5,1], (1,2], (2,4]
const POSITIVE: &str = "{{count:10 sum:20 buckets:[4 2 4]}}";

#[test]
fn whole_buckets_go() {
    trimmed(POSITIVE, Below, 2.0, "{{count:6 buckets:[4 2]}}", 4.0 * SQRT_2);
    trimmed(POSITIVE, Above, 2.0, "{{count:4 buckets:[4] offset:2}}", 8.0 * SQRT_2);
    trimmed(POSITIVE, Below, 0.0, "{{}}", 0.0);
    trimmed(POSITIVE, Above, f64::INFINITY, "{{}}", 0.0);
}

#[test]
fn nothing_to_leave_out_changes_nothing() {
    for (side, bound) in [(Below, 4.0), (Below, f64::INFINITY), (Above, 0.5), (Above, f64::NEG_INFINITY)] {
        assert!(same(&trim(&h(POSITIVE), bound, side), &h(POSITIVE)));
    }
}

#[test]
fn exponential_buckets_are_divided_on_a_logarithmic_scale() {
    let kept = 0.25f64.exp2();
    trimmed(POSITIVE, Below, SQRT_2, "{{count:5 buckets:[4 1]}}", 2.0 * SQRT_2 + kept);
    let kept = 0.75f64.exp2();
    trimmed(POSITIVE, Above, SQRT_2, "{{count:5 buckets:[1 4] offset:1}}", 8.0 * SQRT_2 + kept);
    let negative = "{{count:4 n_buckets:[4] n_offset:1}}";
    trimmed(negative, Below, -SQRT_2, "{{count:2 n_buckets:[2] n_offset:1}}", -2.0 * 0.75f64.exp2());
    trimmed(negative, Above, -SQRT_2, "{{count:2 n_buckets:[2] n_offset:1}}", -2.0 * 0.25f64.exp2());
}

#[test]
fn the_zero_bucket_is_divided_linearly() {
    let both = "{{count:4 sum:1 z_bucket:4 z_bucket_w:0.5}}";
    trimmed(both, Below, 0.25, "{{count:3 z_bucket:3 z_bucket_w:0.5}}", 3.0 * -0.125);
    trimmed(both, Above, 0.25, "{{count:1 z_bucket:1 z_bucket_w:0.5}}", 0.375);
    let positive = "{{count:8 z_bucket:4 z_bucket_w:0.5 buckets:[4] offset:1}}";
    trimmed(positive, Below, 0.25, "{{count:2 z_bucket:2 z_bucket_w:0.5}}", 0.25);
    trimmed(positive, Above, 0.5, "{{count:4 z_bucket_w:0.5 buckets:[4] offset:1}}", 4.0 * SQRT_2);
}

#[test]
fn custom_buckets_are_divided_linearly() {
    let custom = "{{schema:-53 count:10 sum:1 custom_values:[2 4] buckets:[4 4 2]}}";
    trimmed(custom, Below, 3.0, "{{schema:-53 count:6 custom_values:[2 4] buckets:[4 2]}}", 4.0 + 5.0);
    trimmed(
        custom,
        Above,
        3.0,
        "{{schema:-53 count:4 buckets:[2 2] offset:1 custom_values:[2 4]}}",
        7.0 + 8.0,
    );
    // The lowest bucket begins at 0.
    trimmed(custom, Below, 0.5, "{{schema:-53 count:1 custom_values:[2 4] buckets:[1]}}", 0.25);
    trimmed(custom, Below, -1.0, "{{schema:-53 custom_values:[2 4]}}", 0.0);
}

#[test]
fn observations_beyond_the_custom_bounds_are_infinite() {
    let custom = "{{schema:-53 count:10 sum:1 custom_values:[-3 4] buckets:[4 4 2]}}";
    trimmed(custom, Below, 9.0, "{{schema:-53 count:8 custom_values:[-3 4] buckets:[4 4]}}", -12.0 + 2.0);
    trimmed(custom, Above, 9.0, "{{schema:-53 count:2 custom_values:[-3 4] buckets:[2] offset:2}}", 18.0);
    trimmed(custom, Below, -5.0, "{{schema:-53 count:4 custom_values:[-3 4] buckets:[4]}}", -20.0);
    trimmed(
        custom,
        Above,
        -5.0,
        "{{schema:-53 count:6 custom_values:[-3 4] buckets:[4 2] offset:1}}",
        2.0 + 8.0,
    );
}

#[test]
fn custom_buckets_without_a_lower_end_begin_at_zero_or_nowhere() {
    let first = "{{schema:-53 count:7 sum:100 custom_values:[5] buckets:[3 4]}}";
    trimmed(first, Above, 1.0, "{{count:6.4 buckets:[2.4 4]}}", 2.4 * 3.0 + 20.0);
    trimmed(first, Above, -2.0, "{{count:4 buckets:[4] offset:1}}", 20.0);
    assert!(same(&trim(&h(first), f64::NEG_INFINITY, Above), &h(first)));
    // Without any bound there is one bucket of all numbers, which no number divides.
    let all = "{{schema:-53 count:3 sum:4 buckets:[3]}}";
    for side in [Above, Below] {
        trimmed(all, side, 1.0, "{{}}", 0.0);
    }
    assert!(same(&trim(&h(all), f64::INFINITY, Below), &h(all)));
}

#[test]
fn zero_buckets_without_a_width_are_not_below_zero() {
    let zeros = "{{count:7 sum:3 z_bucket:5 buckets:[2]}}";
    trimmed(zeros, Below, 0.0, "{{}}", 0.0);
    trimmed(zeros, Below, 0.1, "{{count:5 z_bucket:5}}", 0.0);
    assert!(same(&trim(&h(zeros), 0.0, Above), &h(zeros)));
}

#[test]
fn nothing_is_on_any_side_of_nan() {
    for side in [Above, Below] {
        trimmed(POSITIVE, side, f64::NAN, "{{}}", 0.0);
        let zeros = trim(&h("{{count:7 sum:3 z_bucket:5 buckets:[2]}}"), f64::NAN, side);
        assert!(zeros.zero_count.is_nan() && zeros.count.is_nan() && zeros.sum.is_nan());
        assert!(zeros.positive_buckets.is_empty());
    }
}

#[test]
fn a_negative_zero_bucket_is_left_alone() {
    let difference = h("{{count:-7 sum:3 z_bucket:-5 z_bucket_w:0.1 buckets:[-2] offset:2}}");
    let kept = trim(&difference, 1.0, Above);
    assert!(same(&kept, &difference));
    let kept = trim(&difference, 1.0, Below);
    assert_eq!((kept.zero_count, kept.count, kept.positive_buckets.len()), (-5.0, 0.0, 0));
}
