//! Operators on histograms.

use metricsd_model::{NativeHistogram, ResetHint};

use super::work::Work;

/// Two histograms cannot be brought together: one has exponential buckets and the other one custom buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exponential and custom buckets cannot be brought together")]
pub struct Incompatible;

/// What adding or subtracting gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// The sum or difference. Its empty buckets are still there; see [`compact`].
    pub histogram: NativeHistogram,
    /// One histogram said that its counter began again, the other one that it did not.
    pub collision: bool,
    /// Custom bounds differed; the result has those that both had.
    pub reconciled: bool,
}

/// `one + two`, at the coarser of both resolutions and with the wider of both zero buckets.
///
/// The result is a gauge where either is; else it has the reset hint of both, or an unknown one where they differ.
///
/// # Errors
/// [`Incompatible`] for exponential and custom buckets together.
pub fn add(one: &NativeHistogram, two: &NativeHistogram) -> Result<Combined, Incompatible> {
    let mut work = Work::from(one);
    let remarks = work.absorb(Work::from(two))?;
    Ok(Combined { histogram: work.into(), collision: remarks.collision, reconciled: remarks.reconciled })
}

/// `one - two`, in the same way as [`add`]; the result is a gauge.
///
/// # Errors
/// [`Incompatible`] for exponential and custom buckets together.
pub fn sub(one: &NativeHistogram, two: &NativeHistogram) -> Result<Combined, Incompatible> {
    let mut work = Work::from(one);
    let mut negated = Work::from(two);
    negated.map(|value| -value);
    let remarks = work.absorb(negated)?;
    work.reset_hint = ResetHint::Gauge;
    Ok(Combined { histogram: work.into(), collision: remarks.collision, reconciled: remarks.reconciled })
}

/// Multiplies every count and the sum. A negative factor makes a gauge of it.
pub fn scale(histogram: &NativeHistogram, factor: f64) -> NativeHistogram {
    let mut scaled = changed(histogram, |value| value * factor);
    if factor < 0.0 {
        scaled.reset_hint = ResetHint::Gauge;
    }
    scaled
}

/// Divides every count and the sum. A negative divisor makes a gauge of it; zero takes all buckets away and leaves
/// infinities or NaN in the counts and the sum.
pub fn divide(histogram: &NativeHistogram, divisor: f64) -> NativeHistogram {
    if divisor == 0.0 {
        return NativeHistogram {
            zero_count: histogram.zero_count / divisor,
            count: histogram.count / divisor,
            sum: histogram.sum / divisor,
            positive_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_spans: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: histogram.custom_values.clone(),
            ..*histogram
        };
    }
    let mut divided = changed(histogram, |value| value / divisor);
    if divisor < 0.0 {
        divided.reset_hint = ResetHint::Gauge;
    }
    divided
}

/// The histogram with all signs turned; a gauge.
pub fn negate(histogram: &NativeHistogram) -> NativeHistogram {
    scale(histogram, -1.0)
}

/// A histogram between two others.
#[derive(Debug, Clone, PartialEq)]
pub struct Between {
    /// Without empty buckets.
    pub histogram: NativeHistogram,
    /// Custom bounds differed; the result has those that both had.
    pub reconciled_difference: bool,
    /// Bounds of the first were given up for it.
    pub reconciled_sum: bool,
}

/// The histogram on the line from `before` to `after`, at a share of the way in [0, 1]. A counter that began again in
/// between has grown from nothing.
///
/// It has the reset hint that a sum would have; after a reset that of `after`.
///
/// # Errors
/// [`Incompatible`] for exponential and custom buckets together, unless a counter began again.
pub fn interpolate(
    before: &NativeHistogram,
    after: &NativeHistogram,
    share: f64,
    counter: bool,
) -> Result<Between, Incompatible> {
    if counter && super::detect_reset(after, before) {
        let histogram = scale(after, share);
        return Ok(Between { histogram, reconciled_difference: false, reconciled_sum: false });
    }
    let difference = sub(after, before)?;
    let mut change = scale(&difference.histogram, share);
    change.reset_hint = after.reset_hint;
    let mut sum = add(before, &change)?;
    compact(&mut sum.histogram);
    Ok(Between {
        histogram: sum.histogram,
        reconciled_difference: difference.reconciled,
        reconciled_sum: sum.reconciled,
    })
}

fn changed(histogram: &NativeHistogram, change: impl Fn(f64) -> f64) -> NativeHistogram {
    let mut changed = histogram.clone();
    for value in [&mut changed.zero_count, &mut changed.count, &mut changed.sum] {
        *value = change(*value);
    }
    for value in changed.positive_buckets.iter_mut().chain(&mut changed.negative_buckets) {
        *value = change(*value);
    }
    changed
}

/// Takes empty buckets away and joins spans that touch.
pub fn compact(histogram: &mut NativeHistogram) {
    let filled = |mut buckets: Vec<(i32, f64)>| {
        buckets.retain(|(_, count)| *count != 0.0);
        buckets
    };
    let positive = filled(histogram.indexed_positive());
    let negative = filled(histogram.indexed_negative());
    histogram.set_positive(&positive);
    histogram.set_negative(&negative);
}

/// Merges buckets until the resolution is that of `schema`; histograms that are not finer, and those of custom
/// buckets, stay as they are.
pub fn to_schema(histogram: &NativeHistogram, schema: i32) -> NativeHistogram {
    histogram.to_schema(schema)
}

/// Whether the buckets have bounds of their own.
pub fn uses_custom_buckets(histogram: &NativeHistogram) -> bool {
    histogram.uses_custom_buckets()
}

/// Equality as `==` means it: same count, sum, zero bucket, resolution and bounds, and the same counts at the same
/// places, however the spans are cut and whatever the reset hints say. NaN equals itself, bit for bit.
pub fn same(one: &NativeHistogram, two: &NativeHistogram) -> bool {
    let bits = |histogram: &NativeHistogram| {
        [histogram.count, histogram.sum, histogram.zero_count].map(f64::to_bits)
    };
    one.schema == two.schema
        && bits(one) == bits(two)
        && same_bounds(&[one.zero_threshold], &[two.zero_threshold])
        && (!one.uses_custom_buckets() || same_bounds(&one.custom_values, &two.custom_values))
        && same_side(one.indexed_positive(), two.indexed_positive())
        && same_side(one.indexed_negative(), two.indexed_negative())
}

fn same_bounds(one: &[f64], two: &[f64]) -> bool {
    let same = |(one, two): (&f64, &f64)| one == two || one.to_bits() == two.to_bits();
    one.len() == two.len() && one.iter().zip(two).all(same)
}

fn same_side(one: Vec<(i32, f64)>, two: Vec<(i32, f64)>) -> bool {
    let filled = |buckets: Vec<(i32, f64)>| {
        buckets.into_iter().filter(|(_, count)| *count != 0.0).map(|(index, count)| (index, count.to_bits()))
    };
    filled(one).eq(filled(two))
}
