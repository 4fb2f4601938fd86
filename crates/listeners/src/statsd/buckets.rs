//! Distributions in bounded memory: buckets whose bounds grow by a constant factor, coarser where there would be too many.
//!
//! The buckets are those of native histograms: at schema `s` bucket `i` holds what is above 2^((i-1)/2^s) and at most
//! 2^(i/2^s).

use std::collections::BTreeMap;

use metricsd_model::NativeHistogram;
use metricsd_model::histogram::indexed::{coarser_index, spans_of};

/// The finest resolution: a bucket is 9 % wide.
const SCHEMA: i32 = 3;

/// The coarsest that native histograms know.
const MIN_SCHEMA: i32 = -4;

/// Buckets of one sign.
const MAX_BUCKETS: usize = 160;

/// What is no further from 0 counts as 0; Prometheus' own default, 2^-128.
const ZERO: f64 = 2.938_735_877_055_719e-39;

/// Bytes that a bucket takes, about.
const BUCKET_BYTES: usize = 24;

/// A distribution.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    schema: i32,
    count: f64,
    sum: f64,
    zero: f64,
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            count: 0.0,
            sum: 0.0,
            zero: 0.0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        }
    }
}

impl Buckets {
    /// The larger of what count and sum would come to with a value that was seen `times` times.
    pub(super) fn total_with(&self, value: f64, times: f64) -> f64 {
        (self.count + times).max((self.sum + value * times).abs())
    }

    /// Adds a value that was seen `times` times.
    pub(super) fn observe(&mut self, value: f64, times: f64) {
        self.count += times;
        self.sum += value * times;
        if value.abs() <= ZERO {
            self.zero += times;
            return;
        }
        let index = index_of(value.abs(), self.schema);
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        *side.entry(index).or_default() += times;
        while (self.positive.len() > MAX_BUCKETS || self.negative.len() > MAX_BUCKETS)
            && self.schema > MIN_SCHEMA
        {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.schema -= 1;
        for side in [&mut self.positive, &mut self.negative] {
            let mut merged = BTreeMap::new();
            for (index, count) in std::mem::take(side) {
                *merged.entry(coarser_index(index, 1)).or_default() += count;
            }
            *side = merged;
        }
    }

    /// What it takes, about.
    pub(super) fn bytes(&self) -> usize {
        (self.positive.len() + self.negative.len()) * BUCKET_BYTES
    }

    /// As a native histogram.
    pub(super) fn histogram(&self) -> NativeHistogram {
        let side = |buckets: &BTreeMap<i32, f64>| {
            let list: Vec<(i32, f64)> = buckets.iter().map(|(index, count)| (*index, *count)).collect();
            spans_of(&list)
        };
        let ((positive_spans, positive_buckets), (negative_spans, negative_buckets)) =
            (side(&self.positive), side(&self.negative));
        NativeHistogram {
            schema: self.schema,
            zero_threshold: ZERO,
            zero_count: self.zero,
            count: self.count,
            sum: self.sum,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            ..NativeHistogram::default()
        }
    }

    /// The value below which this share of all lies, to within half a bucket; NaN of nothing.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut left = share * self.count;
        let middle = |index: i32| ((f64::from(index) - 0.5) * 0.5f64.powi(self.schema)).exp2();
        let negative = self.negative.iter().rev().map(|(index, count)| (-middle(*index), *count));
        let positive = self.positive.iter().map(|(index, count)| (middle(*index), *count));
        let mut last = f64::NAN;
        for (value, count) in negative.chain([(0.0, self.zero)]).chain(positive) {
            if count > 0.0 {
                last = value;
                left -= count;
                if left <= 0.0 {
                    break;
                }
            }
        }
        last
    }
}

/// The bucket of a value above 0.
fn index_of(value: f64, schema: i32) -> i32 {
    // At most about 1024 * 8, which fits.
    (value.log2() * 2f64.powi(schema)).ceil() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Buckets {
        let mut buckets = Buckets::default();
        values.iter().for_each(|value| buckets.observe(*value, 1.0));
        buckets
    }

    #[test]
    fn values_fall_into_the_buckets_of_native_histograms() {
        let histogram = of(&[1.0, 1.0, 2.0, 0.0, -0.5, 1.05]).histogram();
        assert_eq!((histogram.count, histogram.sum, histogram.zero_count), (6.0, 4.55, 1.0));
        // Up to 1 is bucket 0, up to 2^(1/8) bucket 1, up to 2 bucket 8, up to 0.5 bucket -8.
        let positive: Vec<(i32, f64)> = metricsd_model::histogram::indexed::indexed(
            &histogram.positive_spans,
            &histogram.positive_buckets,
        );
        assert_eq!(positive, [(0, 2.0), (1, 1.0), (8, 1.0)]);
        assert_eq!(histogram.negative_spans[0].offset, -8);
        assert!(histogram.validate().is_ok());
    }

    #[test]
    fn quantiles_are_near() {
        let buckets = of(&(1..=1_000).map(f64::from).collect::<Vec<_>>());
        for share in [0.1, 0.5, 0.9, 0.99, 1.0] {
            let (found, exact) = (buckets.quantile(share), share * 1_000.0);
            assert!((found / exact - 1.0).abs() < 0.06, "{share}: {found}");
        }
        assert!(of(&[]).quantile(0.5).is_nan());
        assert!((of(&[-4.0, 0.0, 4.0]).quantile(0.01) / -4.0 - 1.0).abs() < 0.06);
        assert_eq!(of(&[-4.0, 0.0, 4.0]).quantile(0.5), 0.0);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_buckets_are_few_and_valid(
            values in prop::collection::vec(prop::num::f64::NORMAL, 0..600),
            times in 1.0..100.0f64,
        ) {
            let mut buckets = Buckets::default();
            for value in &values {
                buckets.observe(*value, times);
            }
            prop_assert!(buckets.positive.len() <= MAX_BUCKETS && buckets.negative.len() <= MAX_BUCKETS);
            let histogram = buckets.histogram();
            let seen: f64 = histogram.positive_buckets.iter().chain(&histogram.negative_buckets).sum();
            prop_assert!((seen + histogram.zero_count - histogram.count).abs() <= 1e-6 * histogram.count);
        }
    }
}
