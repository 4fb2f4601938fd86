//! Tests with values worked out by hand, and properties that hold for any histogram.

mod accumulator;
mod arithmetic;
mod estimates;
mod places;
mod properties;
mod resets;
mod trim;
mod writing;

use metricsd_model::NativeHistogram;

use super::notation;

fn h(text: &str) -> NativeHistogram {
    notation::parse(text).unwrap()
}

/// Equal but for rounding.
#[track_caller]
fn close(got: f64, wanted: f64) {
    let difference = (got - wanted).abs();
    assert!(got == wanted || difference <= 1e-12 * wanted.abs().max(1.0), "got {got}, wanted {wanted}");
}

/// Equal in writing, empty buckets left out.
#[track_caller]
fn is(got: &NativeHistogram, wanted: &str) {
    let mut got = got.clone();
    super::compact(&mut got);
    assert_eq!(notation::write(&got), wanted);
}
