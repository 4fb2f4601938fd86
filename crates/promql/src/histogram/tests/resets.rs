//! Counters that begin again.

use super::super::detect_reset;
use super::h;

#[track_caller]
fn reset(previous: &str, current: &str, wanted: bool) {
    assert_eq!(detect_reset(&h(current), &h(previous)), wanted, "{previous} then {current}");
}

#[test]
fn hints_are_believed() {
    reset("{{count:1}}", "{{count:2 counter_reset_hint:reset}}", true);
    reset("{{count:2}}", "{{count:1 counter_reset_hint:not_reset}}", false);
    reset("{{count:2}}", "{{count:1 counter_reset_hint:gauge}}", true);
    reset("{{count:2 counter_reset_hint:reset}}", "{{count:2}}", false);
}

#[test]
fn counts_only_grow() {
    let before = "{{count:6 z_bucket:1 buckets:[1 0 2] n_buckets:[2]}}";
    reset(before, before, false);
    reset(before, "{{count:9 z_bucket:1 buckets:[2 1 2] n_buckets:[2 1]}}", false);
    reset(before, "{{count:5 z_bucket:1 buckets:[1 0 1] n_buckets:[2]}}", true);
    reset(before, "{{count:6 z_bucket:1 buckets:[2 0 1] n_buckets:[2]}}", true);
    reset(before, "{{count:6 z_bucket:1 buckets:[3] n_buckets:[2]}}", true);
    reset(before, "{{count:6 z_bucket:1 buckets:[1 1 2] n_buckets:[1]}}", true);
    reset(before, "{{count:6 buckets:[1 0 2] n_buckets:[3]}}", true);
    // An empty bucket may disappear.
    reset("{{count:1 buckets:[1 0]}}", "{{count:1 buckets:[1]}}", false);
}

#[test]
fn resolution_may_fall_but_not_rise() {
    reset("{{schema:1 count:3 buckets:[1 2] offset:1}}", "{{count:4 buckets:[4] offset:1}}", false);
    reset("{{schema:1 count:3 buckets:[1 2] offset:1}}", "{{count:4 buckets:[2 2]}}", true);
    reset("{{count:3 buckets:[3] offset:1}}", "{{schema:1 count:3 buckets:[1 2] offset:1}}", true);
}

#[test]
fn the_zero_bucket_may_widen_but_not_narrow() {
    let narrow = "{{count:4 z_bucket:1 z_bucket_w:0.5 buckets:[3]}}";
    reset(narrow, "{{count:4 z_bucket:4 z_bucket_w:1}}", false);
    reset(narrow, "{{count:4 z_bucket:3 z_bucket_w:1 buckets:[1] offset:1}}", true);
    reset(narrow, "{{count:4 z_bucket:1 z_bucket_w:0.25 buckets:[3]}}", true);
    // 0.75 lies in (0.5,1], which was filled.
    reset(narrow, "{{count:4 z_bucket:1 z_bucket_w:0.75 buckets:[3]}}", true);
}

#[test]
fn custom_buckets_are_compared_at_shared_bounds() {
    let before = "{{schema:-53 count:6 buckets:[1 2 3] custom_values:[1 2]}}";
    reset(before, before, false);
    reset(before, "{{schema:-53 count:6 buckets:[2 1 3] custom_values:[1 2]}}", true);
    reset(before, "{{schema:-53 count:6 buckets:[1 5] custom_values:[1]}}", false);
    reset(before, "{{schema:-53 count:6 buckets:[0 6] custom_values:[1]}}", true);
    reset(before, "{{count:6 buckets:[6]}}", true);
    reset("{{count:6 buckets:[6]}}", before, true);
}
