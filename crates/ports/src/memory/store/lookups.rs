//! Look-ups in memory: everything that is known, looked at one by one.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use metricsd_model::{
    Batch, Exemplar, FamilyMetadata, FamilyType, LabelSet, Matcher, Millis, Series, stated_by,
};

use super::State;
use crate::{ErrorKind, IndexStatistics, PortError, Selection, SeriesExemplars};

/// Different statements that are kept of one family, the newest.
const MAX_STATEMENTS: usize = 32;

/// An exemplar is kept once.
pub(super) type ExemplarKey = (LabelSet, Millis, LabelSet);

/// What is kept of an exemplar beside its key.
pub(super) struct StoredExemplar {
    value: f64,
    target_id: String,
}

/// A statement in the order in which statements are answered.
pub(super) type Statement = (String, &'static str, String, String);

impl State {
    pub(super) fn append_exemplars(&mut self, batch: &Batch) {
        for carried in &batch.exemplars {
            self.register(&carried.series);
            let Exemplar { labels, value, timestamp } = carried.exemplar.clone();
            let target_id = batch.collection.target_id.clone();
            let key = (carried.series.labels.clone(), timestamp, labels);
            self.exemplars.entry(key).or_insert(StoredExemplar { value, target_id });
        }
        for family in &batch.families {
            self.say(family.clone());
        }
    }

    fn say(&mut self, said: FamilyMetadata) {
        let family = said.family.clone();
        self.statements += 1;
        self.families.insert((said.family, said.metric_type.as_str(), said.help, said.unit), self.statements);
        let of_family = || self.families.iter().filter(|(said, _)| said.0 == family);
        if of_family().count() > MAX_STATEMENTS {
            let oldest = of_family().min_by_key(|(_, place)| **place).map(|(said, _)| said.clone());
            oldest.and_then(|oldest| self.families.remove(&oldest));
        }
    }

    /// What a series says of its family, if it says anything.
    pub(super) fn say_of_family(&mut self, series: &Series) {
        if let Some(said) = stated_by(series) {
            self.say(said);
        }
    }

    /// Label sets of the series that match.
    pub(super) fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a LabelSet> {
        self.series.keys().filter(|labels| matchers.iter().all(|matcher| matcher.matches_labels(labels)))
    }

    pub(super) fn label_names(&self, matchers: &[Matcher], limit: usize) -> Vec<String> {
        let pairs = self.matching(matchers).flat_map(LabelSet::iter);
        let names: BTreeSet<&str> = pairs.map(|(name, _)| name).collect();
        names.into_iter().take(limit).map(str::to_owned).collect()
    }

    pub(super) fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Vec<String> {
        let values: BTreeSet<&str> = self.matching(matchers).filter_map(|labels| labels.get(name)).collect();
        values.into_iter().take(limit).map(str::to_owned).collect()
    }

    pub(super) fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        let mut found: Vec<SeriesExemplars> = Vec::new();
        let mut room = selection.limits.max_samples;
        for ((series, timestamp, labels), stored) in &self.exemplars {
            let inside = (selection.start..=selection.end).contains(timestamp);
            if !inside || !selection.matchers.iter().all(|matcher| matcher.matches_labels(series)) {
                continue;
            }
            room = room.checked_sub(1).ok_or_else(|| {
                let limit = selection.limits.max_samples;
                PortError::new(
                    ErrorKind::Limit,
                    format!("the selection has more than {limit} exemplars (max_samples)"),
                )
            })?;
            let exemplar = Exemplar { labels: labels.clone(), value: stored.value, timestamp: *timestamp };
            match found.last_mut().filter(|last| last.labels == *series) {
                Some(last) => last.exemplars.push(exemplar),
                None => found.push(SeriesExemplars { labels: series.clone(), exemplars: vec![exemplar] }),
            }
        }
        Ok(found)
    }

    pub(super) fn families(&self, family: Option<&str>, limit: usize) -> Vec<FamilyMetadata> {
        let wanted = self.families.keys().filter(|said| family.is_none_or(|family| said.0 == family));
        let mut names = BTreeSet::new();
        let first = wanted.take_while(|said| {
            names.insert(said.0.as_str());
            names.len() <= limit
        });
        let read = |(family, metric_type, help, unit): &Statement| FamilyMetadata {
            family: family.clone(),
            metric_type: FamilyType::from_name(metric_type).unwrap_or_default(),
            help: help.clone(),
            unit: unit.clone(),
        };
        first.map(read).collect()
    }

    /// Of all series, or of those that one source sent first.
    pub(super) fn index_statistics(&self, source: Option<&str>, top: usize) -> IndexStatistics {
        let meant = |series: &&Arc<Series>| source.is_none_or(|source| *series.source == *source);
        let meant: Vec<&Arc<Series>> = self.series.values().filter(meant).collect();
        let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
        meant.iter().for_each(|series| *by_source.entry(&series.source).or_default() += 1);
        let mut by_name: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for (name, value) in meant.iter().flat_map(|series| series.labels.iter()) {
            *by_name.entry(name).or_default().entry(value).or_default() += 1;
        }
        let cut = |mut list: Vec<(String, usize)>| {
            list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            list.truncate(top);
            list
        };
        let of_names = |count: fn(&BTreeMap<&str, usize>) -> usize| {
            cut(by_name.iter().map(|(name, values)| ((*name).to_owned(), count(values))).collect())
        };
        let metrics = by_name.get(metricsd_model::METRIC_NAME).into_iter().flatten();
        let pairs = by_name.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, count)| (format!("{name}={value}"), *count))
        });
        IndexStatistics {
            series: meant.len(),
            label_pairs: by_name.values().map(BTreeMap::len).sum(),
            series_by_metric: cut(metrics.map(|(name, count)| ((*name).to_owned(), *count)).collect()),
            values_by_label: of_names(|values| values.len()),
            bytes_by_label: of_names(|values| values.iter().map(|(value, count)| value.len() * count).sum()),
            series_by_pair: cut(pairs.collect()),
            series_by_source: cut(by_source.into_iter().map(|(id, count)| (id.to_owned(), count)).collect()),
        }
    }

    /// Removes frames and exemplars that are old as a whole; answers how many.
    pub(super) fn remove_before(&mut self, before: Millis, is_meant: impl Fn(&str) -> bool) -> u64 {
        let held = self.frames.len() + self.exemplars.len();
        self.frames.retain(|stored| !is_meant(&stored.target_id) || Self::end_of(&stored.frame) >= before);
        self.exemplars.retain(|(_, at, _), stored| !is_meant(&stored.target_id) || *at >= before);
        let removed = held - self.frames.len() - self.exemplars.len();
        removed as u64 + self.segments.remove_before(before, is_meant)
    }

    /// Removes series without samples and exemplars; answers how many.
    pub(super) fn remove_unused(&mut self, before: Millis) -> u64 {
        let held = self.series.len();
        let mut used: BTreeSet<&LabelSet> = self.frames.iter().flat_map(|stored| &stored.columns).collect();
        used.extend(self.exemplars.keys().map(|(labels, ..)| labels));
        let held_longer = self.segments.series.iter().filter(|(_, samples)| !samples.is_empty());
        used.extend(held_longer.map(|(labels, _)| labels));
        let first_seen = &self.first_seen;
        let is_new = |labels: &LabelSet| first_seen.get(labels).is_some_and(|seen| *seen >= before);
        self.series.retain(|labels, _| used.contains(labels) || is_new(labels));
        let series = &self.series;
        self.ids.retain(|_, labels| series.contains_key(labels));
        self.first_seen.retain(|labels, _| series.contains_key(labels));
        (held - self.series.len()) as u64
    }

    /// Removes exemplars beyond the newest; answers how many.
    pub(super) fn bound_exemplars(&mut self, newest: u64) -> u64 {
        let beyond = self.exemplars.len().saturating_sub(usize::try_from(newest).unwrap_or(usize::MAX));
        let mut by_time: Vec<ExemplarKey> = self.exemplars.keys().cloned().collect();
        by_time.sort_by_key(|(_, at, _)| *at);
        for key in by_time.iter().take(beyond) {
            self.exemplars.remove(key);
        }
        beyond as u64
    }
}
