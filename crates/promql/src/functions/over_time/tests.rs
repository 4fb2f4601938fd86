use metricsd_model::ResetHint;
use proptest::prelude::*;

use super::*;
use crate::functions::RangeFn;
use crate::functions::window::testing::{Case, custom, exponential, hinted, values};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Those that only look at floats.
const OF_FLOATS: [RangeFn; 8] = [
    max_over_time,
    min_over_time,
    ts_of_max_over_time,
    ts_of_min_over_time,
    stddev_over_time,
    stdvar_over_time,
    quantile_over_time,
    mad_over_time,
];

const OF_ALL: [RangeFn; 8] = [
    avg_over_time,
    sum_over_time,
    count_over_time,
    present_over_time,
    first_over_time,
    last_over_time,
    ts_of_first_over_time,
    ts_of_last_over_time,
];

#[test]
fn nothing_comes_of_nothing() {
    for function in OF_FLOATS.into_iter().chain(OF_ALL) {
        assert_eq!(values(&[]).float(function), None);
    }
    for function in OF_FLOATS {
        assert_eq!(values(&[]).with(&[(10.0, exponential(&[1.0]))]).float(function), None);
    }
}

#[test]
fn floats_are_aggregated() {
    let case = Case { args: vec![0.5], ..values(&[3.0, 1.0, 2.0, 6.0]) };
    assert_eq!(case.float(avg_over_time), Some(3.0));
    assert_eq!(case.float(sum_over_time), Some(12.0));
    assert_eq!(case.float(min_over_time), Some(1.0));
    assert_eq!(case.float(max_over_time), Some(6.0));
    assert_eq!(case.float(count_over_time), Some(4.0));
    assert_eq!(case.float(present_over_time), Some(1.0));
    assert_eq!(case.float(first_over_time), Some(3.0));
    assert_eq!(case.float(last_over_time), Some(6.0));
    assert_eq!(case.float(stdvar_over_time), Some(3.5));
    assert_eq!(case.float(stddev_over_time), Some(3.5_f64.sqrt()));
    assert_eq!(case.float(quantile_over_time), Some(2.5));
    assert_eq!(case.float(mad_over_time), Some(1.0));
    assert_eq!(case.float(ts_of_first_over_time), Some(10.0));
    assert_eq!(case.float(ts_of_last_over_time), Some(40.0));
    assert_eq!(case.float(ts_of_min_over_time), Some(20.0));
    assert_eq!(case.float(ts_of_max_over_time), Some(40.0));
}

#[test]
fn one_float_is_its_own_aggregate() {
    let one = Case { args: vec![0.9], ..values(&[7.0]) };
    for function in
        [avg_over_time, sum_over_time, min_over_time, max_over_time, quantile_over_time] as [RangeFn; 5]
    {
        assert_eq!(one.float(function), Some(7.0));
    }
    for function in [stddev_over_time, stdvar_over_time, mad_over_time] as [RangeFn; 3] {
        assert_eq!(one.float(function), Some(0.0));
    }
}

#[test]
fn nan_is_neither_least_nor_greatest_unless_it_is_alone() {
    let some = values(&[NAN, 2.0, NAN, 1.0, NAN]);
    assert_eq!(some.float(min_over_time), Some(1.0));
    assert_eq!(some.float(max_over_time), Some(2.0));
    assert_eq!(some.float(ts_of_min_over_time), Some(40.0));
    assert_eq!(some.float(ts_of_max_over_time), Some(20.0));
    assert!(some.float(sum_over_time).unwrap().is_nan());
    assert!(some.float(avg_over_time).unwrap().is_nan());
    assert!(some.float(stddev_over_time).unwrap().is_nan());
    let alone = values(&[NAN, NAN]);
    assert!(alone.float(min_over_time).unwrap().is_nan());
    assert!(alone.float(max_over_time).unwrap().is_nan());
    assert_eq!(alone.float(ts_of_max_over_time), Some(20.0));
}

#[test]
fn the_last_of_equal_extremes_gives_the_time() {
    let case = values(&[2.0, 1.0, 2.0, 1.0, 1.5]);
    assert_eq!(case.float(ts_of_max_over_time), Some(30.0));
    assert_eq!(case.float(ts_of_min_over_time), Some(40.0));
}

#[test]
fn infinities_are_summed() {
    assert_eq!(values(&[INF, 1.0]).float(sum_over_time), Some(INF));
    assert_eq!(values(&[1.0, -INF]).float(avg_over_time), Some(-INF));
    assert!(values(&[INF, -INF]).float(sum_over_time).unwrap().is_nan());
    assert!(values(&[INF, -INF]).float(avg_over_time).unwrap().is_nan());
    assert_eq!(values(&[1e308, 1e308, 1e308]).float(avg_over_time), Some(1e308));
    assert_eq!(values(&[1.0, 1e100, 1.0, -1e100]).float(sum_over_time), Some(2.0));
}

#[test]
fn phi_that_is_no_rank_is_remarked_upon_where_it_stands() {
    for (phi, expected) in [(-0.5, -INF), (1.5, INF)] {
        let case = Case { args: vec![phi], ..values(&[1.0]) };
        let value = case.remarked(quantile_over_time, "quantile value should be between 0 and 1");
        assert_eq!(value, PointValue::Float(expected));
        assert!(case.ask(quantile_over_time).1[0].ends_with("(1:1)"));
    }
    let case = Case { args: vec![NAN], ..values(&[1.0]) };
    assert!(case.remarked(quantile_over_time, "got NaN").as_float().unwrap().is_nan());
}

#[test]
fn histograms_among_floats_are_left_out_where_they_mean_nothing() {
    let case = values(&[1.0, 2.0]).with(&[(15.0, exponential(&[1.0]))]);
    let case = Case { args: vec![1.0], ..case };
    for function in OF_FLOATS {
        let value = case.remarked(function, "ignored histograms in a range");
        assert_eq!(
            value,
            PointValue::Float(Case { histograms: vec![], ..case.clone() }.float(function).unwrap())
        );
    }
    case.refused(sum_over_time, "mix of histograms and floats");
    case.refused(avg_over_time, "mix of histograms and floats");
}

#[test]
fn samples_of_either_kind_count() {
    let [one, two] = [exponential(&[1.0]), exponential(&[2.0])];
    let inside = values(&[1.0, 2.0, 3.0]).with(&[(15.0, one.clone()), (25.0, two.clone())]);
    assert_eq!(inside.float(count_over_time), Some(5.0));
    assert_eq!(inside.float(first_over_time), Some(1.0));
    assert_eq!(inside.float(last_over_time), Some(3.0));
    assert_eq!(inside.float(ts_of_first_over_time), Some(10.0));
    assert_eq!(inside.float(ts_of_last_over_time), Some(30.0));
    let around = values(&[1.0]).with(&[(5.0, one.clone()), (25.0, two.clone())]);
    assert_eq!(around.histogram(first_over_time), one);
    assert_eq!(around.histogram(last_over_time), two);
    assert_eq!(around.float(ts_of_first_over_time), Some(5.0));
    assert_eq!(around.float(ts_of_last_over_time), Some(25.0));
    assert_eq!(values(&[]).with(&[(5.0, one)]).float(present_over_time), Some(1.0));
}

#[test]
fn histograms_are_summed() {
    let case = values(&[]).with(&[(10.0, exponential(&[1.0, 2.0])), (20.0, exponential(&[3.0, 0.0, 4.0]))]);
    let sum = case.histogram(sum_over_time);
    assert_eq!((sum.count, sum.sum, sum.positive_buckets), (10.0, 100.0, vec![4.0, 2.0, 4.0]));
    let mean = case.histogram(avg_over_time);
    assert_eq!((mean.count, mean.sum, mean.positive_buckets), (5.0, 50.0, vec![2.0, 1.0, 2.0]));
    assert!(case.ask(avg_over_time).1.is_empty());
}

#[test]
fn histograms_that_do_not_go_together_are_remarked_upon() {
    let mixed = values(&[]).with(&[(10.0, exponential(&[1.0])), (20.0, custom(&[1.0], &[1.0]))]);
    let bounds = values(&[]).with(&[(10.0, custom(&[1.0, 2.0], &[1.0])), (20.0, custom(&[1.0], &[1.0]))]);
    let hint = |seconds, hint| (seconds, hinted(exponential(&[1.0]), hint));
    let hints = values(&[]).with(&[hint(10.0, ResetHint::Yes), hint(20.0, ResetHint::No)]);
    for function in [sum_over_time, avg_over_time] as [RangeFn; 2] {
        mixed.refused(function, "mix of histograms with exponential and custom buckets");
        bounds.remarked(function, "mismatched custom buckets were reconciled during aggregation");
        hints.remarked(function, "conflicting counter resets during histogram aggregation");
    }
}

#[test]
fn large_windows_leave_nothing_behind() {
    let many: Vec<f64> = (0..50_001).map(f64::from).collect();
    let case = Case { args: vec![0.5], ..values(&many) };
    assert_eq!(case.float(quantile_over_time), Some(25_000.0));
    assert_eq!(case.float(mad_over_time), Some(12_500.0));
    assert!(COPY.with_borrow(Vec::capacity) <= KEPT_VALUES);
    assert_eq!(values(&[1.0, 5.0]).float(mad_over_time), Some(2.0));
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn aggregates_are_what_their_definitions_say(
        numbers in prop::collection::vec(-1e6..1e6f64, 1..40),
        phi in 0.0..=1.0f64,
    ) {
        let case = Case { args: vec![phi], ..values(&numbers) };
        let ask = |function: RangeFn| case.float(function).unwrap();
        let n = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        prop_assert!(close(ask(sum_over_time), sum));
        prop_assert!(close(ask(avg_over_time), sum / n));
        let variance = numbers.iter().map(|value| (value - sum / n).powi(2)).sum::<f64>() / n;
        prop_assert!(close(ask(stdvar_over_time), variance));
        prop_assert!(close(ask(stddev_over_time), variance.sqrt()));
        let mut sorted = numbers.clone();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(ask(min_over_time), sorted[0]);
        prop_assert_eq!(ask(max_over_time), sorted[sorted.len() - 1]);
        let at = |sorted: &[f64], phi: f64| {
            let rank = phi * (n - 1.0);
            let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            below + (above - below) * rank.fract()
        };
        prop_assert!(close(ask(quantile_over_time), at(&sorted, phi)));
        let median = at(&sorted, 0.5);
        let mut distances: Vec<f64> = numbers.iter().map(|value| (value - median).abs()).collect();
        distances.sort_by(f64::total_cmp);
        prop_assert!(close(ask(mad_over_time), at(&distances, 0.5)));
        let last = |wanted: f64| numbers.iter().rposition(|value| *value == wanted).unwrap() as f64 * 10.0 + 10.0;
        prop_assert_eq!(ask(ts_of_min_over_time), last(sorted[0]));
        prop_assert_eq!(ask(ts_of_max_over_time), last(sorted[sorted.len() - 1]));
    }
}
