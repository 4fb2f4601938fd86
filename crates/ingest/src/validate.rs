//! What a metric name, a label and a timestamp must be.

use std::ops::RangeInclusive;

use metricsd_model::{METRIC_NAME, Millis, NativeHistogram, Refusal};

use crate::Limits;

/// What is wrong with one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Closed-set reason.
    pub reason: Refusal,
    /// Which field.
    pub field: String,
    /// What was wrong, and what is expected.
    pub message: String,
}

impl Fault {
    /// A fault of one field.
    pub fn new(reason: Refusal, field: &str, message: impl Into<String>) -> Self {
        Self { reason, field: field.to_owned(), message: message.into() }
    }

    /// A fault of the labels as a whole.
    pub fn label(message: impl Into<String>) -> Self {
        Self::new(Refusal::InvalidLabel, "labels", message)
    }
}

/// Checks a metric's name: any UTF-8 text within its length and without control characters.
pub fn check_metric_name(name: &str, limits: &Limits) -> Result<(), Fault> {
    let fault = |message: String| Err(Fault::new(Refusal::InvalidName, "name", message));
    if name.is_empty() {
        return fault("the name is empty".to_owned());
    }
    if name.len() > limits.max_metric_name_bytes {
        return fault(format!("the name is longer than {} bytes", limits.max_metric_name_bytes));
    }
    if name.chars().any(char::is_control) {
        return fault("the name holds a control character".to_owned());
    }
    Ok(())
}

/// Checks a label's name: well-formed and not reserved.
pub fn check_label_name(name: &str, limits: &Limits) -> Result<(), String> {
    if name == METRIC_NAME || name.starts_with("__") {
        return Err(format!(
            "label {name:?} is reserved: names that begin with two underscores are metricsd's own"
        ));
    }
    check_label_form(name, limits)
}

/// Checks that a label's name is not empty, within its length and without control characters.
fn check_label_form(name: &str, limits: &Limits) -> Result<(), String> {
    if name.is_empty() {
        return Err("a label name is empty".to_owned());
    }
    if name.len() > limits.max_label_name_bytes {
        let start: String = name.chars().take(30).collect();
        return Err(format!("label name {start:?}… is longer than {} bytes", limits.max_label_name_bytes));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("label name {name:?} holds a control character"));
    }
    Ok(())
}

/// Checks labels that a client sends, the metric's name left out.
pub fn check_labels(labels: &[(String, String)], limits: &Limits) -> Result<(), Fault> {
    for (name, _) in labels {
        check_label_name(name, limits).map_err(Fault::label)?;
    }
    check_page_labels(labels, limits)
}

/// Checks labels of a scraped page, the metric's name left out: targets may use names that are reserved for clients.
pub fn check_page_labels<T: AsRef<str>>(labels: &[(T, T)], limits: &Limits) -> Result<(), Fault> {
    if labels.len() + 1 > limits.max_labels {
        let message =
            format!("{} labels and the name are more than the limit of {}", labels.len(), limits.max_labels);
        return Err(Fault::new(Refusal::LabelLimit, "labels", message));
    }
    for (name, value) in labels {
        let (name, value) = (name.as_ref(), value.as_ref());
        check_label_form(name, limits).map_err(Fault::label)?;
        if value.len() > limits.max_label_value_bytes {
            let message =
                format!("the value of label {name:?} is longer than {} bytes", limits.max_label_value_bytes);
            return Err(Fault::label(message));
        }
    }
    Ok(())
}

/// The timestamps that [`check_timestamp`] lets pass at a moment.
pub fn accepted_times(now: Millis, limits: &Limits) -> RangeInclusive<Millis> {
    let bounded = |bound: i64, limit: Millis, otherwise: Millis| if bound > 0 { limit } else { otherwise };
    let (age, future) = (limits.max_sample_age.millis(), limits.max_sample_future.millis());
    let earliest = bounded(age, now.saturating_sub(age), EARLIEST);
    let latest = bounded(future, now.saturating_add(future), LATEST);
    earliest.max(EARLIEST)..=latest.min(LATEST)
}

/// Checks that a sample is neither too old nor too far ahead.
pub fn check_timestamp(timestamp: Millis, now: Millis, limits: &Limits) -> Result<(), Fault> {
    let (age, future) = (limits.max_sample_age, limits.max_sample_future);
    if age.millis() > 0 && timestamp < now.saturating_sub(age.millis()) {
        let message = format!("the sample is older than {age}, the bound set by limits.max_sample_age");
        return Err(Fault::new(Refusal::TooOld, "timestamp", message));
    }
    if future.millis() > 0 && timestamp > now.saturating_add(future.millis()) {
        let message =
            format!("the sample is more than {future} ahead, the bound set by limits.max_sample_future");
        return Err(Fault::new(Refusal::TooNew, "timestamp", message));
    }
    if !EARLIEST.le(&timestamp) || !LATEST.ge(&timestamp) {
        return Err(Fault::new(
            Refusal::InvalidValue,
            "timestamp",
            "the timestamp is outside the years 1 to 9999",
        ));
    }
    Ok(())
}

/// The first millisecond of the year 1 and the last of the year 9999: what both databases and RFC 3339 can hold.
const EARLIEST: Millis = -62_135_596_800_000;
const LATEST: Millis = 253_402_300_799_999;

/// Checks a native histogram. One of integers adds up exactly; one of floats may be off by what rounding loses.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_histogram(histogram: &NativeHistogram, integer: bool) -> Result<(), String> {
    histogram.validate()?;
    if !integer {
        return Ok(());
    }
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    let observed = histogram.zero_count + buckets.sum::<f64>();
    // An observation that is no number falls into no bucket.
    let agrees =
        if histogram.sum.is_nan() { observed <= histogram.count } else { observed == histogram.count };
    if agrees {
        return Ok(());
    }
    Err(format!(
        "the buckets of the histogram hold {observed} observations, its count says {}",
        histogram.count
    ))
}
