//! Native histograms of scripts.

use metricsd_model::NativeHistogram;
use metricsd_promql::histogram::{add, notation, sub};

/// Reads `{{…}}`; answers also whether the reset hint was written.
pub fn read(text: &str) -> Result<(NativeHistogram, bool), String> {
    let histogram = notation::parse(text).map_err(|error| error.to_string())?;
    Ok((histogram, text.contains("counter_reset_hint")))
}

/// Both together, with the reset hint of the first.
pub fn sum(left: &NativeHistogram, right: &NativeHistogram) -> Result<NativeHistogram, String> {
    let sum = add(left, right).map_err(|error| format!("{error:?}"))?.histogram;
    Ok(NativeHistogram { reset_hint: left.reset_hint, ..sum })
}

/// The first without the second, with the reset hint of the first.
pub fn difference(left: &NativeHistogram, right: &NativeHistogram) -> Result<NativeHistogram, String> {
    let difference = sub(left, right).map_err(|error| format!("{error:?}"))?.histogram;
    Ok(NativeHistogram { reset_hint: left.reset_hint, ..difference })
}
