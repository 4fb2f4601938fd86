//! All series that are added up, in bounded memory.

use std::collections::{HashMap, HashSet};

use metricsd_codec::line_names::Mapped;
use metricsd_codec::remote_write::{BodyWriter, label_bytes};
use metricsd_codec::statsd::{Kind, Metric};
use metricsd_model::{METRIC_NAME, Millis};

use super::StatsdOptions;
use super::series::Series;
use crate::metrics::Dropped;

/// Bytes of samples with times of their own that may wait for the next flush.
const MAX_TIMED: usize = 4 << 20;

/// What an entry of the tables takes beside its key and its series, about.
const ENTRY: usize = 96;

/// Lines as they are written that are known by heart, for each series that there may be.
const SPELLINGS: usize = 4;

/// See the module.
pub(super) struct Table {
    options: StatsdOptions,
    series: HashMap<u64, Series>,
    next: u64,
    /// By all labels, the name first.
    by_labels: HashMap<Box<[u8]>, u64>,
    /// By what stands in lines: type, name and tags.
    by_spelling: HashMap<Box<[u8]>, u64>,
    /// What the series and the tables take, about.
    bytes: usize,
    /// Samples that have times of their own.
    timed: BodyWriter,
    scratch: Vec<u8>,
}

impl Table {
    pub(super) fn new(options: StatsdOptions) -> Self {
        Self {
            options,
            series: HashMap::new(),
            next: 0,
            by_labels: HashMap::new(),
            by_spelling: HashMap::new(),
            bytes: 0,
            timed: BodyWriter::new(),
            scratch: Vec::new(),
        }
    }

    /// How many series there are, and what they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.series.len(), self.bytes)
    }

    /// Adds a line's values.
    pub(super) fn add(&mut self, metric: &Metric<'_>, now: Millis) -> Result<(), Dropped> {
        let id = self.id_of(metric, now)?;
        let too_much = self.bytes > self.options.max_bytes;
        let Some(series) = self.series.get_mut(&id) else { return Err(Dropped::Series) };
        if !series.is(metric.kind) {
            return Err(Dropped::OtherType);
        }
        if too_much && !matches!(metric.kind, Kind::Counter | Kind::Gauge) {
            return Err(Dropped::Series);
        }
        series.heard = now;
        let before = series.bytes();
        let mut outcome = Ok(());
        for value in metric.values() {
            let added =
                value.map_err(|_| Dropped::Malformed).and_then(|v| series.add(v, metric.kind, metric.rate));
            outcome = outcome.and(added);
        }
        self.bytes += series.bytes().saturating_sub(before);
        if let Some(at) = metric.timestamp.and_then(|seconds| seconds.checked_mul(1_000))
            && self.timed.len() < MAX_TIMED
        {
            series.write_at(at, &mut self.timed);
        }
        outcome
    }

    fn id_of(&mut self, metric: &Metric<'_>, now: Millis) -> Result<u64, Dropped> {
        self.scratch.clear();
        self.scratch.push(metric.kind as u8);
        self.scratch.extend_from_slice(metric.name.as_bytes());
        self.scratch.push(b'|');
        self.scratch.extend_from_slice(metric.raw_tags.as_bytes());
        if let Some(id) = self.by_spelling.get(self.scratch.as_slice()) {
            return Ok(*id);
        }
        let id = self.id_by_labels(metric, now)?;
        let most = self.options.max_series.saturating_mul(SPELLINGS);
        if self.by_spelling.len() < most && self.bytes <= self.options.max_bytes {
            self.bytes += self.scratch.len() + ENTRY;
            self.by_spelling.insert(self.scratch.as_slice().into(), id);
        }
        Ok(id)
    }

    fn id_by_labels(&mut self, metric: &Metric<'_>, now: Millis) -> Result<u64, Dropped> {
        let (name, labels) = self.labels_of(metric)?;
        let bytes = label_bytes(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut key = label_bytes([(METRIC_NAME, name.as_str())]);
        key.extend_from_slice(&bytes);
        if let Some(id) = self.by_labels.get(key.as_slice()) {
            return Ok(*id);
        }
        if self.series.len() >= self.options.max_series || self.bytes > self.options.max_bytes {
            return Err(Dropped::Series);
        }
        let series = Series::new(&name, bytes, metric.kind, self.options.timers, now);
        self.bytes += series.bytes() + key.len() + ENTRY;
        self.next += 1;
        self.series.insert(self.next, series);
        self.by_labels.insert(key.into(), self.next);
        Ok(self.next)
    }

    /// Name and labels, in order and each once: of tags of one name the last counts, a rule's go before, the listener's
    /// own give way.
    fn labels_of(&self, metric: &Metric<'_>) -> Result<(String, Vec<(String, String)>), Dropped> {
        let (names, mut name) = (self.options.names, String::new());
        let (path, ruled) = match self.options.rules.apply(metric.name) {
            Mapped::Dropped => return Err(Dropped::Rule),
            Mapped::Unmatched => (None, Vec::new()),
            Mapped::Named { name, labels } => (name, labels),
        };
        names.push_metric(&mut name, path.as_deref().unwrap_or(metric.name));
        let mut labels: HashMap<String, String> = self.options.labels.iter().cloned().collect();
        for (tag, value) in metric.tags() {
            let mut label = String::new();
            names.push_label(&mut label, tag);
            labels.insert(label, value.to_owned());
        }
        labels.extend(ruled);
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_unstable();
        Ok((name, labels))
    }

    /// Writes all that there is, and ends series of which nothing was heard for too long.
    pub(super) fn flush(&mut self, now: Millis) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.timed);
        let expire = i64::try_from(self.options.expire_after.as_millis()).unwrap_or(i64::MAX);
        let (mut described, mut ended) = (HashSet::new(), HashSet::new());
        let mut ids: Vec<u64> = self.series.keys().copied().collect();
        // One list of series every time is known by heart further on.
        ids.sort_unstable();
        for id in ids {
            let Some(series) = self.series.get_mut(&id) else { continue };
            if described.insert(series.name.clone()) {
                body.metadata(series.kind(), &series.name, "", "");
            }
            if expire > 0 && now - series.heard >= expire {
                series.end(now, &mut body);
                ended.insert(id);
            } else {
                series.flush(now, &mut body);
            }
        }
        if !ended.is_empty() {
            self.series.retain(|id, _| !ended.contains(id));
            self.by_labels.retain(|_, id| !ended.contains(id));
            self.by_spelling.retain(|_, id| !ended.contains(id));
        }
        self.bytes = self.measure();
        body.into_bytes()
    }

    #[cfg(test)]
    pub(super) fn measure_for_tests(&self) -> usize {
        self.measure()
    }

    fn measure(&self) -> usize {
        let keys = self.by_labels.keys().chain(self.by_spelling.keys());
        keys.map(|key| key.len() + ENTRY).sum::<usize>()
            + self.series.values().map(Series::bytes).sum::<usize>()
    }
}
