//! Histograms of OTLP as native histograms.

use metricsd_model::histogram::indexed::{IndexedBuckets, coarser, spans_of};
use metricsd_model::histogram::validate::{CUSTOM_SCHEMA, MAX_SCHEMA, MIN_SCHEMA};
use metricsd_model::{NativeHistogram, stale_marker};

use super::message::{Buckets, Exponential, Histogram};

/// The width of the zero bucket where the sender names none, as the specification has it.
const ZERO_THRESHOLD: f64 = 1e-128;

/// An exponential histogram. What is finer than native histograms are is brought to their finest resolution.
///
/// # Errors
/// A sentence that says what cannot be.
pub(super) fn of_exponential(from: &Exponential) -> Result<NativeHistogram, String> {
    if from.scale < MIN_SCHEMA {
        return Err(format!(
            "its scale {} is coarser than {MIN_SCHEMA}, the coarsest of native histograms",
            from.scale
        ));
    }
    let schema = from.scale.min(MAX_SCHEMA);
    let steps = from.scale.abs_diff(schema);
    let side = |buckets: &Buckets| Ok::<_, String>(spans_of(&coarser(&indexed(buckets)?, steps)));
    let (positive_spans, positive_buckets) = side(&from.positive)?;
    let (negative_spans, negative_buckets) = side(&from.negative)?;
    Ok(NativeHistogram {
        schema,
        zero_threshold: if from.zero_threshold == 0.0 { ZERO_THRESHOLD } else { from.zero_threshold },
        zero_count: from.zero_count as f64,
        count: from.count as f64,
        sum: from.sum.unwrap_or(f64::NAN),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..NativeHistogram::default()
    })
}

/// Buckets by index. OTLP counts them by their lower bounds, native histograms by their upper ones.
fn indexed(buckets: &Buckets) -> Result<IndexedBuckets, String> {
    let filled = buckets.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let index = |place: usize| i32::try_from(i64::from(buckets.offset) + place as i64 + 1);
    filled
        .map(|(place, count)| {
            Ok((index(place).map_err(|_| "its buckets reach beyond all numbers")?, *count as f64))
        })
        .collect()
}

/// A histogram with bounds, as one with custom buckets.
pub(super) fn of_bounds(from: &Histogram) -> NativeHistogram {
    let filled = from.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let mut buckets: IndexedBuckets = filled.map(|(place, count)| (place as i32, *count as f64)).collect();
    if from.counts.is_empty() && from.count > 0 {
        // Without bounds there is one bucket, of everything.
        buckets.push((0, from.count as f64));
    }
    let (positive_spans, positive_buckets) = spans_of(&buckets);
    NativeHistogram {
        schema: CUSTOM_SCHEMA,
        count: from.count as f64,
        sum: from.sum.unwrap_or(f64::NAN),
        positive_spans,
        positive_buckets,
        custom_values: from.bounds.clone(),
        ..NativeHistogram::default()
    }
}

/// The end of a series of histograms.
pub(super) fn stale() -> NativeHistogram {
    NativeHistogram { sum: stale_marker(), count: stale_marker(), ..NativeHistogram::default() }
}

/// The same histogram before anything was observed.
pub(super) fn empty_of(histogram: &NativeHistogram) -> NativeHistogram {
    NativeHistogram {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        custom_values: histogram.custom_values.clone(),
        ..NativeHistogram::default()
    }
}

/// Buckets of one sign that a sum keeps; beyond, its resolution is halved.
const MAX_BUCKETS: usize = 512;

/// Adds what was observed since.
pub(super) fn add(total: &mut NativeHistogram, delta: &NativeHistogram) {
    let schema = total.schema.min(delta.schema);
    let (mut sum, delta) = (total.to_schema(schema), delta.to_schema(schema));
    sum.count += delta.count;
    sum.zero_count += delta.zero_count;
    sum.sum += delta.sum;
    sum.zero_threshold = sum.zero_threshold.max(delta.zero_threshold);
    let positive = merged(sum.indexed_positive(), delta.indexed_positive());
    let negative = merged(sum.indexed_negative(), delta.indexed_negative());
    let too_many = |steps: u32| {
        coarser(&positive, steps).len() > MAX_BUCKETS || coarser(&negative, steps).len() > MAX_BUCKETS
    };
    let lowest = sum.schema.abs_diff(MIN_SCHEMA);
    let steps = (0..lowest).find(|steps| !too_many(*steps)).unwrap_or(lowest);
    sum.schema = sum.schema.saturating_sub_unsigned(steps);
    sum.set_positive(&coarser(&positive, steps));
    sum.set_negative(&coarser(&negative, steps));
    *total = sum;
}

fn merged(mut one: IndexedBuckets, other: IndexedBuckets) -> IndexedBuckets {
    one.extend(other);
    // No step coarser: brings them in order and adds up those of one index.
    one.sort_by_key(|(index, _)| *index);
    coarser(&one, 0)
}
