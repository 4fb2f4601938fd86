//! Quantiles, fractions, mean and spread.

use std::f64::consts::SQRT_2;

use super::super::{Estimate, NanRemark, average, fraction, quantile, stddev, stdvar};
use super::{close, h};

#[track_caller]
fn quantiles(histogram: &str, wanted: &[(f64, f64)]) {
    for (phi, wanted) in wanted {
        let got = quantile(&h(histogram), *phi);
        assert_eq!(got.nan, None);
        close(got.value, *wanted);
    }
}

/// (0.5,1], (1,2], (2,4]
const POSITIVE: &str = "{{count:10 sum:20 buckets:[4 2 4]}}";

#[test]
fn quantiles_are_interpolated_on_a_logarithmic_scale() {
    quantiles(
        POSITIVE,
        &[(0.0, 0.5), (0.2, SQRT_2 / 2.0), (0.4, 1.0), (0.5, SQRT_2), (0.9, 1.75f64.exp2()), (1.0, 4.0)],
    );
    // [-2,-1)
    quantiles("{{count:4 n_buckets:[4] n_offset:1}}", &[(0.0, -2.0), (0.25, -(0.75f64.exp2())), (1.0, -1.0)]);
}

#[test]
fn quantiles_in_the_zero_bucket_are_interpolated_linearly() {
    quantiles("{{count:4 z_bucket:4 z_bucket_w:0.5}}", &[(0.25, -0.25), (0.5, 0.0), (1.0, 0.5)]);
    quantiles("{{count:8 z_bucket:4 z_bucket_w:0.5 buckets:[4] offset:1}}", &[(0.0, 0.0), (0.25, 0.25)]);
    quantiles("{{count:8 z_bucket:4 z_bucket_w:0.5 n_buckets:[4] n_offset:1}}", &[(0.75, -0.25), (1.0, 0.0)]);
    let both = "{{count:12 z_bucket:4 z_bucket_w:0.5 n_buckets:[4] n_offset:1 buckets:[4] offset:1}}";
    quantiles(both, &[(0.5, 0.0)]);
}

#[test]
fn quantiles_in_custom_buckets_are_interpolated_linearly() {
    let histogram = "{{schema:-53 count:10 sum:1 custom_values:[2 4] buckets:[4 4 2]}}";
    quantiles(histogram, &[(0.0, 0.0), (0.1, 0.5), (0.6, 3.0), (0.9, 4.0), (1.0, 4.0)]);
    let below_zero = "{{schema:-53 count:10 sum:1 custom_values:[-3 4] buckets:[4 4 2]}}";
    quantiles(below_zero, &[(0.1, -3.0), (0.6, 0.5)]);
}

#[test]
fn quantiles_outside_of_0_to_1_are_infinite() {
    quantiles(POSITIVE, &[(-0.1, f64::NEG_INFINITY), (1.1, f64::INFINITY)]);
    assert!(quantile(&h(POSITIVE), f64::NAN).value.is_nan());
    assert!(quantile(&h("{{}}"), 0.5).value.is_nan());
    assert_eq!(quantile(&h("{{}}"), 2.0).value, f64::INFINITY);
}

#[test]
fn nan_observations_count_as_the_highest() {
    let histogram = h("{{count:10 sum:NaN buckets:[4 2] offset:1}}");
    let low = quantile(&histogram, 0.2);
    assert_eq!(low.nan, Some(NanRemark::Skewed));
    close(low.value, SQRT_2);
    let high = quantile(&histogram, 0.9);
    assert!(high.value.is_nan());
    assert_eq!(high.nan, Some(NanRemark::Result));
    // Infinite observations of both signs make the sum NaN as well, but they are in buckets.
    let infinite = h("{{count:6 sum:NaN buckets:[4 2] offset:1}}");
    assert_eq!(quantile(&infinite, 0.5).nan, None);
}

#[track_caller]
fn share(histogram: &str, lower: f64, upper: f64, wanted: f64) {
    let got = fraction(&h(histogram), lower, upper);
    assert_eq!(got.nan, None);
    close(got.value, wanted);
}

const INF: f64 = f64::INFINITY;

#[test]
fn fractions_are_interpolated_on_a_logarithmic_scale() {
    share(POSITIVE, 1.0, 2.0, 0.2);
    share(POSITIVE, -INF, INF, 1.0);
    share(POSITIVE, SQRT_2, 4.0, 0.5);
    share(POSITIVE, -3.0, 1.0, 0.4);
    share(POSITIVE, 4.0, 9.0, 0.0);
    let negative = "{{count:4 n_buckets:[4] n_offset:1}}";
    share(negative, -INF, -SQRT_2, 0.5);
    share(negative, -(0.75f64.exp2()), 0.0, 0.75);
}

#[test]
fn fractions_of_linear_buckets_are_linear() {
    share("{{count:4 z_bucket:4 z_bucket_w:0.5}}", -0.25, INF, 0.75);
    share("{{count:8 z_bucket:4 z_bucket_w:0.5 buckets:[4] offset:1}}", 0.0, 0.25, 0.25);
    let custom = "{{schema:-53 count:10 sum:1 custom_values:[2 4] buckets:[4 4 2]}}";
    share(custom, -INF, 1.0, 0.2);
    share(custom, -7.0, 0.0, 0.0);
    share(custom, 3.0, INF, 0.4);
    share(custom, 5.0, INF, 0.2);
    share(custom, -INF, 5.0, 0.8);
    // What is below the lowest bound is taken to be as low as can be.
    let below_zero = "{{schema:-53 count:10 sum:1 custom_values:[-3 4] buckets:[4 4 2]}}";
    share(below_zero, -INF, -5.0, 0.4);
    // A bucket across zero is taken to begin there.
    share(below_zero, -3.0, 0.5, 0.05);
}

#[test]
fn fractions_of_nothing() {
    share(POSITIVE, 2.0, 2.0, 0.0);
    share(POSITIVE, 3.0, 2.0, 0.0);
    for (histogram, lower, upper) in
        [("{{}}", 0.0, 1.0), (POSITIVE, f64::NAN, 1.0), (POSITIVE, 0.0, f64::NAN)]
    {
        assert!(fraction(&h(histogram), lower, upper).value.is_nan());
    }
}

#[test]
fn nan_observations_are_in_no_fraction() {
    let histogram = h("{{count:10 sum:NaN buckets:[4 2] offset:1}}");
    assert_eq!(fraction(&histogram, -INF, INF), Estimate { value: 0.6, nan: Some(NanRemark::Excluded) });
    let got = fraction(&histogram, 2.0, INF);
    close(got.value, 0.2);
}

#[test]
fn spread_is_that_of_the_buckets_middles() {
    let histogram = h("{{count:4 sum:8 buckets:[2 2] offset:1}}");
    assert_eq!(average(&histogram), 2.0);
    close(stdvar(&histogram), 9.0 - 6.0 * SQRT_2);
    close(stddev(&histogram), (9.0 - 6.0 * SQRT_2).sqrt());
    close(stdvar(&h("{{count:2 sum:4 z_bucket:2 z_bucket_w:0.5}}")), 4.0);
    let negative = format!("{{{{count:2 sum:{} n_buckets:[2] n_offset:1}}}}", -2.0 * SQRT_2);
    close(stdvar(&h(&negative)), 0.0);
    close(stdvar(&h("{{schema:-53 count:4 sum:8 custom_values:[2 4] buckets:[0 4]}}")), 1.0);
    assert!(stdvar(&h("{{}}")).is_nan() && average(&h("{{}}")).is_nan());
}

#[test]
fn a_custom_bucket_across_zero_begins_at_zero() {
    let across = h("{{schema:-53 count:26 sum:10 custom_values:[-5 5 10] buckets:[4 10 7 5]}}");
    close(fraction(&across, f64::NEG_INFINITY, -1.0).value, 4.0 / 26.0);
    close(fraction(&across, -1.0, 1.0).value, 2.0 / 26.0);
    let up_to_zero = h("{{schema:-53 count:26 sum:10 custom_values:[0 5 10] buckets:[4 10 7 5]}}");
    close(fraction(&up_to_zero, -7.0, 10.0).value, 21.0 / 26.0);
    close(fraction(&up_to_zero, f64::NEG_INFINITY, 0.0).value, 0.0);
}
