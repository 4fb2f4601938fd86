//! Histograms as label values.

use std::fmt::Write as _;

use metricsd_model::NativeHistogram;

use super::buckets::{Bucket, negative_bucket, positive_bucket, zero_bucket};
use crate::number;

/// The histogram as `count_values` writes it: `{count:4, sum:5, [-2,-1):1, [-0.001,0.001]:2, (1,2]:1}`. Only buckets
/// that hold anything are there, with their own bounds even where the zero bucket reaches into them.
pub fn to_text(histogram: &NativeHistogram) -> String {
    let mut out =
        format!("{{count:{}, sum:{}", number::format(histogram.count), number::format(histogram.sum));
    let mut write = |bucket: Bucket| {
        if bucket.count != 0.0 {
            write_bucket(&mut out, &bucket);
        }
    };
    for (index, count) in histogram.indexed_negative().into_iter().rev() {
        write(negative_bucket(histogram, index, count));
    }
    write(zero_bucket(histogram));
    for (index, count) in histogram.indexed_positive() {
        write(positive_bucket(histogram, index, count));
    }
    out.push('}');
    out
}

fn write_bucket(out: &mut String, bucket: &Bucket) {
    let open = if bucket.lower_inclusive { '[' } else { '(' };
    let close = if bucket.upper_inclusive { ']' } else { ')' };
    let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(number::format);
    // Writing to a string cannot fail.
    let _ = write!(out, ", {open}{lower},{upper}{close}:{count}");
}
