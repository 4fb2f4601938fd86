//! One request on its way into a batch.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use metricsd_codec::exposition::MetricKind;
use metricsd_codec::remote_write::{
    ExemplarEntry, HistogramSample, MAX_EXEMPLAR_CHARACTERS, MetadataEntry, Outline, SeriesItem, TimeSeries,
    WriteScanner, outline,
};
use metricsd_model::batch::content_key;
use metricsd_model::{
    Batch, BatchId, Collection, Exemplar, FamilyMetadata, Frame, HealthStatus, JobStatus, LabelSet, Ledger,
    Millis, Protocol, Refusal, Series, SeriesExemplar, TypeCounts, is_stale, stale_marker,
};

use super::cache::{Cursor, Found, FreshSeries, Known, Place, SeriesCache, State};
use super::families::{Described, family_of};
use super::track::{self, Moment, Track};
use super::{PreparedWrite, SeenLists, Unreadable, WriteError, WriteFault, WriteRequest, Written, naming};
use crate::builder::Added;
use crate::validate::{Fault, accepted_times, check_histogram, check_timestamp};
use crate::{Acquaintance, Admission, BatchBuilder, Limits};

/// Faults that an answer describes; all are counted.
const MAX_FAULTS: usize = 100;

/// One request while it is read.
pub(super) struct Intake<'a> {
    cache: &'a SeriesCache,
    lists: &'a SeenLists,
    limits: &'a Limits,
    request: WriteRequest<'a>,
    cursor: Cursor,
    admission: Admission,
    times: RangeInclusive<Millis>,
    fresh: FreshSeries,
    sink: Sink,
}

/// Where samples go, and the account of them.
#[derive(Default)]
struct Sink {
    builder: BatchBuilder,
    exemplars: Vec<SeriesExemplar>,
    types: TypeCounts,
    outcome: Written,
    /// What the body held so far: samples, exemplars, histograms.
    items: usize,
    /// Place of the series that is being read.
    series: usize,
    /// Tells which samples were refused: another selection of the same body is another batch.
    selection: u64,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        cache: &'a SeriesCache,
        lists: &'a SeenLists,
        limits: &'a Limits,
        request: WriteRequest<'a>,
        admission: Admission,
    ) -> Self {
        cache.turn(admission.epoch());
        Self {
            cache,
            lists,
            limits,
            admission,
            cursor: cache.cursor(&request.origin.source_id),
            times: accepted_times(request.received_at, limits),
            request,
            fresh: FreshSeries::default(),
            sink: Sink::default(),
        }
    }

    /// Reads the body to its end.
    pub(super) fn read(mut self) -> Result<PreparedWrite, WriteError> {
        let started = Instant::now();
        let outline = outline(self.request.body, self.limits.max_write_samples)?;
        self.check_count("series", outline.series)?;
        let families = self.note_families(&outline);
        let start = track::start_of(self.cache, self.cursor, self.request.body, outline.series);
        if let Some(track) = start.and_then(|start| self.lists.track(start))
            && let Some(frame) = self.follow(&track)
        {
            return Ok(self.followed(&track, frame, families, started));
        }
        self.sink.builder = BatchBuilder::with_capacity(outline.series);
        let cache = self.cache;
        let known = cache.read();
        let mut scanner = WriteScanner::new(self.request.body);
        while let Some(series) = scanner.next_series()? {
            self.read_series(&series, &known)?;
            self.sink.series += 1;
        }
        let moment = Moment::of(&known);
        drop(known);
        self.cache.remember(moment.version, std::mem::take(&mut self.fresh));
        let (cursor, lists, request) = (self.cursor, self.lists, self.request);
        let mut prepared = self.finish(families, started);
        for frame in prepared.batch.iter_mut().flat_map(|batch| &mut batch.frames) {
            let Some(layout) = lists.recognise(frame) else { continue };
            if let (Some(start), true) = (start, layout.ids.len() == outline.series)
                && let Some(track) = Track::of(cache, cursor, request.body, moment, &layout)
            {
                lists.lay(start, track);
            }
        }
        Ok(prepared)
    }

    /// The request along a track; `None` where it leaves it.
    fn follow(&self, track: &Track) -> Option<Frame> {
        if !track.is_of(Moment::of(&self.cache.read())) {
            return None;
        }
        track.follow(self.cache, self.cursor, self.request.body, &self.times)
    }

    /// A request that was followed along a track.
    fn followed(
        mut self,
        track: &Track,
        frame: Frame,
        families: Vec<FamilyMetadata>,
        started: Instant,
    ) -> PreparedWrite {
        self.sink.types = track.types();
        self.sink.outcome.stored = frame.values.len() as u64;
        self.sink.builder.push_frame(frame);
        self.finish(families, started)
    }

    fn check_count(&self, what: &'static str, count: usize) -> Result<(), WriteError> {
        let limit = self.limits.max_write_samples;
        if count > limit { Err(WriteError::TooLarge { what, limit }) } else { Ok(()) }
    }

    /// What is said of families counts for the series of the same request.
    fn note_families(&self, outline: &Outline<'_>) -> Vec<FamilyMetadata> {
        let read = |entry: &MetadataEntry<'_>| Some((entry.kind, family_of(entry, self.limits)?));
        let said: Vec<(MetricKind, FamilyMetadata)> = outline.metadata.iter().filter_map(read).collect();
        let described: Vec<Described<'_>> =
            said.iter().map(|(kind, family)| Described { kind: *kind, family }).collect();
        self.cache.describe(&self.request.origin.source_id, &described);
        said.into_iter().map(|(_, family)| family).collect()
    }

    #[inline]
    fn read_series(&mut self, series: &TimeSeries<'_>, known: &State) -> Result<(), WriteError> {
        let mut found = self.cache.find(known, &mut self.cursor, series.labels());
        if let Found::Idle(id, place) = found
            && self.has_timely(series)?
        {
            match self.admission.admit(id, Acquaintance::Known) {
                Ok(()) => found = known.used(place),
                Err(reason) => return self.refuse_all(series, &self.admission.fault(reason)),
            }
        }
        match found {
            Found::Known(found) => self.take(found, series),
            Found::Undescribed(found, place) => {
                let found = self.described_anew(found, place, series.labels(), known);
                self.take(Known::from(&found), series)
            }
            Found::Idle(..) | Found::Unknown => match self.named(series, known)? {
                Ok(found) => self.take(Known::from(&found), series),
                Err(fault) => self.refuse_all(series, &fault),
            },
        }
    }

    /// A series that is known, and of whose family something was said since.
    #[cold]
    fn described_anew(
        &mut self,
        found: &Arc<Series>,
        place: Place,
        raw: &[u8],
        known: &State,
    ) -> Arc<Series> {
        let hash = self.cache.hash(self.cursor, raw);
        if let Some(fresh) = self.fresh.get(hash) {
            return fresh.clone();
        }
        match known.families.describe(&self.request.origin.source_id, found) {
            Some(series) => self.note(hash, series),
            None => {
                known.still_described(place);
                found.clone()
            }
        }
    }

    /// A series that is not known yet.
    #[cold]
    fn named(
        &mut self,
        series: &TimeSeries<'_>,
        known: &State,
    ) -> Result<Result<Arc<Series>, Fault>, WriteError> {
        let hash = self.cache.hash(self.cursor, series.labels());
        if let Some(fresh) = self.fresh.get(hash) {
            return Ok(Ok(fresh.clone()));
        }
        let named = match naming::name(series, self.request.origin, self.limits, &known.families.texts)? {
            Ok(named) => named,
            Err(fault) => return Ok(Err(fault)),
        };
        if !self.has_timely(series)? {
            // Not admitted, as nothing of it will be taken: what is refused makes no series active.
            return Ok(Ok(Arc::new(named)));
        }
        if let Err(reason) = self.admission.admit(named.id, Acquaintance::New) {
            return Ok(Err(self.admission.fault(reason)));
        }
        let named = known.families.describe(&self.request.origin.source_id, &named).unwrap_or(named);
        Ok(Ok(self.note(hash, named)))
    }

    /// Whether anything that a series brings is neither too old nor too far ahead.
    fn has_timely(&self, series: &TimeSeries<'_>) -> Result<bool, WriteError> {
        let mut items = series.items();
        while let Some(item) = items.next_item()? {
            let timestamp = match item {
                SeriesItem::Sample { timestamp, .. } => timestamp,
                SeriesItem::Histogram(histogram) => histogram.decode()?.timestamp,
                SeriesItem::Exemplar(exemplar) => exemplar.decode(self.limits.max_labels)?.timestamp,
            };
            if self.times.contains(&timestamp) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps a series for the rest of the request, and for the next.
    fn note(&mut self, hash: u128, series: Series) -> Arc<Series> {
        let series = Arc::new(series);
        self.fresh.note(hash, series.clone());
        series
    }

    /// Takes what a series brings.
    #[inline]
    fn take(&mut self, of: Known<'_>, series: &TimeSeries<'_>) -> Result<(), WriteError> {
        let mut items = series.items();
        while let Some(item) = items.next_item()? {
            self.sink.items += 1;
            match item {
                SeriesItem::Sample { timestamp, value } if self.times.contains(&timestamp) => {
                    let added = self.sink.builder.push_float(of.series, of.id, timestamp, value);
                    if added == Added::New {
                        self.sink.types.add(of.metric_type);
                    } else {
                        self.repeated(series, timestamp, added);
                    }
                }
                SeriesItem::Sample { timestamp, .. } => self.out_of_time(series, timestamp),
                SeriesItem::Histogram(histogram) => {
                    let histogram = histogram.decode()?;
                    self.take_histogram(of.series, series, histogram);
                }
                SeriesItem::Exemplar(exemplar) => {
                    let exemplar = exemplar.decode(self.limits.max_labels)?;
                    self.take_exemplar(of.series, &exemplar);
                }
            }
        }
        self.check_count("samples", self.sink.items)
    }

    fn take_histogram(&mut self, of: &Arc<Series>, series: &TimeSeries<'_>, sample: HistogramSample) {
        let HistogramSample { timestamp, histogram, integer } = sample;
        if !self.times.contains(&timestamp) {
            return self.out_of_time(series, timestamp);
        }
        // The end of a series of histograms is a histogram whose sum is the marker.
        let added = if is_stale(histogram.sum) {
            self.sink.builder.push_float(of, of.id, timestamp, stale_marker())
        } else {
            if let Err(message) = check_histogram(&histogram, integer) {
                let fault = Fault::new(Refusal::InvalidValue, "histogram", message);
                return self.refuse(series, timestamp, &fault);
            }
            self.sink.builder.push_histogram(of, timestamp, histogram.reduce_if_needed())
        };
        if added != Added::Conflicting {
            self.sink.outcome.histograms += 1;
        }
        match added {
            Added::New => self.sink.types.histograms += 1,
            _ => self.repeated(series, timestamp, added),
        }
    }

    fn take_exemplar(&mut self, of: &Arc<Series>, entry: &ExemplarEntry<'_>) {
        let labels = exemplar_labels(entry, self.limits).filter(|_| self.times.contains(&entry.timestamp));
        let Some(labels) = labels else {
            self.sink.outcome.exemplars_dropped += 1;
            return;
        };
        let exemplar = Exemplar { labels, value: entry.value, timestamp: entry.timestamp };
        self.sink.exemplars.push(SeriesExemplar { series: of.clone(), exemplar });
    }

    #[cold]
    fn repeated(&mut self, series: &TimeSeries<'_>, timestamp: Millis, added: Added) {
        if added == Added::Repeated && !refuses_repeats(self.request.origin.protocol) {
            self.sink.outcome.repeated += 1;
            return;
        }
        let message = "the same series has two values at this time in one request; the first is stored";
        self.refuse(series, timestamp, &Fault::new(Refusal::Duplicate, "timestamp", message));
    }

    #[cold]
    fn out_of_time(&mut self, series: &TimeSeries<'_>, timestamp: Millis) {
        if let Err(fault) = check_timestamp(timestamp, self.request.received_at, self.limits) {
            self.refuse(series, timestamp, &fault);
        }
    }

    /// Refuses all that a series brings; it is read all the same, since the body must be whole.
    #[cold]
    fn refuse_all(&mut self, series: &TimeSeries<'_>, fault: &Fault) -> Result<(), WriteError> {
        let mut items = series.items();
        while let Some(item) = items.next_item()? {
            self.sink.items += 1;
            match item {
                SeriesItem::Sample { timestamp, .. } => self.refuse(series, timestamp, fault),
                SeriesItem::Histogram(histogram) => {
                    let HistogramSample { timestamp, .. } = histogram.decode()?;
                    self.refuse(series, timestamp, fault);
                }
                SeriesItem::Exemplar(exemplar) => {
                    exemplar.decode(self.limits.max_labels)?;
                    self.sink.outcome.exemplars_dropped += 1;
                }
            }
        }
        self.check_count("samples", self.sink.items)
    }

    fn refuse(&mut self, series: &TimeSeries<'_>, timestamp: Millis, fault: &Fault) {
        let sink = &mut self.sink;
        *sink.outcome.refused.entry(fault.reason).or_default() += 1;
        // Series are read one after the other: what a series had refused before is the last that was noted.
        let series_place = u32::try_from(sink.series).unwrap_or(u32::MAX);
        if sink.outcome.refused_series.last() != Some(&series_place) {
            sink.outcome.refused_series.push(series_place);
        }
        let place = sink.items as u64;
        sink.selection = crate::hash::fold(sink.selection ^ place, 0x9e37_79b9_7f4a_7c15).max(1);
        if sink.outcome.faults.len() < MAX_FAULTS {
            let shown = naming::shown(series, self.limits);
            let message = format!("{shown} at {timestamp}: {}", fault.message);
            sink.outcome.faults.push(WriteFault {
                series: sink.series,
                reason: fault.reason,
                message,
                problem: fault.message.clone(),
                field: fault.field.clone(),
            });
        }
    }

    fn finish(self, families: Vec<FamilyMetadata>, started: Instant) -> PreparedWrite {
        let Self { request, sink, admission, .. } = self;
        let doubt = admission.in_doubt().then_some(admission);
        let (protocol, caller) = (request.origin.protocol, request.origin.caller.clone());
        let keyed = request.origin.key.is_some();
        let Sink { builder, exemplars, types, mut outcome, mut selection, .. } = sink;
        outcome.stored += builder.len() as u64;
        let unreadable = &request.origin.unreadable;
        if !unreadable.refused.is_empty() {
            // They are not in the body: another body of which other parts read is another batch.
            let known = selection_of(unreadable, (outcome.stored == 0).then_some(request.received_at));
            selection = crate::hash::fold(selection ^ known, 0x9e37_79b9_7f4a_7c15).max(1);
        }
        for (reason, count) in &unreadable.refused {
            *outcome.refused.entry(*reason).or_default() += count;
        }
        let refused: u64 = outcome.refused.values().sum();
        outcome.received = outcome.stored + outcome.repeated + refused;
        if outcome.received == 0 && exemplars.is_empty() && families.is_empty() {
            return PreparedWrite { batch: None, outcome, doubt, protocol, caller, keyed };
        }
        let mut ledger =
            Ledger { received: outcome.received, refused: outcome.refused.clone(), ..Ledger::default() };
        if outcome.repeated > 0 {
            *ledger.refused.entry(Refusal::Duplicate).or_default() += outcome.repeated;
        }
        ledger.stored = outcome.stored;
        let collection = Collection {
            source_id: request.origin.source_id.clone(),
            target_id: request.origin.target_id.clone(),
            method: request.origin.method,
            started: request.received_at,
            duration_ms: started.elapsed().as_secs_f64() * 1e3,
            status: match (outcome.stored, refused) {
                (_, 0) => JobStatus::Completed,
                (0, _) => JobStatus::Failed,
                _ => JobStatus::Partial,
            },
            health: if outcome.stored == 0 && refused > 0 {
                HealthStatus::Unhealthy
            } else {
                HealthStatus::Healthy
            },
            reason: None,
            error: unreadable
                .first
                .clone()
                .or_else(|| outcome.faults.first().map(|fault| fault.message.clone())),
            ledger,
            types,
        };
        let batch = builder.finish(batch_id(&request, selection, outcome.stored), collection);
        PreparedWrite {
            batch: Some(Batch { exemplars, families, protocol: Some(protocol), ..batch }),
            outcome,
            doubt,
            protocol,
            caller,
            keyed,
        }
    }
}

/// Tells apart what could not be read; where nothing was stored, also from what came at other times.
fn selection_of(unreadable: &Unreadable, received_at: Option<Millis>) -> u64 {
    let text = format!("{:?}{:?}{received_at:?}", unreadable.refused, unreadable.first);
    u64::from_le_bytes(*content_key(text.as_bytes()).first_chunk().unwrap_or(&[0; 8]))
}

/// The client's key decides, unless nothing is stored: a corrected repeat under the same key must be. Else the body, and
/// which of its samples were refused: what is too new at first is accepted when it is sent again later, and must be stored then.
fn batch_id(request: &WriteRequest<'_>, selection: u64, stored: u64) -> BatchId {
    if let Some(key) = &request.origin.key
        && stored > 0
    {
        return BatchId::for_push(&request.origin.source_id, key.as_bytes());
    }
    let mut key = content_key(request.body).to_vec();
    if selection != 0 {
        key.extend_from_slice(&selection.to_le_bytes());
    }
    BatchId::for_push(&request.origin.source_id, &key)
}

/// An exemplar's labels; `None` where they are not to be stored.
fn exemplar_labels(entry: &ExemplarEntry<'_>, limits: &Limits) -> Option<LabelSet> {
    if entry.labels.len() > limits.max_labels {
        return None;
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let pairs: Option<Vec<(&str, &str)>> =
        entry.labels.iter().map(|label| Some((text(label.name)?, text(label.value)?))).collect();
    let pairs = pairs?;
    let characters: usize =
        pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    if characters > MAX_EXEMPLAR_CHARACTERS {
        return None;
    }
    LabelSet::new(pairs).ok()
}

/// Whether the same sample twice in one request is a fault, even with the same value: the protocol's contract says so.
fn refuses_repeats(protocol: Protocol) -> bool {
    protocol == Protocol::Custom
}
