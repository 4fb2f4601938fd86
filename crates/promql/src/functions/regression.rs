//! Lines through windows: simple linear regression, double exponential smoothing.

use metricsd_model::Millis;

use super::running::Sum;
use super::{RangeContext, Window};
use crate::annotation::Annotation;
use crate::value::PointValue;

pub(super) fn deriv(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    // Times near those of the samples, or their squares would take all the digits.
    let near = *enough(window, context)?;
    let line = Line::through(window, near);
    remark_on_histograms(window, context);
    Some(PointValue::Float(line.slope))
}

pub(super) fn predict_linear(window: &Window<'_>, context: &RangeContext<'_>) -> Option<PointValue> {
    enough(window, context)?;
    let ahead = context.arg(0);
    let line = Line::through(window, context.at);
    remark_on_histograms(window, context);
    Some(PointValue::Float(line.slope * ahead + line.intercept))
}

/// Two floats at least, or there is no line; gives the first one's time.
fn enough<'a>(window: &Window<'a>, context: &RangeContext<'_>) -> Option<&'a Millis> {
    match window.timestamps {
        [first, _, ..] => Some(first),
        [_] => {
            remark_on_histograms(window, context);
            None
        }
        [] => None,
    }
}

fn remark_on_histograms(window: &Window<'_>, context: &RangeContext<'_>) {
    if !window.histograms.is_empty() {
        context.remark(Annotation::HistogramIgnoredInMixedRange(context.metric()));
    }
}

/// The line with the least squared distances from the floats, time in seconds from a chosen moment.
struct Line {
    slope: f64,
    intercept: f64,
}

impl Line {
    /// slope = cov(x, y) / var(x), intercept = mean(y) - slope * mean(x). A constant is taken as it is, so that no
    /// rounding bends it; an infinite one has no line.
    fn through(window: &Window<'_>, origin: Millis) -> Self {
        let first = window.values.first().copied().unwrap_or(f64::NAN);
        if window.values.iter().all(|value| *value == first) {
            return if first.is_infinite() {
                Self { slope: f64::NAN, intercept: f64::NAN }
            } else {
                Self { slope: 0.0, intercept: first }
            };
        }
        let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
            (Sum::default(), Sum::default(), Sum::default(), Sum::default());
        for (timestamp, y) in window.timestamps.iter().zip(window.values) {
            let x = (timestamp - origin) as f64 / 1e3;
            x_sum.add(x);
            y_sum.add(*y);
            xy_sum.add(x * y);
            xx_sum.add(x * x);
        }
        let n = window.values.len() as f64;
        let (x_sum, y_sum) = (x_sum.value(), y_sum.value());
        let covariance = xy_sum.value() - x_sum * y_sum / n;
        let variance = xx_sum.value() - x_sum * x_sum / n;
        let slope = covariance / variance;
        Self { slope, intercept: y_sum / n - slope * x_sum / n }
    }
}

/// Why the factors of `double_exponential_smoothing` are of no use: each must lie within [0, 1].
pub fn check_smoothing(smoothing: f64, trend: f64) -> Result<(), String> {
    check_factor("smoothing", "sf", smoothing)?;
    check_factor("trend", "tf", trend)
}

fn check_factor(factor: &str, short: &str, value: f64) -> Result<(), String> {
    if value.is_nan() || (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    let value = if value.is_infinite() { crate::number::plain(value) } else { format!("{value:.6}") };
    Err(format!("invalid {factor} factor. Expected: 0 <= {short} <= 1, got: {value}"))
}

/// Holt's linear method. Level and trend begin with the first value and with the first difference.
pub(super) fn double_exponential_smoothing(
    window: &Window<'_>,
    context: &RangeContext<'_>,
) -> Option<PointValue> {
    enough(window, context)?;
    let (smoothing, factor) = (context.arg(0), context.arg(1));
    let [first, second, ..] = window.values else { return None };
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (i, value) in window.values.iter().skip(1).enumerate() {
        if i > 0 {
            trend = factor * (level - before) + (1.0 - factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    remark_on_histograms(window, context);
    Some(PointValue::Float(level))
}

#[cfg(test)]
mod tests;
