use metricsd_model::ResetHint;
use proptest::prelude::*;

use super::*;
use crate::functions::RangeFn;
use crate::functions::window::testing::{Case, custom, exponential, floats, gauge, hinted, values};

const ALL: [RangeFn; 5] = [rate, increase, delta, irate, idelta];

#[test]
fn one_sample_is_no_change() {
    for function in ALL {
        assert_eq!(values(&[]).float(function), None);
        assert_eq!(values(&[1.0]).float(function), None);
        assert_eq!(values(&[]).with(&[(10.0, exponential(&[1.0]))]).ask(function), (None, vec![]));
    }
}

#[test]
fn changes_go_on_to_ends_that_are_near() {
    // From 10 s to 60 s by 50, and 10 s more at the start.
    let steady = values(&[110.0, 120.0, 130.0, 140.0, 150.0, 160.0]);
    assert_eq!(steady.float(increase), Some(60.0));
    assert_eq!(steady.float(delta), Some(60.0));
    assert_eq!(steady.float(rate), Some(1.0));
}

#[test]
fn changes_go_on_for_half_a_distance_where_ends_are_far() {
    // 11 s are 1.1 distances, and are far; 10.9 s are not.
    let case = |start, end| Case { start, end, ..floats(&[(20.0, 100.0), (30.0, 110.0), (40.0, 120.0)]) };
    assert_eq!(case(9.0, 51.0).float(increase), Some(30.0));
    assert_eq!(case(0.0, 60.0).float(increase), Some(30.0));
    assert!((case(9.1, 50.9).float(increase).unwrap() - 41.8).abs() < 1e-9);
    assert_eq!(case(20.0, 40.0).float(increase), Some(20.0));
}

#[test]
fn a_counter_does_not_begin_below_zero() {
    // It was at zero 5 s before the first sample.
    let young = floats(&[(20.0, 5.0), (40.0, 25.0), (60.0, 45.0)]);
    assert_eq!(young.float(increase), Some(45.0));
    assert_eq!(young.float(delta), Some(60.0));
    // From zero on there is nothing to add, and below zero there is no such limit.
    assert_eq!(floats(&[(20.0, 0.0), (40.0, 20.0), (60.0, 40.0)]).float(increase), Some(40.0));
    assert_eq!(floats(&[(20.0, -1.0), (40.0, 19.0), (60.0, 39.0)]).float(increase), Some(60.0));
}

#[test]
fn counters_begin_again_and_gauges_fall() {
    let falling = Case { start: 10.0, end: 40.0, ..values(&[100.0, 110.0, 5.0, 15.0]) };
    assert_eq!(falling.float(increase), Some(25.0));
    assert_eq!(falling.float(delta), Some(-85.0));
    assert_eq!(falling.float(irate), Some(1.0));
    assert_eq!(values(&[100.0, 110.0, 5.0]).float(irate), Some(0.5));
    assert_eq!(values(&[100.0, 110.0, 5.0]).float(idelta), Some(-105.0));
}

#[test]
fn nan_and_infinity_are_passed_on() {
    for function in ALL {
        assert!(values(&[1.0, f64::NAN]).float(function).unwrap().is_nan());
        assert!(values(&[f64::INFINITY, f64::INFINITY]).float(function).unwrap().is_nan());
        assert_eq!(values(&[1.0, f64::INFINITY]).float(function), Some(f64::INFINITY));
    }
}

#[test]
fn floats_of_another_name_may_be_no_counter() {
    let gauge = Case { name: "temperature", ..values(&[1.0, 2.0]) };
    for function in [rate, increase] as [RangeFn; 2] {
        gauge.remarked(function, "might not be a counter");
        for name in ["", "a_sum", "a_count", "a_bucket", "a_total"] {
            assert!(Case { name, ..gauge.clone() }.float(function).is_some());
        }
        // Only an answer is worth the remark.
        assert_eq!(Case { name: "temperature", ..values(&[1.0]) }.float(function), None);
        let histograms = values(&[]).with(&[(10.0, exponential(&[1.0])), (20.0, exponential(&[2.0]))]);
        assert_eq!(Case { name: "temperature", ..histograms }.ask(function).1, Vec::<String>::new());
    }
    for function in [delta, irate, idelta] as [RangeFn; 3] {
        assert!(gauge.float(function).is_some());
    }
}

#[test]
fn floats_and_histograms_do_not_mix() {
    let mixed = values(&[1.0, 2.0]).with(&[(25.0, exponential(&[1.0]))]);
    for function in ALL {
        mixed.refused(function, "mix of histograms and floats");
    }
    // The last two samples decide.
    let long_ago = values(&[1.0, 2.0, 4.0]).with(&[(15.0, exponential(&[1.0]))]);
    assert_eq!(long_ago.float(irate), Some(0.2));
    assert_eq!(long_ago.float(idelta), Some(2.0));
    let lately = values(&[1.0]).with(&[(15.0, exponential(&[1.0])), (25.0, exponential(&[3.0]))]);
    assert_eq!(lately.histogram(irate).count, 0.2);
}

#[test]
fn histograms_grow_as_their_counts_do() {
    let growing = values(&[]).with(&[
        (20.0, exponential(&[10.0, 10.0])),
        (40.0, exponential(&[20.0, 10.0])),
        (60.0, exponential(&[30.0, 10.0])),
    ]);
    let expected = gauge(exponential(&[30.0]));
    assert_eq!(growing.histogram(increase), expected);
    assert_eq!(growing.histogram(rate).positive_buckets, [0.5]);
    assert_eq!(growing.histogram(irate), gauge(exponential(&[0.5])));
    assert_eq!(growing.ask(increase).1, Vec::<String>::new());
    // The zero point of the count, 5 s before the first sample, is as far as it goes.
    let young = values(&[]).with(&[
        (20.0, exponential(&[5.0])),
        (40.0, exponential(&[25.0])),
        (60.0, exponential(&[45.0])),
    ]);
    assert_eq!(young.histogram(increase), gauge(exponential(&[45.0])));
}

#[test]
fn histograms_begin_again() {
    let case = |histograms: &[(f64, NativeHistogram)]| Case {
        start: 10.0,
        end: 40.0,
        ..values(&[]).with(histograms)
    };
    let again = case(&[
        (10.0, exponential(&[10.0])),
        (20.0, exponential(&[12.0])),
        (30.0, exponential(&[1.0, 1.0])),
        (40.0, exponential(&[4.0, 2.0])),
    ]);
    assert_eq!(again.histogram(increase), gauge(exponential(&[6.0, 2.0])));
    assert_eq!(again.histogram(irate).positive_buckets, [0.3, 0.1]);
    // A first sample before a reset does not count at all, not even in what kind of buckets it has.
    let first = case(&[
        (10.0, custom(&[1.0], &[10.0])),
        (20.0, exponential(&[1.0, 1.0])),
        (40.0, exponential(&[4.0, 2.0])),
    ]);
    assert_eq!(first.histogram(increase), gauge(exponential(&[4.0, 2.0])));
    let hinted = case(&[(10.0, exponential(&[1.0])), (40.0, hinted(exponential(&[4.0]), ResetHint::Yes))]);
    assert_eq!(hinted.histogram(increase), gauge(exponential(&[4.0])));
    assert_eq!(hinted.histogram(irate), gauge(histogram::divide(&exponential(&[4.0]), 30.0)));
}

#[test]
fn histograms_of_different_resolution_meet_at_the_coarsest() {
    let fine = NativeHistogram { schema: 1, ..exponential(&[0.0, 1.0, 1.0]) };
    let case =
        values(&[]).with(&[(20.0, fine), (40.0, exponential(&[0.0, 6.0])), (60.0, exponential(&[0.0, 8.0]))]);
    let increased = Case { start: 20.0, ..case }.histogram(increase);
    assert_eq!(increased.schema, 0);
    assert_eq!(increased.count, 6.0);
    assert_eq!(increased.positive_buckets, [6.0]);
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let (custom, exponential) = (custom(&[1.0], &[1.0, 1.0]), exponential(&[2.0, 2.0]));
    let no_reset = |histogram: NativeHistogram| hinted(histogram, ResetHint::No);
    let mixed = values(&[]).with(&[(20.0, custom.clone()), (40.0, no_reset(exponential.clone()))]);
    for function in [rate, increase, irate] as [RangeFn; 3] {
        mixed.refused(function, "exponential and custom buckets");
    }
    let mixed = values(&[]).with(&[(20.0, gauge(custom.clone())), (40.0, gauge(exponential.clone()))]);
    mixed.refused(delta, "exponential and custom buckets");
    mixed.refused(idelta, "exponential and custom buckets");
    let between = [(20.0, custom.clone()), (30.0, no_reset(exponential)), (40.0, no_reset(custom))];
    values(&[]).with(&between).refused(increase, "exponential and custom buckets");
}

#[test]
fn custom_bounds_that_differ_are_brought_together() {
    let case = Case {
        start: 20.0,
        end: 40.0,
        ..values(&[]).with(&[
            (20.0, custom(&[1.0, 2.0], &[1.0, 1.0, 1.0])),
            (40.0, custom(&[1.0, 3.0], &[4.0, 5.0, 6.0])),
        ])
    };
    let (value, remarks) = case.ask(increase);
    assert_eq!(remarks.len(), 1);
    assert!(remarks[0].contains("mismatched custom buckets were reconciled during subtraction"));
    let Some(PointValue::Histogram(value)) = value else { panic!("no histogram") };
    assert_eq!(
        (value.custom_values.as_slice(), value.positive_buckets.as_slice()),
        (&[1.0][..], &[3.0, 9.0][..])
    );
}

#[test]
fn kinds_of_histograms_that_do_not_fit_the_function() {
    let of = |first: NativeHistogram, middle: NativeHistogram, last: NativeHistogram| {
        values(&[]).with(&[(20.0, first), (40.0, middle), (60.0, last)])
    };
    let [a, b, c] = [1.0, 2.0, 3.0].map(|count| exponential(&[count]));
    for function in [rate, increase, irate] as [RangeFn; 3] {
        of(a.clone(), b.clone(), gauge(c.clone())).remarked(function, "is not a counter");
    }
    of(a.clone(), gauge(b.clone()), c.clone()).remarked(rate, "is not a counter");
    of(gauge(a.clone()), b.clone(), c.clone()).remarked(rate, "is not a counter");
    for function in [delta, idelta] as [RangeFn; 2] {
        of(gauge(a.clone()), gauge(b.clone()), c.clone()).remarked(function, "is not a gauge");
        assert!(of(gauge(a.clone()), gauge(b.clone()), gauge(c.clone())).ask(function).1.is_empty());
    }
    // Only the ends count for a difference.
    let ends = of(gauge(exponential(&[5.0])), b, gauge(exponential(&[2.0])));
    assert!(ends.ask(delta).1.is_empty());
    assert_eq!(Case { start: 20.0, ..ends }.histogram(delta), gauge(exponential(&[-3.0])));
}

#[test]
fn steps_are_counted() {
    let nan = f64::NAN;
    assert_eq!(values(&[]).float(changes), None);
    assert_eq!(values(&[1.0]).float(changes), Some(0.0));
    assert_eq!(values(&[1.0, 1.0, 2.0, nan, nan, 2.0]).float(changes), Some(3.0));
    assert_eq!(values(&[0.0, -0.0]).float(changes), Some(0.0));
    assert_eq!(values(&[]).float(resets), None);
    assert_eq!(values(&[1.0]).float(resets), Some(0.0));
    assert_eq!(values(&[3.0, 3.0, 2.0, nan, 1.0, 5.0, 4.0]).float(resets), Some(2.0));
}

#[test]
fn steps_between_floats_and_histograms_count() {
    let [one, two] = [exponential(&[1.0]), exponential(&[2.0])];
    let mixed =
        values(&[1.0, 1.0, 5.0]).with(&[(5.0, one.clone()), (15.0, two.clone()), (40.0, two.clone())]);
    assert_eq!(mixed.float(changes), Some(5.0));
    assert_eq!(mixed.float(resets), Some(4.0));
    let alone = |histograms: &[NativeHistogram]| {
        values(&[]).with(&(1..).map(f64::from).zip(histograms.iter().cloned()).collect::<Vec<_>>())
    };
    assert_eq!(alone(&[one.clone(), two.clone(), two.clone(), one.clone()]).float(changes), Some(2.0));
    assert_eq!(alone(&[one.clone(), two.clone(), two.clone(), one.clone()]).float(resets), Some(1.0));
    // A gauge of the same values is neither a change nor a reset; one of smaller values is both.
    assert_eq!(alone(&[one.clone(), gauge(one.clone())]).float(changes), Some(0.0));
    assert_eq!(alone(&[one.clone(), gauge(one.clone())]).float(resets), Some(0.0));
    assert_eq!(alone(&[two, gauge(one)]).float(resets), Some(1.0));
}

fn extended(boundaries: Boundaries, case: Case) -> Case {
    Case { boundaries, ..case }
}

#[test]
fn anchored_values_stand_on_both_ends() {
    let case = extended(Boundaries::Anchored, floats(&[(20.0, 5.0), (50.0, 8.0)]));
    let anchored = Case { before: Some((-10.0, 1.0)), ..case.clone() };
    assert_eq!(anchored.float(increase), Some(7.0));
    assert_eq!(anchored.float(delta), Some(7.0));
    assert_eq!(anchored.float(rate), Some(7.0 / 60.0));
    assert_eq!(anchored.float(changes), Some(2.0));
    assert_eq!(anchored.float(resets), Some(0.0));
    // Nothing before: the first one inside.
    assert_eq!(case.float(increase), Some(3.0));
    assert_eq!(case.float(changes), Some(1.0));
    // A reset right at the start, and one inside.
    let again = Case { before: Some((-10.0, 9.0)), ..case };
    assert_eq!(again.float(increase), Some(8.0));
    assert_eq!(again.float(delta), Some(-1.0));
    assert_eq!(again.float(resets), Some(1.0));
    // One sample is enough, but one there must be inside.
    let one = extended(Boundaries::Anchored, floats(&[(20.0, 5.0)]));
    assert_eq!(one.float(increase), Some(0.0));
    let none = Case { floats: vec![], before: Some((-10.0, 9.0)), ..one };
    for function in [rate, increase, delta, changes, resets] as [RangeFn; 5] {
        assert_eq!(none.float(function), None);
    }
}

#[test]
fn smoothed_values_lie_on_lines() {
    let case = extended(Boundaries::Smoothed, floats(&[(20.0, 30.0), (50.0, 60.0)]));
    let smoothed = Case { before: Some((-20.0, 10.0)), after: Some((70.0, 100.0)), ..case.clone() };
    assert_eq!(smoothed.float(increase), Some(60.0));
    assert_eq!(smoothed.float(rate), Some(1.0));
    assert_eq!(smoothed.float(delta), Some(60.0));
    // Without neighbours only the samples inside count.
    assert_eq!(case.float(increase), Some(30.0));
    // A sample on an end is that end's value.
    let on_ends = extended(Boundaries::Smoothed, floats(&[(30.0, 5.0), (60.0, 9.0)]));
    let on_ends = Case { before: Some((0.0, 1.0)), after: Some((90.0, 100.0)), ..on_ends };
    assert_eq!(on_ends.float(increase), Some(8.0));
    // Nothing inside: one line from neighbour to neighbour.
    let across =
        Case { floats: vec![], before: Some((-30.0, 0.0)), after: Some((90.0, 120.0)), ..case.clone() };
    assert_eq!(across.float(increase), Some(60.0));
    assert_eq!(Case { before: None, ..across.clone() }.float(increase), Some(0.0));
    assert_eq!(Case { after: None, ..across }.float(increase), None);
}

#[test]
fn smoothed_counters_grow_from_zero_where_they_begin_again() {
    let case = extended(Boundaries::Smoothed, floats(&[(20.0, 40.0), (50.0, 70.0)]));
    // From 0 at -20 s to 40 at 20 s: 20 at the start.
    let at_start = Case { before: Some((-20.0, 1000.0)), ..case.clone() };
    assert_eq!(at_start.float(increase), Some(50.0));
    // From 0 at 50 s to 20 at 70 s: 10 more at the end.
    let at_end = Case { after: Some((70.0, 20.0)), ..case.clone() };
    assert_eq!(at_end.float(increase), Some(40.0));
    assert_eq!(at_end.float(delta), Some(5.0));
    let across = Case { floats: vec![], before: Some((-30.0, 500.0)), after: Some((90.0, 120.0)), ..case };
    assert_eq!(across.float(increase), Some(60.0));
}

/// The range from one time to another within a series.
fn part(samples: &[(f64, f64)], start: f64, end: f64, boundaries: Boundaries) -> Case {
    let inside = samples.iter().copied().filter(|(at, _)| *at > start && *at <= end).collect::<Vec<_>>();
    let before = samples.iter().copied().rfind(|(at, _)| *at <= start);
    let after = samples.iter().copied().find(|(at, _)| *at > end);
    Case { start, end, before, after, boundaries, ..floats(&inside) }
}

/// A counter that begins again here and there, sampled at uneven times.
fn counter() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((1_u32..40, 0_u32..100, prop::bool::weighted(0.2)), 3..30).prop_map(|steps| {
        let (mut at, mut value) = (0.0, 0.0);
        let step = |(seconds, more, again): (u32, u32, bool)| {
            at += f64::from(seconds);
            value = if again { 0.0 } else { value } + f64::from(more);
            (at, value)
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    #[test]
    fn parts_increase_as_the_whole(samples in counter(), cut in 0.0..1.0f64, smooth in any::<bool>()) {
        let boundaries = if smooth { Boundaries::Smoothed } else { Boundaries::Anchored };
        let (start, end) = (samples[0].0, samples[samples.len() - 1].0);
        let cut = (start + (end - start) * cut).round();
        let increase_of = |start, end| part(&samples, start, end, boundaries).float(increase).unwrap_or(0.0);
        let (whole, parts) = (increase_of(start, end), increase_of(start, cut) + increase_of(cut, end));
        prop_assert!((whole - parts).abs() < 1e-6, "{} {}", whole, parts);
    }

    #[test]
    fn a_counter_increases_by_what_is_counted(samples in counter()) {
        // Without room at the ends nothing is extrapolated.
        let case = Case { start: samples[0].0, end: samples[samples.len() - 1].0, ..floats(&samples) };
        let grown = |pair: &[(f64, f64)]| {
            if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 }
        };
        let counted: f64 = samples.windows(2).map(grown).sum();
        prop_assert!((case.float(increase).unwrap() - counted).abs() < 1e-6);
        prop_assert!((case.float(rate).unwrap() * (case.end - case.start) - counted).abs() < 1e-6);
        let falls = samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
        prop_assert_eq!(case.float(resets), Some(falls as f64));
    }

    #[test]
    fn histograms_increase_as_floats_do(samples in counter()) {
        let histograms: Vec<_> = samples.iter().map(|(at, value)| (*at, exponential(&[*value]))).collect();
        let end = samples[samples.len() - 1].0 + 5.0;
        let of_floats = Case { end, ..floats(&samples) }.float(increase).unwrap();
        let of_histograms = Case { end, ..floats(&[]).with(&histograms) }.histogram(increase);
        prop_assert!((of_floats - of_histograms.count).abs() < 1e-6);
        prop_assert!((of_floats * 10.0 - of_histograms.sum).abs() < 1e-6);
    }
}
