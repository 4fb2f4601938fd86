//! `MetricFilter`: what of a collection is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a filter does with the series that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterAction {
    /// Keep only what some `INCLUDE` filter matches.
    Include,
    /// Drop what it matches, whatever is included.
    Exclude,
    /// Remove the labels named in `drop_labels` from what it matches.
    DropLabels,
}

/// One filter of a target. Patterns are regular expressions that must match the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricFilter {
    /// What to do.
    pub action: FilterAction,
    /// Pattern for the metric's name; absent matches every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Patterns for labels, all of which must match; an absent label has the empty value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels to remove; for `DROP_LABELS` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_labels: Vec<String>,
}
