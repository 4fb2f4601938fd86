use proptest::prelude::*;

use super::*;
use crate::functions::RangeFn;
use crate::functions::window::testing::{Case, exponential, floats, values};

fn ahead(seconds: f64, case: Case) -> Case {
    Case { args: vec![seconds], ..case }
}

fn smoothing(factors: [f64; 2], case: Case) -> Case {
    Case { args: factors.to_vec(), ..case }
}

#[test]
fn a_line_needs_two_floats() {
    for function in [deriv, predict_linear, double_exponential_smoothing] as [RangeFn; 3] {
        let histogram = [(10.0, exponential(&[1.0])), (20.0, exponential(&[1.0]))];
        assert_eq!(values(&[]).float(function), None);
        assert_eq!(values(&[1.0]).float(function), None);
        assert_eq!(values(&[]).with(&histogram).float(function), None);
        values(&[1.0]).with(&histogram).refused(function, "ignored histograms in a range");
        let both = smoothing([0.5, 0.5], values(&[1.0, 2.0]).with(&histogram));
        both.remarked(function, "ignored histograms in a range");
    }
}

#[test]
fn a_straight_line_is_found() {
    let line = values(&[1.0, 3.0, 5.0, 7.0]);
    assert_eq!(line.float(deriv), Some(0.2));
    // Counted from the step's time, wherever the window ends.
    assert_eq!(ahead(0.0, Case { at: 40.0, ..line.clone() }).float(predict_linear), Some(7.0));
    assert!(
        (ahead(10.0, Case { at: 100.0, ..line.clone() }).float(predict_linear).unwrap() - 21.0).abs() < 1e-9
    );
    assert!((ahead(-30.0, Case { at: 40.0, ..line }).float(predict_linear).unwrap() - 1.0).abs() < 1e-9);
}

#[test]
fn the_best_line_has_the_least_squares() {
    // x: 0, 10, 20; y: 1, 2, 6: cov = 50/3, var = 200/3.
    assert!((values(&[1.0, 2.0, 6.0]).float(deriv).unwrap() - 0.25).abs() < 1e-12);
    let at_start = ahead(0.0, Case { at: 10.0, ..values(&[1.0, 2.0, 6.0]) });
    assert!((at_start.float(predict_linear).unwrap() - 0.5).abs() < 1e-12);
}

#[test]
fn a_constant_stays_as_it_is() {
    let constant = floats(&[(10.1, 0.1), (20.7, 0.1), (59.9, 0.1)]);
    assert_eq!(constant.float(deriv), Some(0.0));
    assert_eq!(ahead(1e9, constant).float(predict_linear), Some(0.1));
}

#[test]
fn infinity_has_no_line() {
    for numbers in [[f64::INFINITY; 3], [1.0, f64::NEG_INFINITY, 2.0], [1.0, f64::NAN, 2.0], [f64::NAN; 3]] {
        assert!(values(&numbers).float(deriv).unwrap().is_nan());
        assert!(ahead(5.0, values(&numbers)).float(predict_linear).unwrap().is_nan());
    }
}

#[test]
fn far_times_do_not_spoil_a_slope() {
    let base = 1.7e9;
    let samples: Vec<_> = (0..10).map(|i| (base + f64::from(i) * 15.0, 1e9 + f64::from(i) * 3.0)).collect();
    assert!((floats(&samples).float(deriv).unwrap() - 0.2).abs() < 1e-9);
}

#[test]
fn smoothing_follows_level_and_trend() {
    // Level 1, trend 1; level 0.5 * 2 + 0.5 * (1 + 1) = 2; trend 0.5 * 1 + 0.5 * 1 = 1; level 0.5 * 5 + 0.5 * 3 = 4.
    let case = smoothing([0.5, 0.5], values(&[1.0, 2.0, 5.0]));
    assert_eq!(case.float(double_exponential_smoothing), Some(4.0));
    // Only new values, or only the first trend.
    assert_eq!(
        smoothing([1.0, 0.3], values(&[1.0, 2.0, 5.0])).float(double_exponential_smoothing),
        Some(5.0)
    );
    assert_eq!(
        smoothing([0.0, 0.0], values(&[1.0, 2.0, 9.0])).float(double_exponential_smoothing),
        Some(3.0)
    );
    // A straight line goes straight on.
    let line = smoothing([0.3, 0.7], values(&[1.0, 3.0, 5.0, 7.0]));
    assert!((line.float(double_exponential_smoothing).unwrap() - 7.0).abs() < 1e-12);
}

#[test]
fn factors_lie_between_0_and_1() {
    assert_eq!(check_smoothing(0.0, 1.0), Ok(()));
    assert_eq!(check_smoothing(f64::NAN, f64::NAN), Ok(()));
    let smoothing = "invalid smoothing factor. Expected: 0 <= sf <= 1, got: 1.500000";
    assert_eq!(check_smoothing(1.5, 7.0), Err(smoothing.to_owned()));
    let trend = "invalid trend factor. Expected: 0 <= tf <= 1, got: -Inf";
    assert_eq!(check_smoothing(0.5, f64::NEG_INFINITY), Err(trend.to_owned()));
}

proptest! {
    #[test]
    fn predictions_follow_the_line_through_all(
        slope in -100.0..100.0f64,
        first in -1e4..1e4f64,
        steps in prop::collection::vec(1_u32..60, 2..30),
        seconds in -1e3..1e3f64,
    ) {
        let mut at = 0.0;
        let samples: Vec<_> = steps.iter().map(|step| {
            at += f64::from(*step);
            (at, first + slope * at)
        }).collect();
        let case = ahead(seconds, Case { at, ..floats(&samples) });
        prop_assert!((case.float(deriv).unwrap() - slope).abs() < 1e-6);
        let expected = first + slope * (at + seconds);
        prop_assert!((case.float(predict_linear).unwrap() - expected).abs() < 1e-3);
    }
}
