//! Values of spans, of which several shards may hold parts of one span.
//!
//! Spans that one shard holds alone are as good as its samples. Of a span that several hold, as when a target's data has
//! moved in the middle of it, no value can be made of theirs: the same sample may count in each. Those spans are rolled up anew
//! from samples; where these are gone, the first shard's value stays.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use metricsd_model::{LabelSet, Millis};
use metricsd_ports::{RolledSeries, Rollup, SelectedSeries, Selection, rollup};

/// Series with the values of all shards, and what is still to be settled by samples.
pub(crate) struct Merged {
    series: Vec<RolledSeries>,
    /// Ends of spans that several shards hold, by the place of their series.
    shared: BTreeMap<usize, BTreeSet<Millis>>,
    /// Places of series that come as samples on some shard.
    plain: BTreeSet<usize>,
}

impl Merged {
    /// Puts the answers of all shards together.
    pub(crate) fn of(lists: Vec<Vec<RolledSeries>>) -> Self {
        let mut all: Vec<RolledSeries> = lists.into_iter().flatten().collect();
        all.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
        let mut merged = Self { series: Vec::new(), shared: BTreeMap::new(), plain: BTreeSet::new() };
        for part in all {
            match merged.series.last_mut() {
                Some(last) if last.series.labels == part.series.labels => merged.add(part),
                _ => merged.series.push(part),
            }
        }
        merged
    }

    /// Adds another shard's part of the last series.
    fn add(&mut self, part: RolledSeries) {
        let place = self.series.len().saturating_sub(1);
        let Some(first) = self.series.last_mut() else { return };
        if !first.rolled || !part.rolled {
            self.plain.insert(place);
            return;
        }
        let mut spans: BTreeMap<Millis, (f64, Option<f64>)> = columns(first).collect();
        for (end, value) in columns(&part) {
            match spans.entry(end) {
                Entry::Vacant(vacant) => {
                    vacant.insert(value);
                }
                Entry::Occupied(_) => {
                    self.shared.entry(place).or_default().insert(end);
                }
            }
        }
        first.series.timestamps = spans.keys().copied().collect();
        first.series.values = spans.values().map(|(value, _)| *value).collect();
        first.counts = spans.values().filter_map(|(_, count)| *count).collect();
    }

    /// The samples that are needed to settle the rest; `None` where nothing is left to settle.
    pub(crate) fn unsettled(&self, selection: &Selection, rollup: Rollup) -> Option<Selection> {
        if !self.plain.is_empty() {
            return Some(selection.clone());
        }
        let first = self.shared.values().filter_map(BTreeSet::first).min()?;
        let last = self.shared.values().filter_map(BTreeSet::last).max()?;
        let start = first.saturating_sub(rollup.step).saturating_add(1).max(selection.start);
        Some(Selection { start, end: (*last).min(selection.end), ..selection.clone() })
    }

    /// Settles the rest by samples.
    pub(crate) fn settle(&mut self, samples: Vec<SelectedSeries>, rollup: Rollup) {
        let mut samples: BTreeMap<LabelSet, SelectedSeries> =
            samples.into_iter().map(|series| (series.labels.clone(), series)).collect();
        for place in &self.plain {
            let Some(series) = self.series.get_mut(*place) else { continue };
            if let Some(samples) = samples.remove(&series.series.labels) {
                *series = rollup::roll(samples, rollup);
            }
        }
        for (place, ends) in self.shared.iter().filter(|(place, _)| !self.plain.contains(place)) {
            let Some(series) = self.series.get_mut(*place) else { continue };
            let Some(samples) = samples.remove(&series.series.labels) else { continue };
            let anew = rollup::roll(samples, rollup);
            for (end, (value, count)) in columns(&anew).filter(|(end, _)| ends.contains(end)) {
                let Ok(at) = series.series.timestamps.binary_search(&end) else { continue };
                if let Some(old) = series.series.values.get_mut(at) {
                    *old = value;
                }
                if let (Some(old), Some(count)) = (series.counts.get_mut(at), count) {
                    *old = count;
                }
            }
        }
    }

    /// The series, ordered by labels.
    pub(crate) fn finish(self) -> Vec<RolledSeries> {
        self.series
    }
}

/// Ends of spans, each with its value and, where there are counts, its count.
fn columns(series: &RolledSeries) -> impl Iterator<Item = (Millis, (f64, Option<f64>))> {
    let RolledSeries { series, counts, .. } = series;
    let values = series.timestamps.iter().zip(&series.values).enumerate();
    values.map(|(at, (end, value))| (*end, (*value, counts.get(at).copied())))
}
