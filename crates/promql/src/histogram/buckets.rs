//! Buckets with their bounds.

use metricsd_model::NativeHistogram;

use super::bounds::bound;

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation of exactly the lower bound is in this bucket.
    pub lower_inclusive: bool,
    /// Whether an observation of exactly the upper bound is in this bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// All buckets of a histogram in ascending order: the negative ones, the zero bucket where it holds anything, and the
/// positive ones; those in the spans that hold nothing are there too. Where the zero bucket reaches into a bucket, that
/// bucket begins (or ends) where the zero bucket ends.
pub fn buckets(histogram: &NativeHistogram) -> Vec<Bucket> {
    let negative = histogram.indexed_negative();
    let positive = histogram.indexed_positive();
    let mut all = Vec::with_capacity(negative.len() + positive.len() + 1);
    all.extend(
        negative
            .iter()
            .rev()
            .map(|(index, count)| cut(histogram, negative_bucket(histogram, *index, *count))),
    );
    if histogram.zero_count > 0.0 {
        all.push(zero_bucket(histogram));
    }
    all.extend(
        positive.iter().map(|(index, count)| cut(histogram, positive_bucket(histogram, *index, *count))),
    );
    all
}

/// The buckets that hold anything, as the HTTP API lists them: boundary rule, lower bound, upper bound, count.
///
/// The rule says which of the bounds belong to the bucket: 0 the upper, 1 the lower, 2 none, 3 both.
pub fn api_buckets(histogram: &NativeHistogram) -> Vec<(u8, f64, f64, f64)> {
    let filled = buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0);
    let rule = |bucket: &Bucket| match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (true, true) => 3,
    };
    filled.map(|bucket| (rule(&bucket), bucket.lower, bucket.upper, bucket.count)).collect()
}

/// The zero bucket, from minus its width to its width.
pub(super) fn zero_bucket(histogram: &NativeHistogram) -> Bucket {
    Bucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

/// The positive bucket of an index.
pub(super) fn positive_bucket(histogram: &NativeHistogram, index: i32, count: f64) -> Bucket {
    let at = |index| bound(index, histogram.schema, &histogram.custom_values);
    let (lower, upper) = (at(index.saturating_sub(1)), at(index));
    let first_custom = histogram.uses_custom_buckets() && index == 0;
    Bucket { lower, upper, lower_inclusive: first_custom, upper_inclusive: true, count }
}

/// The negative bucket of an index: the mirror image of the positive one.
pub(super) fn negative_bucket(histogram: &NativeHistogram, index: i32, count: f64) -> Bucket {
    let at = |index| bound(index, histogram.schema, &histogram.custom_values);
    let (lower, upper) = (-at(index), -at(index.saturating_sub(1)));
    Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count }
}

/// Takes away what the zero bucket covers.
fn cut(histogram: &NativeHistogram, mut bucket: Bucket) -> Bucket {
    let threshold = histogram.zero_threshold;
    if histogram.uses_custom_buckets() {
        return bucket;
    }
    if bucket.upper < 0.0 && bucket.upper > -threshold {
        bucket.upper = -threshold;
    } else if bucket.lower > 0.0 && bucket.lower < threshold {
        bucket.lower = threshold;
    }
    bucket
}
