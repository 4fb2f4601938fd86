//! Tests with values worked out by hand.

use metricsd_model::NativeHistogram;

use super::notation::{parse, write};
use super::*;

fn h(text: &str) -> NativeHistogram {
    parse(text).unwrap()
}

#[test]
fn sums_are_over_matching_buckets() {
    let one = h("{{count:6 sum:10 z_bucket:1 buckets:[1 2] n_buckets:[2]}}");
    let two = h("{{count:4 sum:5 z_bucket:1 buckets:[1 2] offset:1}}");
    let sum = add(&one, &two).unwrap();
    assert_eq!(write(&sum.histogram), "{{count:10 sum:15 z_bucket:2 buckets:[1 3 2] n_buckets:[2]}}");
    let difference = sub(&sum.histogram, &two).unwrap();
    assert_eq!(
        write(&difference.histogram),
        "{{count:6 sum:10 z_bucket:1 buckets:[1 2 0] n_buckets:[2] counter_reset_hint:gauge}}"
    );
    assert!(same(&difference.histogram, &one));
}
