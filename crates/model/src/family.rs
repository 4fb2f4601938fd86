//! What is said beside samples: exemplars, and descriptions of metric families.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::series::names;
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

/// What a family is said to be, as the formats of pages name it: more than series tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FamilyType {
    /// Only grows, or starts again at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count; classic or native.
    Histogram,
    /// A histogram whose counts go up and down.
    GaugeHistogram,
    /// Quantiles, sum and count.
    Summary,
    /// A one, and labels that say something.
    Info,
    /// A value each for the states of something: 1 for those it is in, 0 for the others.
    StateSet,
    /// Nobody said.
    #[default]
    Custom,
}

names!(FamilyType {
    Counter = "COUNTER",
    Gauge = "GAUGE",
    Histogram = "HISTOGRAM",
    GaugeHistogram = "GAUGE_HISTOGRAM",
    Summary = "SUMMARY",
    Info = "INFO",
    StateSet = "STATE_SET",
    Custom = "CUSTOM",
});

impl FamilyType {
    /// The type of the family's series.
    pub fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge | Self::Info | Self::StateSet => MetricType::Gauge,
            Self::Histogram | Self::GaugeHistogram => MetricType::Histogram,
            Self::Summary => MetricType::Summary,
            Self::Custom => MetricType::Custom,
        }
    }

    /// What its samples may have behind the family's name.
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["_total", "_created"],
            Self::Histogram => &["_bucket", "_sum", "_count", "_created"],
            Self::GaugeHistogram => &["_bucket", "_gsum", "_gcount", "_sum", "_count"],
            Self::Summary => &["_sum", "_count", "_created"],
            Self::Info => &["_info"],
            Self::Gauge | Self::StateSet | Self::Custom => &[],
        }
    }
}

impl From<MetricType> for FamilyType {
    fn from(metric_type: MetricType) -> Self {
        match metric_type {
            MetricType::Counter => Self::Counter,
            MetricType::Gauge => Self::Gauge,
            MetricType::Histogram => Self::Histogram,
            MetricType::Summary => Self::Summary,
            MetricType::Custom => Self::Custom,
        }
    }
}

/// What a sender says of a metric family: a histogram's family is its name without `_bucket`, `_sum` and `_count`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FamilyMetadata {
    /// The family's name.
    pub family: String,
    /// Declared type; [`FamilyType::Custom`] where it is unknown.
    pub metric_type: FamilyType,
    /// Help text; empty where none was given.
    pub help: String,
    /// Unit; empty where none was given.
    pub unit: String,
}

impl FamilyMetadata {
    /// Whether this is what a series says in passing, and `family` says the same better: under the family's own name, or
    /// with a type that series do not tell apart.
    pub fn is_covered_by(&self, family: &Self) -> bool {
        let same = self.help == family.help
            && self.unit == family.unit
            && self.metric_type == family.metric_type.metric_type().into();
        let suffix = self.family.strip_prefix(&family.family);
        same && suffix.is_some_and(|suffix| match suffix {
            "" => self.metric_type != family.metric_type,
            suffix => family.metric_type.suffixes().contains(&suffix),
        })
    }
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
        metric_type: series.metric_type.into(),
        help: text(&series.help),
        unit: text(&series.unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_series_say_in_passing_is_covered_by_what_their_family_says() {
        let said = |family: &str, metric_type| FamilyMetadata {
            family: family.into(),
            metric_type,
            help: "Help.".into(),
            unit: String::new(),
        };
        let check = |passing: (&str, FamilyType), family: (&str, FamilyType), expected: bool| {
            let covered = said(passing.0, passing.1).is_covered_by(&said(family.0, family.1));
            assert_eq!(covered, expected, "{passing:?} {family:?}");
        };
        use FamilyType::{Counter, Custom, Gauge, GaugeHistogram, Histogram, Info, StateSet};
        check(("c_total", Counter), ("c", Counter), true);
        check(("c_created", Counter), ("c", Counter), true);
        check(("b_info", Gauge), ("b", Info), true);
        check(("set", Gauge), ("set", StateSet), true);
        check(("g", Histogram), ("g", GaugeHistogram), true);
        check(("g_gsum", Histogram), ("g", GaugeHistogram), true);
        check(("c_total", Counter), ("c", Custom), false);
        check(("c_total", Counter), ("c_total", Counter), false);
        check(("c_other", Counter), ("c", Counter), false);
        check(("b_info", Gauge), ("b", Gauge), false);
        let other = FamilyMetadata { help: "Another.".into(), ..said("c", Counter) };
        assert!(!said("c_total", Counter).is_covered_by(&other), "another text is another statement");
        for kind in FamilyType::ALL {
            assert_eq!(FamilyType::from_name(kind.as_str()), Some(*kind));
            assert!(kind.as_str().len() <= 20, "the column takes 20 characters");
        }
    }

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
