//! Zero buckets of different widths.

use super::bounds::bound;
use super::work::{Side, Total, Work};

/// Widens the narrower zero bucket until both are equally wide, and takes what it then covers out of the buckets.
///
/// A width that falls into a bucket that holds anything cannot be had, as nobody knows on which side of it the
/// observations are: the zero bucket then grows to that bucket's end, which the other histogram must follow.
pub(super) fn reconcile(one: &mut Work, two: &mut Work) {
    while one.zero_threshold != two.zero_threshold {
        if one.zero_threshold > two.zero_threshold {
            widen(two, one.zero_threshold);
        } else {
            widen(one, two.zero_threshold);
        }
    }
}

/// Gives the histogram a zero bucket of that width, or of the next possible one above it.
fn widen(histogram: &mut Work, threshold: f64) {
    let (count, threshold) = count_within(histogram, threshold);
    histogram.zero_count = count;
    histogram.zero_threshold = threshold;
    let schema = histogram.schema;
    for side in [&mut histogram.positive, &mut histogram.negative] {
        side.retain(|(index, _)| lower(*index, schema) >= threshold);
    }
}

/// What a zero bucket of at least that width would hold, and how wide it would really be.
pub(super) fn count_within(histogram: &Work, mut threshold: f64) -> (Total, f64) {
    if threshold <= histogram.zero_threshold {
        return (histogram.zero_count, histogram.zero_threshold);
    }
    let schema = histogram.schema;
    // Each side may push the width further, into the other one.
    loop {
        let reached = [&histogram.positive, &histogram.negative]
            .into_iter()
            .fold(threshold, |threshold, side| pushed(side, schema, threshold));
        if reached <= threshold {
            break;
        }
        threshold = reached;
    }
    let mut count = histogram.zero_count;
    for side in [&histogram.positive, &histogram.negative] {
        for (_, more) in side.iter().take_while(|(index, _)| lower(*index, schema) < threshold) {
            count.add(*more);
        }
    }
    (count, threshold)
}

/// The end of the filled bucket in which the threshold lies, or the threshold itself.
fn pushed(side: &Side, schema: i32, threshold: f64) -> f64 {
    let within = side.iter().take_while(|(index, _)| lower(*index, schema) < threshold);
    let filled = within.filter(|(_, count)| count.value() != 0.0);
    filled.fold(threshold, |reached, (index, _)| reached.max(bound(*index, schema, &[])))
}

fn lower(index: i32, schema: i32) -> f64 {
    bound(index.saturating_sub(1), schema, &[])
}
