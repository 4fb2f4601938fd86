//! What is checked when a histogram comes from outside.

use super::{NativeHistogram, Span};

/// The schema of custom buckets.
pub const CUSTOM_SCHEMA: i32 = -53;

/// The finest resolution that is computed with.
pub const MAX_SCHEMA: i32 = 8;

/// The coarsest resolution.
pub const MIN_SCHEMA: i32 = -4;

/// The finest resolution that is taken in; it is brought to [`MAX_SCHEMA`].
const MAX_REDUCIBLE_SCHEMA: i32 = 52;

/// Counts are floats, and their sums round: this share of the count is forgiven.
const TOLERANCE: f64 = 1e-9;

impl NativeHistogram {
    /// Whether the buckets have bounds of their own.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Brings a resolution that is finer than [`MAX_SCHEMA`] to it; other histograms are untouched.
    pub fn reduce_if_needed(self) -> Self {
        if (MAX_SCHEMA + 1..=MAX_REDUCIBLE_SCHEMA).contains(&self.schema) {
            self.to_schema(MAX_SCHEMA)
        } else {
            self
        }
    }

    /// Whether the histogram makes sense. Schemas from 9 to 52 pass here; they are meant to go through
    /// [`Self::reduce_if_needed`].
    ///
    /// # Errors
    /// A sentence that says what is wrong, fit for whoever sent it.
    pub fn validate(&self) -> Result<(), String> {
        match self.schema {
            CUSTOM_SCHEMA => self.validate_custom()?,
            MIN_SCHEMA..=MAX_REDUCIBLE_SCHEMA => self.validate_exponential()?,
            schema => {
                return Err(format!("schema {schema} is neither in -4..=52 nor -53 for custom buckets"));
            }
        }
        validate_counts("positive", &self.positive_buckets)?;
        validate_counts("negative", &self.negative_buckets)?;
        validate_counts("zero", &[self.zero_count])?;
        if self.count.is_nan() || self.count < 0.0 {
            return Err(format!("the count of observations is {}", self.count));
        }
        self.validate_total()
    }

    fn validate_custom(&self) -> Result<(), String> {
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return Err("custom buckets go without a zero bucket".to_owned());
        }
        if !self.negative_spans.is_empty() || !self.negative_buckets.is_empty() {
            return Err("custom buckets go without negative buckets".to_owned());
        }
        // The lowest bucket may be for -Inf alone.
        let lowest = usize::from(self.custom_values.first() == Some(&f64::NEG_INFINITY));
        if let Some(bound) = self.custom_values.iter().skip(lowest).find(|bound| !bound.is_finite()) {
            return Err(format!("custom bucket bound {bound} is not finite"));
        }
        if let Some(pair) = self.custom_values.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("custom bucket bound {} does not exceed {} before it", pair[1], pair[0]));
        }
        validate_spans("positive", &self.positive_spans, self.positive_buckets.len())?;
        if self.positive_spans.first().is_some_and(|span| span.offset < 0) {
            return Err("the first span of custom buckets has a negative offset".to_owned());
        }
        let end: i64 =
            self.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        let bounds = self.custom_values.len();
        if usize::try_from(end).is_ok_and(|end| end > bounds + 1) {
            return Err(format!("{bounds} custom bounds are too few for spans that reach to bucket {end}"));
        }
        Ok(())
    }

    fn validate_exponential(&self) -> Result<(), String> {
        if !self.custom_values.is_empty() {
            return Err(format!("schema {} goes without custom bounds", self.schema));
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(format!("the zero bucket's width is {}", self.zero_threshold));
        }
        validate_spans("positive", &self.positive_spans, self.positive_buckets.len())?;
        validate_spans("negative", &self.negative_spans, self.negative_buckets.len())
    }

    /// Observations that are NaN are counted, but in no bucket; all others are in one.
    fn validate_total(&self) -> Result<(), String> {
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets);
        let total = buckets.sum::<f64>() + self.zero_count;
        if !self.sum.is_nan() && total > self.count + self.count.abs() * TOLERANCE {
            return Err(format!("the buckets hold {total} observations, the count says {}", self.count));
        }
        Ok(())
    }
}

fn validate_counts(side: &str, counts: &[f64]) -> Result<(), String> {
    match counts.iter().find(|count| count.is_nan() || **count < 0.0) {
        Some(count) => Err(format!("a {side} bucket holds {count} observations")),
        None => Ok(()),
    }
}

fn validate_spans(side: &str, spans: &[Span], buckets: usize) -> Result<(), String> {
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err(format!("a {side} span overlaps the one before it"));
    }
    let spanned: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if spanned != buckets as u64 {
        return Err(format!("{side} spans are of {spanned} buckets, {buckets} are there"));
    }
    let reach = |sum: i64, span: &Span| sum + i64::from(span.offset) + i64::from(span.length);
    let end = spans.iter().fold(0, reach);
    if i32::try_from(end).is_err() || spans.first().is_some_and(|span| span.offset == i32::MIN) {
        return Err(format!("{side} spans reach to bucket {end}"));
    }
    Ok(())
}
