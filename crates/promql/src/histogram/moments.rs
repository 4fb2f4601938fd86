//! Mean and spread.

use metricsd_model::NativeHistogram;

use super::buckets::{Bucket, buckets};
use super::work::Total;

/// The mean of all observations; NaN where there are none.
pub fn average(histogram: &NativeHistogram) -> f64 {
    histogram.sum / histogram.count
}

/// The standard deviation of the observations, estimated as [`stdvar`] is.
pub fn stddev(histogram: &NativeHistogram) -> f64 {
    stdvar(histogram).sqrt()
}

/// The variance of the observations, all of a bucket taken to be in its middle: the geometric mean of the bounds of an
/// exponential bucket, the arithmetic one of a custom bucket, 0 for the zero bucket.
pub fn stdvar(histogram: &NativeHistogram) -> f64 {
    let mean = average(histogram);
    let mut variance = Total::default();
    for bucket in buckets(histogram).iter().filter(|bucket| bucket.count != 0.0) {
        let delta = middle(histogram, bucket) - mean;
        variance.add((bucket.count * delta * delta).into());
    }
    variance.value() / histogram.count
}

fn middle(histogram: &NativeHistogram, bucket: &Bucket) -> f64 {
    if histogram.uses_custom_buckets() {
        return f64::midpoint(bucket.upper, bucket.lower);
    }
    if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
        return 0.0;
    }
    let middle = (bucket.upper * bucket.lower).sqrt();
    if bucket.upper < 0.0 { -middle } else { middle }
}
