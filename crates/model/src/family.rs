//! What is said beside samples: exemplars, and descriptions of metric families.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{LabelSet, MetricType, Millis, Series};

/// One observation that stands as an example for a series, usually with the id of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// What names the observation, such as `trace_id`.
    pub labels: LabelSet,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: Millis,
}

/// An exemplar and the series that it belongs to.
#[derive(Debug, Clone)]
pub struct SeriesExemplar {
    /// The series, which need not have samples.
    pub series: Arc<Series>,
    /// The example.
    pub exemplar: Exemplar,
}

/// What a sender says of a metric family: a histogram's family is its name without `_bucket`, `_sum` and `_count`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FamilyMetadata {
    /// The family's name.
    pub family: String,
    /// Declared type; [`MetricType::Custom`] where it is unknown.
    pub metric_type: MetricType,
    /// Help text; empty where none was given.
    pub help: String,
    /// Unit; empty where none was given.
    pub unit: String,
}

/// The family of a metric, going by its type.
pub fn family_of(metric_name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram => &["_bucket", "_sum", "_count"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    let stripped = suffixes.iter().find_map(|suffix| metric_name.strip_suffix(suffix));
    stripped.filter(|family| !family.is_empty()).unwrap_or(metric_name)
}

/// What a series says of its family; `None` where no one said anything of it.
pub fn stated_by(series: &Series) -> Option<FamilyMetadata> {
    let nothing = series.metric_type == MetricType::Custom && series.help.is_none() && series.unit.is_none();
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    (!nothing).then(|| FamilyMetadata {
        family: family_of(series.labels.metric_name(), series.metric_type).to_owned(),
        metric_type: series.metric_type,
        help: text(&series.help),
        unit: text(&series.unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_its_metric_without_what_its_type_adds() {
        let check =
            |name, metric_type, expected| assert_eq!(family_of(name, metric_type), expected, "{name}");
        check("a_bucket", MetricType::Histogram, "a");
        check("a_sum", MetricType::Histogram, "a");
        check("a_count_count", MetricType::Histogram, "a_count");
        check("native", MetricType::Histogram, "native");
        check("a_count", MetricType::Summary, "a");
        check("a_bucket", MetricType::Summary, "a_bucket");
        check("a_count", MetricType::Gauge, "a_count");
        check("requests_total", MetricType::Counter, "requests_total");
        check("_sum", MetricType::Summary, "_sum");
    }
}
