//! Where buckets are.

use metricsd_model::{NativeHistogram, Span};

use super::super::bounds::bound;
use super::super::{Bucket, api_buckets, buckets};
use super::h;

#[test]
fn bounds_are_powers_of_two_at_schema_0() {
    for (index, wanted) in
        [(0, 1.0), (1, 2.0), (-1, 0.5), (10, 1024.0), (1024, f64::MAX), (1025, f64::INFINITY)]
    {
        assert_eq!(bound(index, 0, &[]), wanted, "{index}");
    }
    assert_eq!(bound(-1022, 0, &[]), f64::MIN_POSITIVE);
    assert_eq!(bound(-1074, 0, &[]), f64::from_bits(1));
    assert_eq!(bound(-1075, 0, &[]), 0.0);
}

#[test]
fn coarse_buckets_span_several_powers_of_two() {
    assert_eq!(bound(1, -1, &[]), 4.0);
    assert_eq!(bound(1, -4, &[]), 65_536.0);
    assert_eq!(bound(-2, -4, &[]), 2f64.powi(-32));
    assert_eq!(bound(64, -4, &[]), f64::MAX);
    assert_eq!(bound(65, -4, &[]), f64::INFINITY);
}

#[test]
fn fine_bounds_are_those_of_the_clients() {
    assert_eq!(bound(1, 1, &[]), 2.0 * 0.707_106_781_186_547_5);
    let third = [
        1.0,
        2.0 * 0.545_253_866_332_628_8,
        2.0 * 0.594_603_557_501_360_5,
        2.0 * 0.648_419_777_325_504_8,
        2.0 * 0.707_106_781_186_547_5,
        2.0 * 0.771_105_412_703_970_4,
        2.0 * 0.840_896_415_253_714_4,
        2.0 * 0.917_004_043_204_671_1,
        2.0,
    ];
    for (index, wanted) in (0..).zip(third) {
        assert_eq!(bound(index, 3, &[]), wanted, "{index}");
        assert_eq!(bound(index - 80, 3, &[]), wanted / 1024.0, "{index}");
    }
    for (index, fraction) in [
        (1, 0.510_948_574_327_058_3),
        (3, 0.533_570_200_338_411_7),
        (5, 0.557_193_371_297_946_2),
        (11, 0.634_525_478_595_866_6),
        (17, 0.722_590_403_488_523_2),
        (19, 0.754_582_213_796_711_2),
    ] {
        assert_eq!(bound(index, 5, &[]), 2.0 * fraction, "{index}");
    }
    assert_eq!(bound(256, 8, &[]), 2.0);
    assert_eq!(bound(1024 << 8, 8, &[]), f64::MAX);
    assert_eq!(bound((1024 << 8) + 1, 8, &[]), f64::INFINITY);
}

#[test]
fn fine_bounds_are_close_to_their_definition() {
    for schema in 1..=8 {
        for index in -600..600 {
            let wanted = (f64::from(index) / f64::from(1 << schema)).exp2();
            let got = bound(index, schema, &[]);
            assert!((got / wanted - 1.0).abs() < 1e-14, "{index} at {schema}: {got}, {wanted}");
            assert!(got > bound(index - 1, schema, &[]));
        }
    }
}

#[test]
fn absurd_indices_and_schemas_have_bounds() {
    for schema in [i32::MIN, -53, -31, -4, 0, 8, 9, 52, i32::MAX] {
        for index in [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX] {
            assert!(!bound(index, schema, &[1.0]).is_nan());
        }
    }
    assert_eq!(bound(i32::MAX, 8, &[]), f64::INFINITY);
    assert_eq!(bound(i32::MIN, 8, &[]), 0.0);
}

fn bucket(brackets: &str, lower: f64, upper: f64, count: f64) -> Bucket {
    let (lower_inclusive, upper_inclusive) = (brackets.starts_with('['), brackets.ends_with(']'));
    Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
}

#[test]
fn buckets_ascend() {
    let histogram = h("{{count:9 z_bucket:2 z_bucket_w:0.25 buckets:[1 0 3] n_buckets:[2 1]}}");
    assert_eq!(
        buckets(&histogram),
        [
            bucket("[)", -2.0, -1.0, 1.0),
            bucket("[)", -1.0, -0.5, 2.0),
            bucket("[]", -0.25, 0.25, 2.0),
            bucket("(]", 0.5, 1.0, 1.0),
            bucket("(]", 1.0, 2.0, 0.0),
            bucket("(]", 2.0, 4.0, 3.0),
        ]
    );
    let listed = [
        (1, -2.0, -1.0, 1.0),
        (1, -1.0, -0.5, 2.0),
        (3, -0.25, 0.25, 2.0),
        (0, 0.5, 1.0, 1.0),
        (0, 2.0, 4.0, 3.0),
    ];
    assert_eq!(api_buckets(&histogram), listed);
}

#[test]
fn the_zero_bucket_covers_what_it_reaches_into() {
    let histogram = h("{{count:3 z_bucket:1 z_bucket_w:0.75 buckets:[1] n_buckets:[1]}}");
    assert_eq!(
        buckets(&histogram),
        [bucket("[)", -1.0, -0.75, 1.0), bucket("[]", -0.75, 0.75, 1.0), bucket("(]", 0.75, 1.0, 1.0)]
    );
}

#[test]
fn custom_buckets_begin_and_end_at_infinity() {
    let histogram = h("{{schema:-53 count:6 custom_values:[-1 3] buckets:[1 2 3]}}");
    assert_eq!(
        buckets(&histogram),
        [
            bucket("[]", f64::NEG_INFINITY, -1.0, 1.0),
            bucket("(]", -1.0, 3.0, 2.0),
            bucket("(]", 3.0, f64::INFINITY, 3.0),
        ]
    );
}

#[test]
fn malformed_spans_are_read_as_far_as_they_go() {
    let histogram = NativeHistogram {
        positive_spans: vec![Span { offset: i32::MAX, length: u32::MAX }, Span { offset: -5, length: 7 }],
        positive_buckets: vec![1.0, 2.0],
        negative_spans: vec![Span { offset: 1, length: 1 }],
        ..NativeHistogram::default()
    };
    assert_eq!(buckets(&histogram), [bucket("(]", f64::INFINITY, f64::INFINITY, 3.0)]);
}
