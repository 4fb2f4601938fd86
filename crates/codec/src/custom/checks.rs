//! What every form of an item must hold to.

use metricsd_model::Refusal;

use super::metric::{ClassicHistogram, Summary, Wrong};

/// How much of a foreign text a message repeats.
const QUOTE: usize = 64;

pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTE).collect()
}

pub(super) fn label_field(name: &str) -> String {
    format!("labels.{}", quote(name))
}

/// No name twice, and none that is metricsd's own.
pub(super) fn labels<T: AsRef<str>>(labels: &[(T, T)]) -> Result<(), Wrong> {
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[name, next]| name == next) {
        return Err(Wrong::new(label_field(name), Refusal::InvalidLabel, "given more than once"));
    }
    match names.iter().find(|name| name.starts_with("__")) {
        Some(name) => {
            let name = quote(name);
            let message = format!(
                "label {name:?} is reserved: names that begin with two underscores are metricsd's own"
            );
            Err(Wrong::new("labels", Refusal::InvalidLabel, message))
        }
        None => Ok(()),
    }
}

/// Bounds ascend, counts do not fall, and the last is that of all.
pub(super) fn classic(histogram: &ClassicHistogram) -> Result<(), Wrong> {
    let wrong = |message: String| Err(Wrong::new("histogram", Refusal::InvalidValue, message));
    let (mut bound, mut below) = (f64::NEG_INFINITY, 0.0);
    for (place, (upper, count)) in histogram.buckets.iter().enumerate() {
        if upper.is_nan() || place > 0 && *upper <= bound {
            return wrong(format!("the upper bounds of its buckets must ascend, {upper} does not"));
        }
        if count.is_nan() || *count < below {
            return wrong(format!(
                "counts are of all observations up to a bound, and {count} at {upper} falls"
            ));
        }
        (bound, below) = (*upper, *count);
    }
    if histogram.count.is_nan() || histogram.count < below {
        return wrong(format!("its count is {}, of which the buckets hold {below}", histogram.count));
    }
    if bound == f64::INFINITY && histogram.count != below {
        return wrong(format!("its count is {}, the bucket +Inf holds {below}", histogram.count));
    }
    Ok(())
}

/// Quantiles are from 0 to 1, each once.
pub(super) fn summary(summary: &Summary) -> Result<(), Wrong> {
    let wrong = |message: String| Err(Wrong::new("summary", Refusal::InvalidValue, message));
    let mut seen: Vec<f64> = summary.quantiles.iter().map(|(quantile, _)| *quantile).collect();
    if let Some(outside) = seen.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
        return wrong(format!("quantiles are from 0 to 1, {outside} is not"));
    }
    seen.sort_unstable_by(f64::total_cmp);
    match seen.array_windows().find(|[quantile, next]| quantile == next) {
        Some([twice, _]) => wrong(format!("the quantile {twice} is given twice")),
        None => Ok(()),
    }
}
