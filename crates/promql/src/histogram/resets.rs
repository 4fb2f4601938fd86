//! Counters that begin again.

use metricsd_model::{NativeHistogram, ResetHint};

use super::work::{Side, Work};
use super::{custom, zero};

/// Whether a counter began again between two samples.
///
/// What the current sample says about itself holds; where it says nothing, or calls itself a gauge, anything that cannot
/// come from further observations is a reset: fewer of them, in all or in any bucket, a finer resolution, a narrower
/// zero bucket or one that ends within a bucket that was filled before, custom instead of exponential buckets or the
/// other way round. Custom buckets of different bounds are compared at the bounds that both have.
pub fn detect_reset(current: &NativeHistogram, previous: &NativeHistogram) -> bool {
    match current.reset_hint {
        ResetHint::Yes => return true,
        ResetHint::No => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if current.count < previous.count || current.uses_custom_buckets() != previous.uses_custom_buckets() {
        return true;
    }
    let (mut now, mut before) = (Work::from(current), Work::from(previous));
    if now.uses_custom_buckets() {
        custom::reconcile(&mut now, &mut before);
        return decreased(&now.positive, &before.positive);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    if zero::count_within(&before, now.zero_threshold).1 != now.zero_threshold {
        return true;
    }
    zero::reconcile(&mut before, &mut now);
    before.reduce_to(now.schema);
    now.zero_count.value() < before.zero_count.value()
        || decreased(&now.positive, &before.positive)
        || decreased(&now.negative, &before.negative)
}

/// Whether any bucket holds less than before.
fn decreased(now: &Side, before: &Side) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, count)| {
        while now.next_if(|(at, _)| at < index).is_some() {}
        match now.next_if(|(at, _)| at == index) {
            Some((_, present)) => present.value() < count.value(),
            None => count.value() != 0.0,
        }
    })
}
