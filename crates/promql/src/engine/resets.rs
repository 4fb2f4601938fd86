//! Which histograms of a counter follow their neighbour without a reset. Senders mostly leave it open; it is decided where
//! samples are read. Where there was a reset it stays open, as it does in Prometheus' storage: functions find it again.

use metricsd_model::NativeHistogram;
use metricsd_model::histogram::ResetHint;

use crate::histogram;

/// Says of every histogram that follows another, its neighbour in the series, if nothing was reset in between. The first
/// one, and those after something else, are left as they are.
pub(crate) fn hint(histograms: &mut [(usize, NativeHistogram)]) {
    for at in (1..histograms.len()).rev() {
        let (before, rest) = histograms.split_at_mut(at);
        let (Some((previous_place, previous)), Some((place, current))) = (before.last(), rest.first_mut())
        else {
            continue;
        };
        if *place == *previous_place + 1 && current.reset_hint == ResetHint::Unknown {
            current.reset_hint = if grows(current, previous) { ResetHint::No } else { ResetHint::Unknown };
        }
    }
}

fn grows(current: &NativeHistogram, previous: &NativeHistogram) -> bool {
    if previous.reset_hint == ResetHint::Gauge
        || current.schema != previous.schema
        || current.zero_threshold != previous.zero_threshold
        || current.count < previous.count
    {
        return false;
    }
    if same_layout(current, previous) {
        // The usual case, without any search.
        let grows = |(now, before): (&f64, &f64)| now >= before;
        let all = |now: &[f64], before: &[f64]| now.iter().zip(before).all(grows);
        return current.zero_count >= previous.zero_count
            && all(&current.positive_buckets, &previous.positive_buckets)
            && all(&current.negative_buckets, &previous.negative_buckets);
    }
    !histogram::detect_reset(current, previous)
}

fn same_layout(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values == b.custom_values
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
}
