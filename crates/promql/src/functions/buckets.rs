//! Quantiles and fractions of classic histograms, whose buckets are series of their own with an upper bound `le`.

/// A bucket of a classic histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Greatest value that belongs to it.
    pub upper: f64,
    /// Observations in it and in all buckets below.
    pub count: f64,
}

/// A quantile, and what had to be done for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The estimate.
    pub value: f64,
    /// Some buckets held clearly less than the ones below them, and were raised.
    pub repair: Option<Repair>,
}

/// Which buckets were raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repair {
    /// Upper bound of the lowest of them.
    pub lowest: f64,
    /// Upper bound of the highest of them.
    pub highest: f64,
    /// By how many observations one of them was raised at most.
    pub difference: f64,
}

/// Reads the bound in the label `le`; nothing where it is no number, or one beyond all floats.
pub fn parse_bound(label: &str) -> Option<f64> {
    let bound: f64 = label.parse().ok()?;
    let too_large = bound.is_infinite() && label.contains(|c: char| c.is_ascii_digit());
    (!too_large).then_some(bound)
}

/// Relative difference between neighbouring buckets up to which it counts as rounding.
const TOLERANCE: f64 = 1e-12;

/// The φ-quantile, interpolated linearly within its bucket; the buckets are put in order and repaired on the way.
///
/// NaN where φ is NaN, where the highest bucket is not that of +Inf, where there are less than two buckets, and where
/// there are no observations; -Inf for φ < 0, +Inf for φ > 1. A quantile in the highest bucket is the upper bound of the
/// second highest. The lowest bucket begins at 0 if it ends above; otherwise a quantile in it is its upper bound.
pub fn quantile(phi: f64, buckets: &mut Vec<Bucket>) -> Quantile {
    let sure = |value| Quantile { value, repair: None };
    if phi.is_nan() {
        return sure(f64::NAN);
    }
    if phi < 0.0 {
        return sure(f64::NEG_INFINITY);
    }
    if phi > 1.0 {
        return sure(f64::INFINITY);
    }
    if !put_in_order(buckets) {
        return sure(f64::NAN);
    }
    let repair = make_monotonic(buckets);
    Quantile { value: interpolated_quantile(phi, buckets), repair }
}

fn interpolated_quantile(phi: f64, buckets: &[Bucket]) -> f64 {
    let [.., second_highest, highest] = buckets else { return f64::NAN };
    if highest.count == 0.0 {
        return f64::NAN;
    }
    let rank = phi * highest.count;
    let finite = buckets.split_last().map_or(buckets, |(_, finite)| finite);
    let index = first_to_reach(rank, finite);
    let Some(bucket) = finite.get(index) else { return second_highest.upper };
    let below = index.checked_sub(1).and_then(|index| finite.get(index));
    let (lower, count_below) = match below {
        None if bucket.upper <= 0.0 => return bucket.upper,
        None => (0.0, 0.0),
        Some(below) => (below.upper, below.count),
    };
    lower + (bucket.upper - lower) * ((rank - count_below) / (bucket.count - count_below))
}

/// The first bucket that holds so many observations, found by halving. Where counts are NaN they are in no order, and
/// what is found depends on which are looked at: NaN reaches nothing, and nothing reaches NaN.
fn first_to_reach(rank: f64, buckets: &[Bucket]) -> usize {
    let (mut from, mut to) = (0, buckets.len());
    while from < to {
        let middle = from + (to - from) / 2;
        if buckets.get(middle).is_some_and(|bucket| bucket.count >= rank) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// Which share of the observations lies between two values, interpolated linearly within buckets; the buckets are put in
/// order on the way.
///
/// NaN where either value is NaN, where the highest bucket is not that of +Inf, and where there are no observations;
/// 0 where `lower` is not below `upper`. The lowest bucket begins at 0 if it ends above. Observations in a bucket without
/// an end lie as far out as can be, so that no finite value parts them.
pub fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !put_in_order(buckets) {
        return f64::NAN;
    }
    let total = buckets.last().map_or(0.0, |highest| highest.count);
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let [below_lower, below_upper] = [lower, upper].map(|value| {
        let below = count_below(value, buckets);
        if below > total { total } else { below }
    });
    (below_upper - below_lower) / total
}

/// Observations below a value.
fn count_below(value: f64, buckets: &[Bucket]) -> f64 {
    let begins = |bucket: &Bucket| if bucket.upper > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut below = Bucket { upper: buckets.first().map_or(0.0, begins), count: 0.0 };
    for bucket in buckets {
        if below.upper >= value {
            return below.count;
        }
        if bucket.upper > value {
            if below.upper == f64::NEG_INFINITY {
                return bucket.count;
            }
            let share = (value - below.upper) / (bucket.upper - below.upper);
            return below.count + (bucket.count - below.count) * share;
        }
        below = *bucket;
    }
    below.count
}

/// Orders by bound and joins buckets of one bound; whether the highest is that of +Inf.
fn put_in_order(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|highest| highest.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let joined = next.upper == kept.upper;
        if joined {
            kept.count += next.count;
        }
        joined
    });
    true
}

/// Raises buckets that hold less than the one below, and levels differences that come of rounding alone. Whether there
/// were other ones.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let (first, rest) = buckets.split_first_mut()?;
    let mut repair: Option<Repair> = None;
    let mut below = first.count;
    for bucket in rest {
        if rounding_apart(below, bucket.count) {
            bucket.count = below;
        } else if bucket.count < below {
            let difference = below - bucket.count;
            bucket.count = below;
            let repair =
                repair.get_or_insert(Repair { lowest: bucket.upper, highest: bucket.upper, difference });
            repair.highest = bucket.upper;
            repair.difference = repair.difference.max(difference);
        } else {
            below = bucket.count;
        }
    }
    repair
}

/// Whether two counts differ by so little that rounding explains it.
fn rounding_apart(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests;
