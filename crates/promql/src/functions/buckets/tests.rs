use proptest::prelude::*;

use super::*;

const INF: f64 = f64::INFINITY;

fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
    pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
}

fn value(phi: f64, pairs: &[(f64, f64)]) -> f64 {
    quantile(phi, &mut buckets(pairs)).value
}

fn share(lower: f64, upper: f64, pairs: &[(f64, f64)]) -> f64 {
    fraction(lower, upper, &mut buckets(pairs))
}

#[test]
fn bounds_are_numbers() {
    assert_eq!(parse_bound("0.5"), Some(0.5));
    assert_eq!(parse_bound("1e3"), Some(1000.0));
    assert_eq!(parse_bound("-2"), Some(-2.0));
    for infinite in ["+Inf", "Inf", "inf", "+infinity"] {
        assert_eq!(parse_bound(infinite), Some(INF));
    }
    for bad in ["", " 1", "1s", "1e999", "Infi"] {
        assert_eq!(parse_bound(bad), None, "{bad}");
    }
}

#[test]
fn phi_outside_of_its_bounds() {
    let some = [(1.0, 1.0), (INF, 2.0)];
    assert!(value(f64::NAN, &some).is_nan());
    assert_eq!(value(-0.1, &some), -INF);
    assert_eq!(value(1.1, &some), INF);
}

#[test]
fn a_quantile_needs_two_buckets_the_infinite_one_and_observations() {
    assert!(value(0.5, &[]).is_nan());
    assert!(value(0.5, &[(INF, 3.0)]).is_nan());
    assert!(value(0.5, &[(1.0, 3.0), (2.0, 4.0)]).is_nan());
    assert!(value(0.5, &[(1.0, 0.0), (INF, 0.0)]).is_nan());
    assert!(value(0.5, &[(INF, 1.0), (INF, 2.0)]).is_nan());
}

#[test]
fn counts_that_are_nan_reach_no_rank() {
    let nan = f64::NAN;
    assert_eq!(value(0.5, &[(1.0, 1.0), (5.0, 2.0), (INF, nan)]), 5.0);
    assert!(value(0.5, &[(1.0, nan), (5.0, 2.0), (INF, 2.0)]).is_nan());
    assert_eq!(value(0.5, &[(1.0, 2.0), (5.0, nan), (INF, 4.0)]), 5.0);
    assert_eq!(value(1.0, &[(1.0, 2.0), (5.0, nan), (INF, 4.0)]), 5.0);
}

#[test]
fn a_quantile_is_interpolated_in_any_order_of_buckets() {
    let some = [(INF, 10.0), (2.0, 8.0), (1.0, 4.0)];
    assert_eq!(value(0.2, &some), 0.5);
    assert_eq!(value(0.4, &some), 1.0);
    assert_eq!(value(0.6, &some), 1.5);
    assert_eq!(value(0.0, &some), 0.0);
    assert_eq!(value(0.9, &some), 2.0);
    assert_eq!(value(1.0, &some), 2.0);
}

#[test]
fn the_lowest_bucket_begins_at_zero_or_nowhere() {
    assert_eq!(value(0.25, &[(2.0, 10.0), (INF, 10.0)]), 0.5);
    assert_eq!(value(0.25, &[(0.0, 10.0), (INF, 10.0)]), 0.0);
    assert_eq!(value(0.25, &[(-1.0, 10.0), (INF, 10.0)]), -1.0);
    assert_eq!(value(0.75, &[(-2.0, 5.0), (-1.0, 10.0), (INF, 10.0)]), -1.5);
}

#[test]
fn buckets_of_one_bound_are_joined() {
    assert_eq!(value(0.5, &[(1.0, 2.0), (1.0, 2.0), (2.0, 8.0), (INF, 8.0)]), 1.0);
    assert_eq!(value(0.25, &[(0.0, 2.0), (-0.0, 2.0), (2.0, 8.0), (INF, 8.0)]), 0.0);
}

#[test]
fn shrinking_buckets_are_raised_and_told_of() {
    let shrinking = quantile(0.5, &mut buckets(&[(1.0, 4.0), (2.0, 3.0), (3.0, 8.0), (INF, 8.0)]));
    assert_eq!(shrinking, Quantile { value: 1.0, repair: shrinking.repair });
    let rounded = quantile(0.5, &mut buckets(&[(1.0, 4.0), (2.0, 4.0 - 1e-13), (3.0, 8.0), (INF, 8.0)]));
    assert_eq!(rounded, Quantile { value: 1.0, repair: None });
    // Growth that rounding explains is none.
    let mut grown = buckets(&[(1.0, 4.0), (2.0, 4.0 + 1e-13), (INF, 4.0 + 2e-13)]);
    assert!(quantile(1.0, &mut grown).repair.is_none());
    assert!(grown.iter().all(|bucket| bucket.count == 4.0));
}

#[test]
fn what_counts_as_rounding() {
    assert!(rounding_apart(1.0, 1.0 + 1e-12));
    assert!(!rounding_apart(1.0, 1.0 + 3e-12));
    assert!(!rounding_apart(0.0, 1e-300));
    assert!(rounding_apart(f64::MAX, f64::MAX));
    assert!(!rounding_apart(f64::NAN, 1.0));
}

#[test]
fn a_fraction_needs_bounds_the_infinite_bucket_and_observations() {
    let some = [(1.0, 1.0), (INF, 2.0)];
    assert!(share(f64::NAN, 1.0, &some).is_nan());
    assert!(share(0.0, f64::NAN, &some).is_nan());
    assert!(share(0.0, 1.0, &[]).is_nan());
    assert!(share(0.0, 1.0, &[(1.0, 1.0)]).is_nan());
    assert!(share(0.0, 1.0, &[(1.0, 0.0), (INF, 0.0)]).is_nan());
    assert!(share(2.0, 1.0, &[(INF, 0.0)]).is_nan());
    assert_eq!(share(1.0, 1.0, &some), 0.0);
    assert_eq!(share(2.0, 1.0, &some), 0.0);
}

#[test]
fn a_fraction_is_interpolated() {
    let some = [(1.0, 4.0), (2.0, 8.0), (INF, 10.0)];
    assert_eq!(share(-INF, INF, &some), 1.0);
    assert_eq!(share(0.0, 1.0, &some), 0.4);
    assert_eq!(share(0.0, 0.5, &some), 0.2);
    assert_eq!(share(0.5, 1.5, &some), 0.4);
    assert_eq!(share(1.0, 2.0, &some), 0.4);
    assert_eq!(share(2.0, INF, &some), 0.2);
    assert_eq!(share(-3.0, 0.0, &some), 0.0);
    // Observations beyond the last finite bound lie beyond every finite value.
    assert_eq!(share(2.0, 1e300, &some), 0.0);
}

#[test]
fn observations_below_a_bound_that_is_not_positive_lie_beyond_every_finite_value() {
    let some = [(-1.0, 4.0), (1.0, 8.0), (INF, 8.0)];
    assert_eq!(share(-INF, -1.0, &some), 0.5);
    assert_eq!(share(-INF, -5.0, &some), 0.5);
    assert_eq!(share(-5.0, -1.0, &some), 0.0);
    assert_eq!(share(-1.0, 0.0, &some), 0.25);
}

proptest! {
    #[test]
    fn a_fraction_up_to_a_quantile_is_phi(
        phi in 0.01..0.99f64,
        counts in prop::collection::vec(1_u32..100, 2..12),
    ) {
        let mut count = 0.0;
        let mut all: Vec<Bucket> = counts.iter().enumerate().map(|(i, more)| {
            count += f64::from(*more);
            Bucket { upper: (i + 1) as f64, count }
        }).collect();
        all.push(Bucket { upper: INF, count });
        let at = quantile(phi, &mut all).value;
        prop_assert!((fraction(-INF, at, &mut all) - phi).abs() < 1e-9);
    }

    #[test]
    fn any_buckets_do(pairs in prop::collection::vec((any::<f64>(), any::<f64>()), 0..12), phi in any::<f64>()) {
        let mut all = buckets(&pairs);
        all.push(Bucket { upper: INF, count: 3.0 });
        let _ = quantile(phi, &mut all.clone());
        let _ = fraction(phi, 1.0, &mut all);
    }
}
