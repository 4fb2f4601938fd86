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
