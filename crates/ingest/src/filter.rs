//! A target's filters, compiled.

use metricsd_model::matcher::anchored_regex;
use metricsd_model::{FilterAction, MetricFilter};
use regex::Regex;

/// Which filter is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filters[{index}].{field}: {message}")]
pub struct FilterError {
    /// Place in the list.
    pub index: usize,
    /// Field of the filter.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// A target's filters, ready to be applied to one series after another.
#[derive(Debug, Default)]
pub struct FilterSet {
    filters: Vec<Compiled>,
    includes: bool,
}

#[derive(Debug)]
struct Compiled {
    action: FilterAction,
    name: Option<Regex>,
    labels: Vec<(String, Regex)>,
    drop_labels: Vec<String>,
}

impl FilterSet {
    /// Compiles and checks filters.
    pub fn compile(filters: &[MetricFilter]) -> Result<Self, FilterError> {
        let filters: Vec<Compiled> = filters
            .iter()
            .enumerate()
            .map(|(index, filter)| compile(index, filter))
            .collect::<Result<_, _>>()?;
        let includes = filters.iter().any(|filter| filter.action == FilterAction::Include);
        Ok(Self { filters, includes })
    }

    /// Decides over one series and removes labels from it. `false`: the series is dropped.
    /// All filters see the labels as they came.
    pub fn apply(&self, name: &str, labels: &mut Vec<(String, String)>) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let mut included = !self.includes;
        let mut removed: Vec<&str> = Vec::new();
        for filter in self.filters.iter().filter(|filter| filter.matches(name, labels)) {
            match filter.action {
                FilterAction::Include => included = true,
                FilterAction::Exclude => return false,
                FilterAction::DropLabels => removed.extend(filter.drop_labels.iter().map(String::as_str)),
            }
        }
        if included && !removed.is_empty() {
            labels.retain(|(label, _)| !removed.contains(&label.as_str()));
        }
        included
    }
}

impl Compiled {
    fn matches(&self, name: &str, labels: &[(String, String)]) -> bool {
        let value = |label: &str| {
            labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value.as_str())
        };
        self.name.as_ref().is_none_or(|pattern| pattern.is_match(name))
            && self.labels.iter().all(|(label, pattern)| pattern.is_match(value(label)))
    }
}

fn compile(index: usize, filter: &MetricFilter) -> Result<Compiled, FilterError> {
    let error = |field: &str, message: String| FilterError { index, field: field.to_owned(), message };
    let regex = |field: &str, pattern: &str| anchored_regex(pattern).map_err(|e| error(field, short(&e)));
    let drops = filter.action == FilterAction::DropLabels;
    if drops && filter.drop_labels.is_empty() {
        return Err(error("drop_labels", "DROP_LABELS needs at least one label to drop".to_owned()));
    }
    if !drops && !filter.drop_labels.is_empty() {
        return Err(error("drop_labels", "only a DROP_LABELS filter drops labels".to_owned()));
    }
    if !drops && filter.name.is_none() && filter.labels.is_empty() {
        return Err(error("name", "give a name pattern, label patterns, or both".to_owned()));
    }
    let labels = filter
        .labels
        .iter()
        .map(|(label, pattern)| Ok((label.clone(), regex(&format!("labels.{label}"), pattern)?)))
        .collect::<Result<_, FilterError>>()?;
    Ok(Compiled {
        action: filter.action,
        name: filter.name.as_deref().map(|pattern| regex("name", pattern)).transpose()?,
        labels,
        drop_labels: filter.drop_labels.clone(),
    })
}

/// The last line of a regular expression's error says what is wrong; those before it draw where.
fn short(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    format!("not a regular expression: {}", line.strip_prefix("error: ").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(
        action: FilterAction,
        name: Option<&str>,
        labels: &[(&str, &str)],
        drop: &[&str],
    ) -> MetricFilter {
        MetricFilter {
            action,
            name: name.map(str::to_owned),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            drop_labels: drop.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    #[test]
    fn filters_include_exclude_and_drop_labels() {
        use FilterAction::{DropLabels, Exclude, Include};
        let set = FilterSet::compile(&[
            filter(Include, Some("http_.*"), &[], &[]),
            filter(Include, None, &[("kept", "yes")], &[]),
            filter(Exclude, Some(".*_bucket"), &[("le", "0\\..*")], &[]),
            filter(DropLabels, Some("http_.*"), &[], &["pod"]),
        ])
        .unwrap();
        let check = |name: &str, labels: &[(&str, &str)], expected: Option<&[&str]>| {
            let mut labels: Vec<_> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let kept = set.apply(name, &mut labels);
            let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(kept.then_some(names.as_slice()), expected, "{name}");
        };
        check("http_requests", &[("pod", "a"), ("zone", "b")], Some(&["zone"]));
        check("http_latency_bucket", &[("le", "0.5")], None);
        check("http_latency_bucket", &[("le", "1")], Some(&["le"]));
        check("go_threads", &[], None);
        check("go_threads", &[("kept", "yes"), ("pod", "a")], Some(&["kept", "pod"]));
    }

    #[test]
    fn bad_filters_say_which_field() {
        let check = |bad: MetricFilter, expected: &str| {
            let good = filter(FilterAction::Exclude, Some("x"), &[], &[]);
            let error = FilterSet::compile(&[good, bad]).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            filter(FilterAction::Include, Some("("), &[], &[]),
            "filters[1].name: not a regular expression",
        );
        check(filter(FilterAction::Include, None, &[("a", "[")], &[]), "filters[1].labels.a:");
        check(filter(FilterAction::Include, None, &[], &[]), "filters[1].name: give");
        check(filter(FilterAction::DropLabels, None, &[], &[]), "filters[1].drop_labels: DROP_LABELS needs");
        check(filter(FilterAction::Exclude, Some("a"), &[], &["b"]), "filters[1].drop_labels: only");
    }
}
