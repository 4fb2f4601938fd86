//! Quantiles and fractions, estimated from buckets.
//!
//! Within an exponential bucket observations are taken to be spread evenly on a logarithmic scale; within a custom
//! bucket and within the zero bucket evenly on a linear one.

use metricsd_model::NativeHistogram;

use super::buckets::{Bucket, buckets};

/// An estimate, and what NaN observations did to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// What to remark.
    pub nan: Option<NanRemark>,
}

/// NaN observations are counted, but in no bucket: they act as if they were above all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanRemark {
    /// The quantile falls among them, and so is NaN.
    Result,
    /// The quantile is higher than it would be without them.
    Skewed,
    /// They are in no fraction.
    Excluded,
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self { value, nan: None }
    }
}

/// The value below which the share `phi` of all observations lies.
///
/// -Inf for `phi` below 0, +Inf above 1, NaN for NaN and for a histogram without observations.
pub fn quantile(histogram: &NativeHistogram, phi: f64) -> Estimate {
    if phi < 0.0 {
        return f64::NEG_INFINITY.into();
    }
    if phi > 1.0 {
        return f64::INFINITY.into();
    }
    if histogram.count == 0.0 || phi.is_nan() {
        return f64::NAN.into();
    }
    let all = buckets(histogram);
    let nan_sum = histogram.sum.is_nan();
    // Walking from the nearer end meets fewer rounding errors; NaN observations are beyond the upper end, though.
    let from_below = nan_sum || phi < 0.5;
    let rank = if from_below { phi } else { 1.0 - phi } * histogram.count;
    let (mut bucket, count) = if from_below { find(all.iter(), rank) } else { find(all.iter().rev(), rank) };
    let count = count.min(histogram.count);
    let nan = if nan_sum { nan_remark(histogram, &all, count < rank) } else { None };
    if nan == Some(NanRemark::Result) {
        return Estimate { value: f64::NAN, nan };
    }
    if let Some(value) = settle_ends(histogram, &mut bucket) {
        return Estimate { value, nan };
    }
    if count < rank {
        return Estimate { value: bucket.upper, nan };
    }
    let within = if from_below { rank - (count - bucket.count) } else { count - rank };
    Estimate { value: value_at(histogram, &bucket, within / bucket.count), nan }
}

/// The first filled bucket up to which there are `rank` observations, and how many there are; the last one if there
/// are fewer.
fn find<'a>(buckets: impl Iterator<Item = &'a Bucket>, rank: f64) -> (Bucket, f64) {
    let mut count = 0.0;
    let mut last = Bucket::default();
    for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
        last = *bucket;
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    (last, count)
}

fn nan_remark(histogram: &NativeHistogram, all: &[Bucket], beyond: bool) -> Option<NanRemark> {
    if beyond {
        return Some(NanRemark::Result);
    }
    let total: f64 = all.iter().map(|bucket| bucket.count).sum();
    (total < histogram.count).then_some(NanRemark::Skewed)
}

/// Gives a bucket that reaches to infinity, or across zero for no reason, the end that estimates use; or says what the
/// estimate is where there is no such end.
fn settle_ends(histogram: &NativeHistogram, bucket: &mut Bucket) -> Option<f64> {
    if !histogram.uses_custom_buckets() {
        if bucket.lower < 0.0 && bucket.upper > 0.0 {
            one_sided(histogram, bucket);
        }
    } else if bucket.lower == f64::NEG_INFINITY {
        if bucket.upper <= 0.0 {
            return Some(bucket.upper);
        }
        bucket.lower = 0.0;
    } else if bucket.upper == f64::INFINITY {
        return Some(bucket.lower);
    }
    None
}

/// Where there are observations on one side of zero only, those of the zero bucket are on that side too.
pub(super) fn one_sided(histogram: &NativeHistogram, zero: &mut Bucket) {
    match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
        (true, false) => zero.lower = 0.0,
        (false, true) => zero.upper = 0.0,
        _ => {}
    }
}

fn is_linear(histogram: &NativeHistogram, bucket: &Bucket) -> bool {
    histogram.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
}

/// The value below which that share of the bucket's observations lies.
fn value_at(histogram: &NativeHistogram, bucket: &Bucket, share: f64) -> f64 {
    if is_linear(histogram, bucket) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    }
}

/// The share of the bucket's observations below a value that lies within it.
pub(super) fn share_below(linear: bool, bucket: &Bucket, value: f64) -> f64 {
    if linear {
        if bucket.lower == f64::NEG_INFINITY {
            return 1.0;
        }
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let log = |value: f64| value.abs().log2();
    let (lower, upper, at) = (log(bucket.lower), log(bucket.upper), log(value));
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

/// The share of all observations between two values.
///
/// NaN where a value is NaN or there are no observations, 0 where `lower` is not below `upper`. NaN observations are in
/// no fraction, but count among all of them.
pub fn fraction(histogram: &NativeHistogram, lower: f64, upper: f64) -> Estimate {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN.into();
    }
    if lower >= upper {
        return 0.0.into();
    }
    let all = buckets(histogram);
    let (count, nan) = countable(histogram, &all);
    let below = |value: f64| match rank(histogram, &all, value) {
        Some(rank) if rank > count => count,
        Some(rank) => rank,
        None => count,
    };
    Estimate { value: (below(upper) - below(lower)) / histogram.count, nan }
}

/// The observations that are not NaN.
fn countable(histogram: &NativeHistogram, all: &[Bucket]) -> (f64, Option<NanRemark>) {
    if !histogram.sum.is_nan() {
        return (histogram.count, None);
    }
    let total: f64 = all.iter().map(|bucket| bucket.count).sum();
    (total, (total < histogram.count).then_some(NanRemark::Excluded))
}

/// How many observations lie below a value; `None` for a value above all buckets.
fn rank(histogram: &NativeHistogram, all: &[Bucket], value: f64) -> Option<f64> {
    let mut below = 0.0;
    for bucket in all {
        let mut bucket = *bucket;
        if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            one_sided(histogram, &mut bucket);
        }
        if bucket.lower >= value {
            return Some(below);
        }
        if bucket.upper > value {
            return Some(below + bucket.count * share_below(is_linear(histogram, &bucket), &bucket, value));
        }
        below += bucket.count;
    }
    None
}
