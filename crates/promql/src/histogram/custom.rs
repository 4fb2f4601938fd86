//! Custom buckets of different bounds.

use super::work::{Side, Work, merge_neighbours};

/// Brings both histograms to the bounds that they share, where their bounds differ; says whether they did.
pub(super) fn reconcile(one: &mut Work, two: &mut Work) -> bool {
    if one.custom_values == two.custom_values {
        return false;
    }
    let shared = shared_bounds(&one.custom_values, &two.custom_values);
    for histogram in [one, two] {
        move_to(&mut histogram.positive, &histogram.custom_values, &shared);
        histogram.custom_values.clone_from(&shared);
    }
    true
}

/// The bounds that both lists have.
fn shared_bounds(one: &[f64], two: &[f64]) -> Vec<f64> {
    let mut two = two.iter().peekable();
    let mut shared = Vec::new();
    for bound in one {
        while two.next_if(|other| *other < bound).is_some() {}
        if two.next_if(|other| *other == bound).is_some() {
            shared.push(*bound);
        }
    }
    shared
}

/// Puts each bucket into the first one that ends at or after its own end.
fn move_to(side: &mut Side, bounds: &[f64], shared: &[f64]) {
    for (index, _) in side.iter_mut() {
        let old = usize::try_from((*index).max(0)).unwrap_or(usize::MAX);
        let new = match bounds.get(old) {
            Some(bound) => shared.partition_point(|other| other < bound),
            None => shared.len(),
        };
        *index = i32::try_from(new).unwrap_or(i32::MAX);
    }
    // Bounds that do not grow, as only malformed histograms have them, leave no order.
    side.sort_by_key(|(index, _)| *index);
    merge_neighbours(side);
    side.retain(|(_, count)| count.value() != 0.0);
}
