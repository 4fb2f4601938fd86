//! Exemplars of a page: they are stored once, with the push that brings them, and do not stand with its group.

use metricsd_model::Millis;

use crate::exposition::{Exemplar, Label};
use crate::metric_family::FamilyExemplar;
use crate::remote_write::BodyWriter;

/// Exemplars of one push; others are left out.
pub const MAX_EXEMPLARS: usize = 10_000;

/// The exemplars of a page by their series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exemplars {
    series: Vec<OfSeries>,
    count: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct OfSeries {
    /// As a body of remote write has them.
    labels: Vec<u8>,
    list: Vec<One>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct One {
    labels: Vec<(String, String)>,
    value: f64,
    /// Where it says so.
    timestamp: Option<Millis>,
}

impl One {
    fn new(labels: Vec<Label<'_>>, value: f64, timestamp: Option<Millis>) -> Self {
        let owned = |(name, value): Label<'_>| (name.into_owned(), value.into_owned());
        Self { labels: labels.into_iter().map(owned).collect(), value, timestamp }
    }

    /// One of a line of text; `None` where its labels are too long or at fault.
    pub(super) fn of_text(exemplar: &Exemplar<'_>) -> Option<Self> {
        Some(Self::new(exemplar.parse_labels().ok()?, exemplar.value, exemplar.timestamp))
    }

    pub(super) fn of_family(exemplar: &FamilyExemplar<'_>) -> Self {
        Self::new(exemplar.labels(), exemplar.value, exemplar.timestamp)
    }
}

impl Exemplars {
    /// Adds those of a series, as long as there is room.
    pub(super) fn add(&mut self, labels: Option<Vec<u8>>, of_series: impl Iterator<Item = One>) {
        let Some(labels) = labels else { return };
        let list: Vec<One> = of_series.take(MAX_EXEMPLARS.saturating_sub(self.count)).collect();
        if !list.is_empty() {
            self.count += list.len();
            self.series.push(OfSeries { labels, list });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Writes them into a body, behind the samples of their series; those without a time are of this one.
    pub fn write(&self, at: Millis, body: &mut BodyWriter) {
        for OfSeries { labels, list } in &self.series {
            let mut series = body.series();
            series.raw_labels(labels);
            for One { labels, value, timestamp } in list {
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                series.exemplar(labels, *value, timestamp.unwrap_or(at));
            }
        }
    }
}
