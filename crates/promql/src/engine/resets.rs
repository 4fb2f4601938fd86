//! Which histograms of a counter follow a reset. Senders mostly leave it open; it is decided where samples are read, from
//! neighbours, so that functions which see only some of the samples still know.

use metricsd_model::NativeHistogram;
use metricsd_model::histogram::ResetHint;

use crate::histogram;

/// Says of every histogram that follows another, its neighbour in the series, whether it follows a reset. The first one,
/// and those after something else, are left as they are.
pub(crate) fn hint(histograms: &mut [(usize, NativeHistogram)]) {
    for at in (1..histograms.len()).rev() {
        let (before, rest) = histograms.split_at_mut(at);
        let (Some((previous_place, previous)), Some((place, current))) = (before.last(), rest.first_mut())
        else {
            continue;
        };
        if *place == *previous_place + 1 && current.reset_hint == ResetHint::Unknown {
            current.reset_hint = follows(current, previous);
        }
    }
}

fn follows(current: &NativeHistogram, previous: &NativeHistogram) -> ResetHint {
    if previous.reset_hint == ResetHint::Gauge {
        return ResetHint::Unknown;
    }
    if current.schema != previous.schema || current.zero_threshold != previous.zero_threshold {
        return ResetHint::Unknown;
    }
    if current.count < previous.count {
        return ResetHint::Yes;
    }
    if same_layout(current, previous) {
        // The usual case, without any search.
        let grows = |(now, before): (&f64, &f64)| now >= before;
        let all = |now: &[f64], before: &[f64]| now.iter().zip(before).all(grows);
        let grown = current.zero_count >= previous.zero_count
            && all(&current.positive_buckets, &previous.positive_buckets)
            && all(&current.negative_buckets, &previous.negative_buckets);
        return if grown { ResetHint::No } else { ResetHint::Yes };
    }
    if histogram::detect_reset(current, previous) { ResetHint::Yes } else { ResetHint::No }
}

fn same_layout(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values == b.custom_values
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
}
