//! What a line of a page brings, whatever the page's format.

use metricsd_codec::exposition::{Exemplar, Label};
use metricsd_codec::metric_family::FamilyExemplar;
use metricsd_ingest::validate::check_histogram;
use metricsd_model::histogram::validate::{MAX_SCHEMA, MIN_SCHEMA};
use metricsd_model::{FailureReason, Millis, NativeHistogram, OnLimit, Refusal, ScrapeOptions};

use crate::naming::LineFault;

/// A sample, and what stands beside it.
#[derive(Debug, Default)]
pub(super) struct Item<'p> {
    /// Its value where it is a float.
    pub(super) value: f64,
    /// Its value where it is a native histogram; or why that cannot be stored.
    pub(super) native: Option<Box<Result<NativeHistogram, LineFault>>>,
    /// Where it brings one.
    pub(super) timestamp: Option<Millis>,
    /// When what it counts began.
    pub(super) created: Option<Millis>,
    /// Examples; mostly none, and then no memory.
    pub(super) examples: Vec<Example<'p>>,
}

impl Item<'_> {
    /// A value at perhaps a time, and nothing else.
    #[inline]
    pub(super) fn float(value: f64, timestamp: Option<Millis>) -> Self {
        Self { value, native: None, timestamp, created: None, examples: Vec::new() }
    }

    /// Whether all of it is its value.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.native.is_none() && self.created.is_none() && self.examples.is_empty()
    }
}

/// An exemplar as one of the formats writes it.
#[derive(Debug, Clone)]
pub(super) enum Example<'p> {
    /// OpenMetrics.
    Text(Exemplar<'p>),
    /// Protobuf.
    Family(FamilyExemplar<'p>),
}

impl<'p> Example<'p> {
    /// Value and timestamp.
    pub(super) fn observed(&self) -> (f64, Option<Millis>) {
        match self {
            Self::Text(exemplar) => (exemplar.value, exemplar.timestamp),
            Self::Family(exemplar) => (exemplar.value, exemplar.timestamp),
        }
    }

    /// Its labels as they are written: equal bytes are equal labels.
    pub(super) fn raw(&self) -> &'p [u8] {
        match self {
            Self::Text(exemplar) => exemplar.labels.as_bytes(),
            Self::Family(exemplar) => exemplar.bytes(),
        }
    }

    /// Its labels; `None` where there are more characters in them than may be.
    pub(super) fn labels(&self) -> Option<Vec<Label<'p>>> {
        let labels = match self {
            Self::Text(exemplar) => return exemplar.parse_labels().ok(),
            Self::Family(exemplar) => exemplar.labels(),
        };
        let chars: usize =
            labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        (chars <= Exemplar::MAX_CHARS).then_some(labels)
    }
}

/// Checks a native histogram and brings it to the resolution that the target's settings ask for.
pub(super) fn fit(
    histogram: NativeHistogram,
    integer: bool,
    options: &ScrapeOptions,
) -> Result<NativeHistogram, LineFault> {
    check_histogram(&histogram, integer).map_err(invalid)?;
    let finest = finest_schema(options.native_histogram_min_bucket_factor);
    let mut histogram = histogram.reduce_if_needed();
    if !histogram.uses_custom_buckets() && histogram.schema > finest {
        histogram = histogram.to_schema(finest);
    }
    let limit = options.native_histogram_bucket_limit;
    while limit > 0 && buckets(&histogram) > limit {
        if histogram.uses_custom_buckets() || histogram.schema <= MIN_SCHEMA {
            let message = format!(
                "the histogram has {} buckets at its coarsest, and native_histogram_bucket_limit is {limit}",
                buckets(&histogram)
            );
            let fatal = (options.on_limit == OnLimit::Reject).then_some(FailureReason::Limit);
            return Err(LineFault { reason: Refusal::InvalidValue, fatal, message });
        }
        histogram = histogram.to_schema(histogram.schema - 1);
    }
    Ok(histogram)
}

/// A histogram that cannot be stored.
pub(super) fn invalid(message: impl Into<String>) -> LineFault {
    LineFault { reason: Refusal::InvalidValue, fatal: None, message: message.into() }
}

fn buckets(histogram: &NativeHistogram) -> u64 {
    (histogram.positive_buckets.len() + histogram.negative_buckets.len()) as u64
}

/// The finest schema whose buckets grow by `factor` at least: they grow by 2^(2^-schema).
fn finest_schema(factor: f64) -> i32 {
    if factor.is_nan() || factor <= 1.0 {
        return MAX_SCHEMA;
    }
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(MIN_SCHEMA), f64::from(MAX_SCHEMA)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::Span;

    fn histogram(schema: i32, buckets: usize) -> NativeHistogram {
        NativeHistogram {
            schema,
            count: buckets as f64,
            sum: 1.0,
            positive_spans: vec![Span { offset: 1, length: buckets as u32 }],
            positive_buckets: vec![1.0; buckets],
            ..NativeHistogram::default()
        }
    }

    fn fitted(options: ScrapeOptions, from: NativeHistogram) -> Result<(i32, usize), LineFault> {
        fit(from, true, &options).map(|histogram| (histogram.schema, histogram.positive_buckets.len()))
    }

    #[test]
    fn resolutions_are_reduced_as_settings_ask() {
        let limit =
            |limit| ScrapeOptions { native_histogram_bucket_limit: limit, ..ScrapeOptions::default() };
        assert_eq!(fitted(limit(0), histogram(3, 16)), Ok((3, 16)));
        assert_eq!(fitted(limit(16), histogram(3, 16)), Ok((3, 16)));
        assert_eq!(fitted(limit(15), histogram(3, 16)), Ok((2, 8)));
        assert_eq!(fitted(limit(3), histogram(3, 16)), Ok((0, 2)));
        let factor =
            |factor| ScrapeOptions { native_histogram_min_bucket_factor: factor, ..ScrapeOptions::default() };
        // 2^(2^-3) is 1.0905.
        assert_eq!(fitted(factor(1.09), histogram(8, 1)).map(|fitted| fitted.0), Ok(3));
        assert_eq!(fitted(factor(1.0906), histogram(8, 1)).map(|fitted| fitted.0), Ok(2));
        assert_eq!(fitted(factor(2.0), histogram(2, 8)), Ok((0, 2)));
        assert_eq!(fitted(factor(1e9), histogram(2, 8)).map(|fitted| fitted.0), Ok(-4));
        assert_eq!(fitted(factor(1.0), histogram(2, 8)), Ok((2, 8)));
        assert_eq!(fitted(factor(1.0), histogram(12, 1)).map(|fitted| fitted.0), Ok(8));
    }

    #[test]
    fn what_cannot_be_reduced_or_makes_no_sense_is_refused() {
        let mut far = histogram(-4, 2);
        far.positive_spans = vec![Span { offset: -20, length: 1 }, Span { offset: 30, length: 1 }];
        let options = ScrapeOptions { native_histogram_bucket_limit: 1, ..ScrapeOptions::default() };
        let fault = fitted(options.clone(), far.clone()).unwrap_err();
        assert_eq!(fault.fatal, Some(FailureReason::Limit));
        assert!(fault.message.contains("native_histogram_bucket_limit is 1"), "{}", fault.message);
        let fault = fitted(ScrapeOptions { on_limit: OnLimit::Truncate, ..options }, far).unwrap_err();
        assert_eq!(fault.fatal, None);
        let mut wrong = histogram(3, 2);
        wrong.count = 3.0;
        let fault = fitted(ScrapeOptions::default(), wrong).unwrap_err();
        assert!(fault.message.contains("its count says 3"), "{}", fault.message);
    }
}
