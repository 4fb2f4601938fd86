//! Derives native histograms with custom buckets from classic ones.

use std::collections::BTreeMap;

use metricsd_model::{LabelSet, NativeHistogram, Span};

use super::series::Slot;

/// The schema of custom buckets.
const CUSTOM: i32 = -53;

/// What a classic histogram says at one time.
#[derive(Default)]
struct Classic {
    /// Cumulative counts by upper bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
    stale: bool,
}

/// One series for each classic histogram among these.
pub fn derive(series: &[(LabelSet, Vec<Slot>)]) -> Result<Vec<(LabelSet, Vec<Slot>)>, String> {
    let mut found: BTreeMap<LabelSet, BTreeMap<usize, Classic>> = BTreeMap::new();
    let is_bucket =
        |labels: &LabelSet| labels.metric_name().ends_with("_bucket") && labels.get("le").is_some();
    for (labels, slots) in series.iter().filter(|(labels, _)| is_bucket(labels)) {
        let bound = labels.get("le").unwrap_or_default();
        let bound: f64 = bound.parse().map_err(|_| format!("{bound:?} is no bound"))?;
        let of_histogram = found.entry(base(labels, "_bucket")?).or_default();
        put(of_histogram, slots, |classic, value| classic.buckets.push((bound, value)));
    }
    for (labels, slots) in series {
        let name = labels.metric_name();
        for (suffix, is_sum) in [("_count", false), ("_sum", true)] {
            if !name.ends_with(suffix) {
                continue;
            }
            if let Some(of_histogram) = found.get_mut(&base(labels, suffix)?) {
                put(of_histogram, slots, |classic, value| {
                    *(if is_sum { &mut classic.sum } else { &mut classic.count }) = Some(value);
                });
            }
        }
    }
    Ok(found.into_iter().map(|(labels, times)| (labels, slots(times))).collect())
}

/// The labels of the histogram that a series is a part of.
fn base(labels: &LabelSet, suffix: &str) -> Result<LabelSet, String> {
    let name = labels.metric_name().strip_suffix(suffix).unwrap_or_default();
    let others = labels.without_name().filter(|(name, _)| *name != "le");
    LabelSet::new(others.chain([("__name__", name)])).map_err(|error| error.to_string())
}

fn put(times: &mut BTreeMap<usize, Classic>, slots: &[Slot], put: impl Fn(&mut Classic, f64)) {
    for (index, slot) in slots.iter().enumerate() {
        match slot {
            Slot::Float(value) => put(times.entry(index).or_default(), *value),
            Slot::Stale => times.entry(index).or_default().stale = true,
            Slot::Missing | Slot::Histogram(..) => {}
        }
    }
}

fn slots(times: BTreeMap<usize, Classic>) -> Vec<Slot> {
    let length = times.keys().last().map_or(0, |last| last + 1);
    let mut slots = vec![Slot::Missing; length];
    for (index, classic) in times {
        slots[index] = match classic {
            Classic { buckets, .. } if !buckets.is_empty() => {
                Slot::Histogram(Box::new(custom(buckets, classic.count, classic.sum)), false)
            }
            Classic { stale: true, .. } => Slot::Stale,
            _ => Slot::Missing,
        };
    }
    slots
}

fn custom(mut buckets: Vec<(f64, f64)>, count: Option<f64>, sum: Option<f64>) -> NativeHistogram {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let highest = buckets.last().map_or(0.0, |(_, value)| *value);
    let count = count.unwrap_or(highest);
    let bounds: Vec<f64> =
        buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    if bounds.len() == buckets.len() {
        buckets.push((f64::INFINITY, count));
    }
    let mut below = 0.0;
    let absolute = |(_, cumulative): &(f64, f64)| cumulative - std::mem::replace(&mut below, *cumulative);
    let counts: Vec<f64> = buckets.iter().map(absolute).collect();
    let length = u32::try_from(counts.len()).expect("few buckets");
    NativeHistogram {
        schema: CUSTOM,
        count,
        sum: sum.unwrap_or(0.0),
        positive_spans: vec![Span { offset: 0, length }],
        positive_buckets: counts,
        custom_values: bounds,
        ..NativeHistogram::default()
    }
}
