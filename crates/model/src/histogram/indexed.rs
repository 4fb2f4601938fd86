//! Buckets by their indices: the form in which histograms are computed with.
//!
//! Whatever the spans say, what comes out is ascending and without duplicates, and its length is bounded by the
//! number of bucket counts that there really are.

use super::validate::MIN_SCHEMA;
use super::{NativeHistogram, Span};

/// Indices beyond this are of no bucket that a float can fall into; they are brought to it, so that differences of
/// two indices always fit.
const MAX_INDEX: i64 = (1 << 30) - 1;

/// Buckets of one side by ascending index, with their absolute counts.
pub type IndexedBuckets = Vec<(i32, f64)>;

/// Reads spans. Counts without a span and spans without counts are left out; counts of one index are added up.
pub fn indexed(spans: &[Span], buckets: &[f64]) -> IndexedBuckets {
    let mut counts = buckets.iter();
    let mut out: IndexedBuckets = Vec::with_capacity(buckets.len());
    let mut next = 0i64;
    for span in spans {
        next = next.saturating_add(i64::from(span.offset));
        let length = span.length.min(u32::try_from(counts.len()).unwrap_or(u32::MAX));
        out.extend(
            (0..length).zip(counts.by_ref()).map(|(step, count)| (clamp(next + i64::from(step)), *count)),
        );
        next = next.saturating_add(i64::from(span.length));
    }
    ordered(out)
}

/// The buckets of a coarser resolution, `steps` schemas below: each step halves the number of buckets.
pub fn coarser(buckets: &[(i32, f64)], steps: u32) -> IndexedBuckets {
    ordered(buckets.iter().map(|(index, count)| (coarser_index(*index, steps), *count)).collect())
}

/// Where a bucket goes when the schema is lowered by `steps`.
pub fn coarser_index(index: i32, steps: u32) -> i32 {
    (index.saturating_sub(1) >> steps.min(31)).saturating_add(1)
}

/// Writes spans for buckets of ascending indices; neighbours share a span.
pub fn spans_of(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0i64;
    for (index, _) in buckets {
        let index = i64::from(clamp(i64::from(*index)));
        match spans.last_mut() {
            Some(last) if index == next => last.length = last.length.saturating_add(1),
            _ => {
                let offset = i32::try_from(index - next).unwrap_or(i32::MAX);
                spans.push(Span { offset, length: 1 });
            }
        }
        next = index + 1;
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

fn clamp(index: i64) -> i32 {
    i32::try_from(index.clamp(-MAX_INDEX, MAX_INDEX)).unwrap_or(0)
}

fn ordered(mut buckets: IndexedBuckets) -> IndexedBuckets {
    if !buckets.is_sorted_by_key(|(index, _)| *index) {
        buckets.sort_by_key(|(index, _)| *index);
    }
    buckets.dedup_by(|(index, count), (kept, total)| {
        let same = index == kept;
        if same {
            *total += *count;
        }
        same
    });
    buckets
}

impl NativeHistogram {
    /// Positive buckets by index.
    pub fn indexed_positive(&self) -> IndexedBuckets {
        indexed(&self.positive_spans, &self.positive_buckets)
    }

    /// Negative buckets by index: the lowest index is the one nearest to zero.
    pub fn indexed_negative(&self) -> IndexedBuckets {
        indexed(&self.negative_spans, &self.negative_buckets)
    }

    /// Replaces the positive buckets by those of ascending indices.
    pub fn set_positive(&mut self, buckets: &[(i32, f64)]) {
        (self.positive_spans, self.positive_buckets) = spans_of(buckets);
    }

    /// Replaces the negative buckets by those of ascending indices.
    pub fn set_negative(&mut self, buckets: &[(i32, f64)]) {
        (self.negative_spans, self.negative_buckets) = spans_of(buckets);
    }

    /// Merges buckets until the resolution is that of `schema`, or the coarsest one there is. Histograms that are not
    /// finer than that stay as they are, and so do those of custom buckets.
    pub fn to_schema(&self, schema: i32) -> Self {
        let schema = schema.max(MIN_SCHEMA);
        if self.schema <= schema || self.uses_custom_buckets() {
            return self.clone();
        }
        let steps = self.schema.abs_diff(schema);
        let mut coarse = Self {
            schema,
            positive_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_spans: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: self.custom_values.clone(),
            ..*self
        };
        coarse.set_positive(&coarser(&self.indexed_positive(), steps));
        coarse.set_negative(&coarser(&self.indexed_negative(), steps));
        coarse
    }
}
