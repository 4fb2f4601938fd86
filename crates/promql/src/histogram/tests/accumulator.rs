//! Sums and means.

use super::super::{Accumulator, Incompatible};
use super::{h, is};

fn accumulated(histograms: &[&str]) -> Accumulator {
    let mut accumulator = Accumulator::new();
    for text in histograms {
        accumulator.add(&h(text)).unwrap();
    }
    accumulator
}

#[test]
fn nothing_has_no_sum() {
    let empty = Accumulator::new();
    assert!(empty.is_empty() && empty.sum().is_none() && empty.mean().is_none());
}

#[test]
fn sums_and_means_go_over_all() {
    let all = accumulated(&[
        "{{schema:1 count:3 sum:3 buckets:[1 2] offset:1}}",
        "{{count:4 sum:5 z_bucket:3 z_bucket_w:0.5 buckets:[1] offset:1}}",
        "{{count:5 sum:1 buckets:[5] n_buckets:[0]}}",
    ]);
    assert_eq!(all.len(), 3);
    is(&all.sum().unwrap(), "{{count:12 sum:9 z_bucket:3 z_bucket_w:0.5 buckets:[5 4]}}");
    let thrice = accumulated(&["{{count:6 sum:3 buckets:[6]}}", "{{}}", "{{}}"]);
    is(&thrice.mean().unwrap(), "{{count:2 sum:1 buckets:[2]}}");
    assert!(!all.collision() && !all.reconciled());
}

#[test]
fn small_counts_are_not_lost_among_large_ones() {
    let all = accumulated(&[
        "{{count:1e16 sum:1e16 buckets:[1e16]}}",
        "{{count:1 sum:1 buckets:[1]}}",
        "{{count:1 sum:1 buckets:[1]}}",
        "{{count:-1e16 sum:-1e16 buckets:[-1e16]}}",
    ]);
    is(&all.sum().unwrap(), "{{count:2 sum:2 buckets:[2]}}");
    is(&all.mean().unwrap(), "{{count:0.5 sum:0.5 buckets:[0.5]}}");
}

#[test]
fn a_sum_beyond_all_floats_still_has_a_mean() {
    let large = "{{count:2 sum:1.5e308 buckets:[2]}}";
    let all = accumulated(&[large, large, large, large]);
    assert_eq!(all.sum().unwrap().sum, f64::INFINITY);
    let mean = all.mean().unwrap();
    assert_eq!((mean.count, mean.positive_buckets), (2.0, vec![2.0]));
    assert!((mean.sum / 1.5e308 - 1.0).abs() < 1e-12);
    let once = accumulated(&["{{count:1 sum:+Inf}}", "{{count:1 sum:1}}"]);
    assert_eq!(once.mean().unwrap().sum, f64::INFINITY);
}

#[test]
fn hints_collide_over_any_distance() {
    let all = accumulated(&[
        "{{counter_reset_hint:reset}}",
        "{{counter_reset_hint:gauge}}",
        "{{counter_reset_hint:not_reset}}",
    ]);
    assert!(all.collision());
    is(&all.sum().unwrap(), "{{counter_reset_hint:gauge}}");
}

#[test]
fn custom_bounds_are_reconciled_and_told() {
    let mut all = accumulated(&[
        "{{schema:-53 count:3 buckets:[1 2] custom_values:[1 2]}}",
        "{{schema:-53 count:7 buckets:[3 4] custom_values:[2]}}",
    ]);
    assert!(all.reconciled());
    assert_eq!(all.add(&h("{{count:1}}")), Err(Incompatible));
    is(&all.sum().unwrap(), "{{schema:-53 count:10 buckets:[6 4] custom_values:[2]}}");
}
