//! Which series of two vectors go together.

use metricsd_model::{LabelSet, METRIC_NAME};

use crate::ast::Matching;
use crate::engine::data::Series;
use crate::engine::hash::LabelMap;

/// The labels by which two series find each other.
pub(super) fn signature(labels: &LabelSet, matching: &Matching) -> LabelSet {
    if matching.on {
        return labels.keep(&matching.labels);
    }
    let mut ignored: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    ignored.push(METRIC_NAME);
    labels.without(&ignored)
}

/// The series of two vectors by what they are matched by. Every distinct signature has a number.
pub(super) struct Signatures {
    /// One a series of the left vector.
    pub(super) left: Vec<usize>,
    /// One a series of the right vector.
    pub(super) right: Vec<usize>,
    /// The labels of each.
    pub(super) labels: Vec<LabelSet>,
}

impl Signatures {
    pub(super) fn of(left: &[Series], right: &[Series], matching: &Matching) -> Self {
        let mut numbers: LabelMap<usize> = LabelMap::default();
        let mut labels = Vec::new();
        let mut number = |series: &Series| {
            *numbers.entry(signature(&series.labels, matching)).or_insert_with_key(|signature| {
                labels.push(signature.clone());
                labels.len() - 1
            })
        };
        let (left, right) = (left.iter().map(&mut number).collect(), right.iter().map(&mut number).collect());
        Self { left, right, labels }
    }

    /// Indexes of the series that have each signature.
    pub(super) fn members(&self, of: &[usize]) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.labels.len()];
        for (index, signature) in of.iter().enumerate() {
            members[*signature].push(index);
        }
        members
    }
}
