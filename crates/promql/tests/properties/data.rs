//! Series at random.
#![allow(unreachable_pub)]

use metricsd_model::{LabelSet, Millis, NativeHistogram, Span};
use proptest::prelude::*;

use crate::script::series::Slot;

const MINUTE: Millis = 60_000;

/// A series: its labels and its samples, ascending in time.
pub type Loaded = (LabelSet, Vec<(Millis, Slot)>);

/// What a sample may be: small whole numbers, so that sums do not depend on their order; NaN, markers and gaps.
fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        12 => (-1000..1000i32).prop_map(|value| Slot::Float(f64::from(value))),
        1 => Just(Slot::Float(f64::NAN)),
        1 => Just(Slot::Stale),
        4 => Just(Slot::Missing),
    ]
}

/// A counter: grows by whole numbers, starts again now and then, has gaps and markers.
fn counter() -> impl Strategy<Value = Vec<Slot>> {
    prop::collection::vec((0..20u32, 0..12u32), 2..40).prop_map(|steps| {
        let mut value = 0.0;
        let of = |(growth, kind): (u32, u32)| {
            value = if kind == 0 { f64::from(growth) } else { value + f64::from(growth) };
            match kind {
                1 => Slot::Missing,
                2 => Slot::Stale,
                _ => Slot::Float(value),
            }
        };
        steps.into_iter().map(of).collect()
    })
}

/// Samples at irregular distances between a millisecond and two minutes.
fn at_times(slots: Vec<Slot>, distances: &[Millis]) -> Vec<(Millis, Slot)> {
    let mut at = 0;
    let mut next = |(index, slot): (usize, Slot)| {
        at += distances[index % distances.len()];
        (at, slot)
    };
    slots.into_iter().enumerate().map(&mut next).collect()
}

fn distances() -> impl Strategy<Value = Vec<Millis>> {
    prop::collection::vec(prop_oneof![Just(15_000), Just(MINUTE), 1..2 * MINUTE], 1..10)
}

/// Up to eight series of one metric, in two groups.
pub fn gauges() -> impl Strategy<Value = Vec<Loaded>> {
    prop::collection::vec((prop::collection::vec(slot(), 1..30), distances()), 1..8).prop_map(|all| {
        let of = |(index, (slots, distances)): (usize, (Vec<Slot>, Vec<Millis>))| {
            (labels("m", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

pub fn counters() -> impl Strategy<Value = Vec<Loaded>> {
    prop::collection::vec((counter(), distances()), 1..4).prop_map(|all| {
        let of = |(index, (slots, distances)): (usize, (Vec<Slot>, Vec<Millis>))| {
            (labels("c_total", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

fn labels(name: &str, index: usize) -> LabelSet {
    let (n, g) = (index.to_string(), (index % 2).to_string());
    LabelSet::new([("__name__", name), ("n", &n), ("g", &g)]).unwrap()
}

/// Native histograms that grow and start again, of two resolutions, with gaps, markers and floats between them.
pub fn histograms() -> impl Strategy<Value = Vec<Loaded>> {
    let one = prop::collection::vec((prop::collection::vec(0..9u32, 3), 0..14u32), 2..30);
    prop::collection::vec((one, distances()), 1..4).prop_map(|all| {
        let of = |(index, (steps, distances)): (usize, (Vec<Growth>, Vec<Millis>))| {
            let mut counts = vec![0.0; 3];
            let slots = steps.iter().map(|(growth, kind)| histogram(&mut counts, growth, *kind)).collect();
            (labels("h", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

/// By how much each bucket grew, and what kind of sample came of it.
type Growth = (Vec<u32>, u32);

fn histogram(counts: &mut [f64], growth: &[u32], kind: u32) -> Slot {
    for (count, growth) in counts.iter_mut().zip(growth) {
        *count = if kind == 0 { 0.0 } else { *count } + f64::from(*growth);
    }
    let count = counts.iter().sum();
    match kind {
        1 => Slot::Missing,
        2 => Slot::Stale,
        3 => Slot::Float(count),
        _ => {
            let histogram = NativeHistogram {
                schema: i32::from(kind == 4),
                count,
                sum: 2.0 * count,
                positive_spans: vec![Span { offset: 1, length: 3 }],
                positive_buckets: counts.to_vec(),
                ..NativeHistogram::default()
            };
            Slot::Histogram(Box::new(histogram), false)
        }
    }
}
