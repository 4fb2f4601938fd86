//! Leaving observations out by their value.

use metricsd_model::NativeHistogram;

use super::buckets::{Bucket, negative_bucket, positive_bucket, zero_bucket};
use super::quantile::{one_sided, share_below};

/// Which observations to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those up to the bound: the operator `</`.
    Below,
    /// Those from the bound on: the operator `>/`.
    Above,
}

/// Keeps the observations on one side of a bound.
///
/// A bucket in which the bound lies is divided as quantiles are estimated. Where a custom bucket reaches to infinity, all
/// its observations are taken to be infinite; the lowest one begins at 0, though, if it ends above 0. Count and sum are
/// those of the buckets that are left, all of a bucket taken to be in the middle of what is left of it; where nothing is
/// left out, they are untouched.
pub fn trim(histogram: &NativeHistogram, bound: f64, side: Side) -> NativeHistogram {
    let linear = histogram.uses_custom_buckets();
    let mut kept = Kept { bound, side, changed: false, count: 0.0, sum: 0.0 };
    let mut trimmed = histogram.clone();
    let mut positive = histogram.indexed_positive();
    for (index, count) in &mut positive {
        let bucket = positive_bucket(histogram, *index, *count);
        *count = kept.keep(if linear { kept.first_custom(bucket) } else { bucket }, linear);
    }
    let mut negative = histogram.indexed_negative();
    for (index, count) in &mut negative {
        *count = kept.keep(negative_bucket(histogram, *index, *count), linear);
    }
    let mut zero = zero_bucket(histogram);
    one_sided(histogram, &mut zero);
    trimmed.zero_count = kept.keep_zero(zero);
    if !kept.changed {
        return histogram.clone();
    }
    trimmed.set_positive(&positive);
    trimmed.set_negative(&negative);
    (trimmed.count, trimmed.sum) = (kept.count, kept.sum);
    super::compact(&mut trimmed);
    trimmed
}

struct Kept {
    bound: f64,
    side: Side,
    changed: bool,
    count: f64,
    sum: f64,
}

impl Kept {
    /// The lowest custom bucket is taken to begin at 0 where it ends above 0. To a bound below 0 from which on
    /// observations are kept, it reaches to infinity all the same.
    fn first_custom(&self, mut bucket: Bucket) -> Bucket {
        let reached = self.side == Side::Above && self.bound < 0.0 && self.bound > f64::NEG_INFINITY;
        let above = bucket.upper > 0.0 && bucket.upper < f64::INFINITY;
        if bucket.lower == f64::NEG_INFINITY && above && !reached {
            bucket.lower = 0.0;
        }
        bucket
    }

    /// How many observations of the zero bucket stay. One without a width is not below 0; nobody knows on which side of
    /// NaN it is. A negative count, as differences have it, is left alone.
    fn keep_zero(&mut self, zero: Bucket) -> f64 {
        if zero.count.is_nan() || zero.count <= 0.0 {
            return zero.count;
        }
        let nothing = self.side == Side::Below && zero.lower >= self.bound;
        let part = if self.bound.is_nan() { Some((f64::NAN, 0.0, 0.0)) } else { None };
        self.settle(&zero, true, if nothing { Some((0.0, 0.0, 0.0)) } else { part })
    }

    /// How many of the bucket's observations stay; they go into count and sum.
    fn keep(&mut self, bucket: Bucket, linear: bool) -> f64 {
        self.settle(&bucket, linear, None)
    }

    fn settle(&mut self, bucket: &Bucket, linear: bool, known: Option<(f64, f64, f64)>) -> f64 {
        if bucket.count == 0.0 {
            return bucket.count;
        }
        // A bucket that begins at 0, because floats end there, has no logarithmic scale.
        let linear = linear || (bucket.lower <= 0.0 && bucket.upper >= 0.0);
        let (whole, divided) = match self.side {
            Side::Below => (bucket.upper <= self.bound, bucket.lower < self.bound),
            Side::Above => (bucket.lower >= self.bound, bucket.upper > self.bound),
        };
        let (count, lower, upper) = known.unwrap_or_else(|| match (whole, divided) {
            (true, _) => (bucket.count, bucket.lower, bucket.upper),
            // Of a bucket of all numbers nothing is known.
            (false, true) if bucket.lower == f64::NEG_INFINITY && bucket.upper == f64::INFINITY => {
                (0.0, 0.0, 0.0)
            }
            (false, true) => self.divide(bucket, linear),
            (false, false) => (0.0, 0.0, 0.0),
        });
        if count != bucket.count {
            self.changed = true;
        }
        if count != 0.0 {
            self.count += count;
            self.sum += middle(lower, upper, linear) * count;
        }
        count
    }

    /// How many observations stay of a bucket in which the bound lies, and between which values they are.
    fn divide(&self, bucket: &Bucket, linear: bool) -> (f64, f64, f64) {
        let below = if bucket.upper == f64::INFINITY { 0.0 } else { share_below(linear, bucket, self.bound) };
        match self.side {
            Side::Below => (bucket.count * below, bucket.lower, self.bound),
            Side::Above => (bucket.count * (1.0 - below), self.bound, bucket.upper),
        }
    }
}

/// The value that stands for all between two values.
fn middle(lower: f64, upper: f64, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => (lower * upper).abs().sqrt().copysign(upper),
    }
}
