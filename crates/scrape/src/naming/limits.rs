//! A target's own limits on labels, and which names it may use.

use metricsd_model::{FailureReason, METRIC_NAME, NameValidation, Refusal, ScrapeOptions};

/// Checks one sample's labels, the metric's name apart from them. All labels count, the target's and the name included.
pub(super) fn check(
    name: &str,
    labels: &[(String, String)],
    options: &ScrapeOptions,
) -> Result<(), (Refusal, FailureReason, String)> {
    let all =
        || labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).chain([(METRIC_NAME, name)]);
    let present = || all().filter(|(_, value)| !value.is_empty());
    let over = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
    let limit = |reason, message| Err((reason, FailureReason::Limit, message));
    let count = || present().count();
    if options.label_limit > 0 && over(count(), options.label_limit) {
        let message = format!("it has {} labels, and label_limit is {}", count(), options.label_limit);
        return limit(Refusal::LabelLimit, message);
    }
    for (label, value) in present() {
        let bound = options.label_name_length_limit;
        if over(label.len(), bound) {
            let message = format!(
                "the name of label {} has {} bytes, and label_name_length_limit is {bound}",
                start(label),
                label.len()
            );
            return limit(Refusal::InvalidLabel, message);
        }
        let bound = options.label_value_length_limit;
        if over(value.len(), bound) {
            let message = format!(
                "the value of label {} has {} bytes, and label_value_length_limit is {bound}",
                start(label),
                value.len()
            );
            return limit(Refusal::InvalidLabel, message);
        }
    }
    match options.metric_name_validation_scheme {
        NameValidation::Utf8 => Ok(()),
        NameValidation::Legacy => check_legacy(name, present().map(|(label, _)| label)),
    }
}

/// The names that there were before any UTF-8 was one.
fn check_legacy<'l>(
    name: &str,
    mut labels: impl Iterator<Item = &'l str>,
) -> Result<(), (Refusal, FailureReason, String)> {
    let is_legacy = |name: &str, colons: bool| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':')
    };
    let scheme = "which metric_name_validation_scheme: legacy does not allow";
    if !is_legacy(name, true) {
        let message = format!("the metric is called {}, {scheme}", start(name));
        return Err((Refusal::InvalidName, FailureReason::Parse, message));
    }
    match labels.find(|label| !is_legacy(label, false)) {
        Some(label) => {
            let message = format!("a label is called {}, {scheme}", start(label));
            Err((Refusal::InvalidLabel, FailureReason::Parse, message))
        }
        None => Ok(()),
    }
}

/// As much of a name as people need to know it again, in quotes.
fn start(name: &str) -> String {
    let start: String = name.chars().take(60).collect();
    format!("{start:?}")
}
