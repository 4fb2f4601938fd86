//! Native histograms of scripts.

use metricsd_model::NativeHistogram;

/// Reads `{{…}}`; answers also whether the reset hint was written.
pub fn read(text: &str) -> Result<(NativeHistogram, bool), String> {
    Err(format!("cannot read {text}"))
}

/// Both together.
pub fn sum(left: &NativeHistogram, right: &NativeHistogram) -> Result<NativeHistogram, String> {
    Err(format!("cannot add {left:?} {right:?}"))
}

/// The first without the second.
pub fn difference(left: &NativeHistogram, right: &NativeHistogram) -> Result<NativeHistogram, String> {
    sum(left, right)
}
