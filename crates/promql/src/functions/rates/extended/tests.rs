//! Histograms in ranges whose ends are `anchored` or `smoothed`.

use metricsd_model::NativeHistogram;

use crate::ast::Boundaries::{self, Anchored, Smoothed};
use crate::functions::RangeFn;
use crate::functions::rates::{changes, delta, increase, rate, resets};
use crate::functions::window::testing::{Case, custom, exponential, floats, gauge};
use crate::value::PointValue;

/// Histograms inside of a window from 0 to 60 s, and one before and one after it.
fn case(
    boundaries: Boundaries,
    before: &[(f64, NativeHistogram)],
    inside: &[(f64, NativeHistogram)],
) -> Case {
    Case { boundaries, histogram_before: before.first().cloned(), ..floats(&[]).with(inside) }
}

fn at(seconds: f64, buckets: &[f64]) -> (f64, NativeHistogram) {
    (seconds, exponential(buckets))
}

fn histogram(value: PointValue) -> NativeHistogram {
    match value {
        PointValue::Histogram(histogram) => (*histogram).clone(),
        PointValue::Float(value) => panic!("no histogram: {value}"),
    }
}

fn buckets(case: &Case, function: RangeFn) -> Vec<f64> {
    case.histogram(function).positive_buckets
}

#[test]
fn anchored_histograms_stand_on_both_ends() {
    let inside = [at(20.0, &[2.0, 5.0]), at(50.0, &[3.0, 8.0])];
    let anchored = case(Anchored, &[at(-10.0, &[1.0, 4.0])], &inside);
    assert_eq!(buckets(&anchored, increase), [2.0, 4.0]);
    assert_eq!(anchored.histogram(increase), gauge(exponential(&[2.0, 4.0])));
    assert_eq!(anchored.histogram(rate).count, 6.0 / 60.0);
    assert_eq!((anchored.float(changes), anchored.float(resets)), (Some(2.0), Some(0.0)));
    // Nothing before: the first one inside. One is enough.
    assert_eq!(buckets(&case(Anchored, &[], &inside), increase), [1.0, 3.0]);
    assert_eq!(case(Anchored, &[], &inside[..1]).histogram(increase), gauge(NativeHistogram::default()));
    // None inside is none at all.
    for function in [rate, increase, delta, changes, resets] as [RangeFn; 5] {
        assert_eq!(case(Anchored, &[at(-10.0, &[1.0])], &[]).ask(function), (None, vec![]));
    }
}

#[test]
fn anchored_histograms_begin_again() {
    let again = case(Anchored, &[at(-10.0, &[6.0])], &[at(20.0, &[2.0]), at(50.0, &[3.0])]);
    assert_eq!(buckets(&again, increase), [3.0]);
    assert_eq!(again.float(resets), Some(1.0));
    let (fallen, remarks) = again.ask(delta);
    assert_eq!(histogram(fallen.unwrap()).positive_buckets, [-3.0]);
    assert!(remarks.len() == 1 && remarks[0].contains("not a gauge"));
}

#[test]
fn smoothed_histograms_lie_on_lines() {
    let inside = [at(20.0, &[30.0]), at(50.0, &[60.0])];
    let before = [at(-20.0, &[10.0])];
    let smoothed = Case { histogram_after: Some(at(70.0, &[100.0])), ..case(Smoothed, &before, &inside) };
    // 20 at the start, 80 at the end.
    assert_eq!(buckets(&smoothed, increase), [60.0]);
    assert_eq!(smoothed.histogram(rate).sum, 10.0);
    assert_eq!(buckets(&case(Smoothed, &[], &inside), increase), [30.0]);
    // A sample on the start is the value there.
    assert_eq!(buckets(&case(Smoothed, &[at(0.0, &[25.0])], &inside), increase), [35.0]);
    // Nothing inside: one line from neighbour to neighbour.
    let across =
        Case { histogram_after: Some(at(90.0, &[120.0])), ..case(Smoothed, &[at(-30.0, &[60.0])], &[]) };
    assert_eq!(buckets(&across, increase), [30.0]);
    assert_eq!(case(Smoothed, &before, &[]).ask(increase), (None, vec![]));
}

#[test]
fn smoothed_histograms_grow_from_nothing_where_they_begin_again() {
    let inside = [at(20.0, &[40.0]), at(50.0, &[70.0])];
    // From 0 at -20 s to 40 at 20 s: 20 at the start. From 0 at 50 s to 20 at 70 s: 10 more at the end.
    let again =
        Case { histogram_after: Some(at(70.0, &[20.0])), ..case(Smoothed, &[at(-20.0, &[99.0])], &inside) };
    assert_eq!(buckets(&again, increase), [60.0]);
    // A gauge falls: from 69.5 at the start to 45 at the end.
    let hinted = |(seconds, histogram): (f64, NativeHistogram)| (seconds, gauge(histogram));
    let falling = Case {
        histogram_after: Some(hinted(at(70.0, &[20.0]))),
        ..case(Smoothed, &[hinted(at(-20.0, &[99.0]))], &inside.map(hinted))
    };
    assert_eq!(buckets(&falling, delta), [-24.5]);
}

#[test]
fn kinds_do_not_mix_anywhere_around_a_window() {
    let inside = [at(20.0, &[1.0]), at(50.0, &[2.0])];
    let mixed = Case { before: Some((-10.0, 1.0)), ..case(Anchored, &[], &inside) };
    mixed.refused(increase, "mix of histograms and floats");
    // Steps between the two count, though.
    assert_eq!((mixed.float(changes), mixed.float(resets)), (Some(2.0), Some(1.0)));
    let after =
        Case { histogram_after: Some(inside[0].clone()), boundaries: Smoothed, ..floats(&[(20.0, 1.0)]) };
    after.refused(rate, "mix of histograms and floats");
}

#[test]
fn bucket_layouts_are_brought_together() {
    let layouts = case(
        Anchored,
        &[(-10.0, custom(&[1.0, 5.0], &[1.0, 2.0, 1.0]))],
        &[(20.0, custom(&[1.0, 7.0], &[2.0, 4.0, 1.0]))],
    );
    let change = layouts.remarked(increase, "mismatched custom buckets were reconciled during subtraction");
    let change = histogram(change);
    assert_eq!((change.custom_values, change.positive_buckets), (vec![1.0], vec![1.0, 2.0]));
    let mixed = case(Anchored, &[at(-10.0, &[1.0])], &[(20.0, custom(&[1.0], &[1.0, 2.0]))]);
    mixed.refused(increase, "exponential and custom buckets");
}
