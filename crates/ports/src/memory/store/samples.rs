//! Samples in memory: frames in order of commit, searched from end to end.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{
    Batch, BatchId, FamilyMetadata, Frame, HISTOGRAM_MARKER_BITS, Job, LabelSet, Ledger, Matcher, MetricType,
    Millis, NativeHistogram, Sample, SampleValue, Series, SeriesId,
};

use super::{MemoryStore, State, StoredFrame};
use crate::{
    ErrorKind, IndexStatistics, LatestMetric, OutboxEvent, PortError, Receipt, Retention, SampleSink,
    SampleSource, SelectedSeries, Selection, SeriesExemplars, StoredPush, Unused,
};

#[async_trait]
impl SampleSink for MemoryStore {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        let fenced = self.members.fenced(batches);
        let mut state = self.state.lock();
        let append = |(place, batch): (usize, &Arc<Batch>)| match fenced.contains(&place) {
            true => Receipt::Fenced,
            false => state.append(batch),
        };
        Ok(batches.iter().enumerate().map(append).collect())
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        let asked: HashSet<SeriesId> = ids.iter().copied().collect();
        let state = self.state.lock();
        Ok(state.series.values().map(|series| series.id).filter(|id| asked.contains(id)).collect())
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        let state = self.state.lock();
        let alone = |id: &BatchId| {
            let (_, job) = state.jobs.iter().rev().find(|(batch, _)| batch == id)?;
            Some(StoredPush { id: *id, batch: *id, started: job.created_at })
        };
        Ok(ids.iter().filter_map(|id| state.joined.get(id).copied().or_else(|| alone(id))).collect())
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

impl State {
    pub(super) fn append(&mut self, batch: &Batch) -> Receipt {
        let shared = self.joined.get(&batch.id).is_some_and(|push| push.batch != batch.id);
        if shared || self.batches.contains(&batch.id) {
            return Receipt::Duplicate;
        }
        let stored = |push: BatchId| self.joined.contains_key(&push) || self.batches.contains(&push);
        if batch.joined.iter().any(|push| stored(push.id)) {
            return batch.without(stored).map_or(Receipt::Duplicate, |left| self.append(&left));
        }
        self.batches.insert(batch.id);
        let started = batch.collection.started;
        for push in &batch.joined {
            self.joined.insert(push.id, StoredPush { id: push.id, batch: batch.id, started });
        }
        for frame in &batch.frames {
            for series in &frame.layout.series {
                self.register(series);
            }
            self.frames.push(StoredFrame {
                batch: batch.id,
                target_id: batch.collection.target_id.clone(),
                columns: frame.layout.series.iter().map(|series| series.labels.clone()).collect(),
                frame: frame.clone(),
            });
        }
        self.append_exemplars(batch);
        self.total_samples += batch.collection.ledger.stored;
        self.jobs.push((batch.id, job_of(batch)));
        self.last_seq += 1;
        let event = metricsd_model::MetricsCollected::of(batch);
        self.outbox.insert(self.last_seq, OutboxEvent { seq: self.last_seq, event });
        Receipt::Stored
    }

    /// Notes a series, under another id where its own is taken, and with its newest description.
    pub(super) fn register(&mut self, series: &Arc<Series>) {
        if let Some(known) = self.series.get_mut(&series.labels) {
            // What is not said changes nothing.
            let says =
                series.metric_type != MetricType::Custom || series.help.is_some() || series.unit.is_some();
            if says {
                let Series { metric_type, help, unit, .. } = (**series).clone();
                let (help, unit) = (help.or(known.help.clone()), unit.or(known.unit.clone()));
                *known = Arc::new(Series { metric_type, help, unit, ..(**known).clone() });
                let known = Arc::clone(known);
                self.say_of_family(&known);
            }
            return;
        }
        let mut id = series.id;
        for attempt in 1.. {
            if !self.ids.contains_key(&id) {
                break;
            }
            id = SeriesId::rehashed(&series.labels, attempt);
        }
        self.say_of_family(series);
        self.first_seen.insert(series.labels.clone(), chrono::Utc::now().timestamp_millis());
        self.ids.insert(id, series.labels.clone());
        self.series.insert(series.labels.clone(), Arc::new(Series { id, ..(**series).clone() }));
    }
}

fn job_of(batch: &Batch) -> Job {
    let collection = &batch.collection;
    let reason = collection.reason.map(|reason| format!("{reason}: "));
    let error = collection.error.as_ref().map(|error| format!("{}{error}", reason.unwrap_or_default()));
    Job {
        job_id: batch.id.collection_batch_id(collection.started),
        target_id: collection.target_id.clone(),
        source_id: collection.source_id.clone(),
        collection_method: collection.method,
        status: collection.status,
        metrics_collected: collection.ledger.stored,
        collection_duration_ms: collection.duration_ms,
        error_details: error,
        ledger: Ledger { added: batch.added(), ..collection.ledger.clone() },
        created_at: collection.started,
    }
}

#[async_trait]
impl Retention for MemoryStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        Ok(self.state.lock().remove_before(before, |id| id == target_id))
    }

    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError> {
        Ok(self.state.lock().remove_before(before, |id| !spared.iter().any(|spared| spared == id)))
    }

    async fn remove_unused(&self, before: Millis) -> Result<Unused, PortError> {
        Ok(Unused { series: self.state.lock().remove_unused(before), ..Unused::default() })
    }

    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        Ok(self.state.lock().bound_exemplars(newest))
    }
}

#[async_trait]
impl SampleSource for MemoryStore {
    async fn select(&self, selection: &Selection) -> Result<Vec<SelectedSeries>, PortError> {
        let state = self.state.lock();
        let mut found: BTreeMap<&LabelSet, BTreeMap<Millis, SampleValue>> = BTreeMap::new();
        let mut samples = 0;
        for (labels, held) in &state.segments.series {
            if selection.start > selection.end
                || !selection.matchers.iter().all(|matcher| matcher.matches_labels(labels))
            {
                continue;
            }
            for (timestamp, held) in held.range(selection.start..=selection.end) {
                samples += 1;
                found.entry(labels).or_default().insert(*timestamp, held.value.clone());
            }
            limit("max_series", found.len(), selection.limits.max_series)?;
            limit("max_samples", samples, selection.limits.max_samples)?;
        }
        for stored in &state.frames {
            for (column, labels) in stored.columns.iter().enumerate() {
                let timestamp = stored.frame.timestamp(column);
                let inside = (selection.start..=selection.end).contains(&timestamp);
                if !inside || !selection.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
                    continue;
                }
                let of_series = found.entry(labels).or_default();
                if let Entry::Vacant(vacant) = of_series.entry(timestamp) {
                    samples += 1;
                    vacant.insert(value_at(&stored.frame, column));
                }
            }
            limit("max_series", found.len(), selection.limits.max_series)?;
            limit("max_samples", samples, selection.limits.max_samples)?;
        }
        Ok(found.into_iter().map(|(labels, values)| columns(&state.series[labels], values)).collect())
    }

    async fn series(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<Arc<Series>>, PortError> {
        let state = self.state.lock();
        let matching = state.matching(matchers).take(limit);
        Ok(matching.filter_map(|labels| state.series.get(labels)).cloned().collect())
    }

    async fn label_sets(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<LabelSet>, PortError> {
        let series = self.series(matchers, limit).await?;
        Ok(series.iter().map(|series| series.labels.clone()).collect())
    }

    async fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, PortError> {
        Ok(self.state.lock().label_names(matchers, limit))
    }

    async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        Ok(self.state.lock().label_values(name, matchers, limit))
    }

    async fn exemplars(&self, selection: &Selection) -> Result<Vec<SeriesExemplars>, PortError> {
        self.state.lock().exemplars(selection)
    }

    async fn families(&self, family: Option<&str>, limit: usize) -> Result<Vec<FamilyMetadata>, PortError> {
        Ok(self.state.lock().families(family, limit))
    }

    async fn index_statistics(&self, top: usize) -> Result<IndexStatistics, PortError> {
        Ok(self.state.lock().index_statistics(None, top))
    }

    async fn source_statistics(&self, source: &str, top: usize) -> Result<IndexStatistics, PortError> {
        Ok(self.state.lock().index_statistics(Some(source), top))
    }

    async fn latest(&self, target_id: &str, since: Millis) -> Result<Vec<LatestMetric>, PortError> {
        let state = self.state.lock();
        let of_target =
            |stored: &&StoredFrame| stored.target_id == target_id && Self::is_since(stored, since);
        let newest = state.frames.iter().filter(of_target).max_by_key(|stored| State::end_of(&stored.frame));
        let metric = |(labels, sample)| LatestMetric { series: state.series[labels].clone(), sample };
        if let Some((at, latest)) = state.segments.latest(target_id, since)
            && newest.is_none_or(|stored| State::end_of(&stored.frame) < at)
        {
            return Ok(latest.into_iter().map(metric).collect());
        }
        let Some(newest) = newest.map(|stored| stored.batch) else {
            return Ok(Vec::new());
        };
        let mut latest: BTreeMap<&LabelSet, Sample> = BTreeMap::new();
        for stored in state.frames.iter().filter(|stored| stored.batch == newest) {
            for (column, labels) in stored.columns.iter().enumerate() {
                let timestamp = stored.frame.timestamp(column);
                let value = value_at(&stored.frame, column);
                let newer = latest.get(labels).is_none_or(|sample| sample.timestamp < timestamp);
                if value != SampleValue::Stale && newer {
                    latest.insert(labels, Sample { timestamp, value });
                }
            }
        }
        Ok(latest.into_iter().map(metric).collect())
    }
}

impl MemoryStore {
    fn is_since(stored: &StoredFrame, since: Millis) -> bool {
        State::end_of(&stored.frame) >= since
    }
}

fn limit(name: &str, found: usize, limit: usize) -> Result<(), PortError> {
    if found <= limit {
        return Ok(());
    }
    let what = if name == "max_series" { "series" } else { "samples" };
    Err(PortError::new(ErrorKind::Limit, format!("the selection has more than {limit} {what} ({name})")))
}

pub(super) fn value_at(frame: &Frame, column: usize) -> SampleValue {
    let value = frame.values[column];
    if value.to_bits() != HISTOGRAM_MARKER_BITS {
        return SampleValue::from_float(value);
    }
    let histogram = frame.histograms.iter().find(|(place, _)| *place as usize == column);
    histogram.map_or(SampleValue::Float(value), |(_, histogram)| {
        SampleValue::Histogram(Box::new(histogram.clone()))
    })
}

fn columns(series: &Series, values: BTreeMap<Millis, SampleValue>) -> SelectedSeries {
    let mut selected = SelectedSeries {
        labels: series.labels.clone(),
        metric_type: series.metric_type,
        timestamps: Vec::with_capacity(values.len()),
        values: Vec::with_capacity(values.len()),
        histograms: Vec::new(),
    };
    for (timestamp, value) in values {
        selected.values.push(float_of(value, selected.timestamps.len(), &mut selected.histograms));
        selected.timestamps.push(timestamp);
    }
    selected
}

fn float_of(value: SampleValue, place: usize, histograms: &mut Vec<(usize, NativeHistogram)>) -> f64 {
    match value {
        SampleValue::Float(value) => value,
        SampleValue::Stale => metricsd_model::stale_marker(),
        SampleValue::Histogram(histogram) => {
            histograms.push((place, *histogram));
            f64::from_bits(HISTOGRAM_MARKER_BITS)
        }
    }
}
