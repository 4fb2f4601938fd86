//! Histograms as texts.

use metricsd_model::ResetHint;

use super::super::notation::{parse, write};
use super::super::to_text;
use super::h;

#[test]
fn label_values_list_the_filled_buckets() {
    let histogram = h("{{count:4 sum:5 z_bucket:2 z_bucket_w:0.001 buckets:[0 1] n_buckets:[0 1]}}");
    assert_eq!(to_text(&histogram), "{count:4, sum:5, [-2,-1):1, [-0.001,0.001]:2, (1,2]:1}");
    assert_eq!(to_text(&h("{{}}")), "{count:0, sum:0}");
    let custom = h("{{schema:-53 count:3 sum:NaN buckets:[1 0 2] custom_values:[0.5 1e6]}}");
    assert_eq!(to_text(&custom), "{count:3, sum:NaN, [-Inf,0.5]:1, (1e+06,+Inf]:2}");
    let negative = h("{{count:-1 z_bucket:-1 z_bucket_w:0.5}}");
    assert_eq!(to_text(&negative), "{count:-1, sum:0, [-0.5,0.5]:-1}");
}

#[test]
fn every_field_is_read_and_written() {
    let text = "{{schema:1 count:5 sum:10 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 3] offset:-3 n_buckets:[4 5] \
                n_offset:2 counter_reset_hint:gauge custom_values:[5 10]}}";
    let histogram = h(text);
    assert_eq!(write(&histogram), text);
    assert_eq!((histogram.schema, histogram.count, histogram.sum), (1, 5.0, 10.0));
    assert_eq!((histogram.zero_count, histogram.zero_threshold), (1.0, 0.001));
    assert_eq!(histogram.indexed_positive(), [(-3, 1.0), (-2, 2.0), (-1, 3.0)]);
    assert_eq!(histogram.indexed_negative(), [(2, 4.0), (3, 5.0)]);
    assert_eq!(histogram.custom_values, [5.0, 10.0]);
    assert_eq!(histogram.reset_hint, ResetHint::Gauge);
}

#[test]
fn gaps_are_written_briefly() {
    let histogram = h("{{buckets:[1 _x1000000 2 0 0 3]}}");
    assert_eq!(histogram.indexed_positive().first(), Some(&(0, 1.0)));
    assert_eq!(histogram.positive_buckets.len(), 5);
    assert_eq!(write(&histogram), "{{buckets:[1 _x1000000 2 0 0 3]}}");
}

#[test]
fn empty_and_spaced_histograms_are_read() {
    assert_eq!(write(&h(" {{ }} ")), "{{}}");
    assert_eq!(write(&h("{{  sum:-Inf\n buckets:[ 1   2 ]  }}")), "{{sum:-Inf buckets:[1 2]}}");
    assert_eq!(write(&h("{{offset:3}}")), "{{}}");
}

#[test]
fn mistakes_are_told() {
    for (text, told) in [
        ("{count:1}", "between"),
        ("{{count}}", "no value"),
        ("{{count:x}}", "no number"),
        ("{{schema:1.5}}", "no whole number"),
        ("{{colour:1}}", "no part"),
        ("{{count:1 count:2}}", "twice"),
        ("{{buckets:1}}", "no list"),
        ("{{buckets:[1}}", "lacks"),
        ("{{buckets:[1]count:1}}", "white space"),
        ("{{buckets:[_x-1]}}", "gap"),
        ("{{buckets:[_x4294967295 1]}}", "out of range"),
        ("{{counter_reset_hint:maybe}}", "none of"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}
