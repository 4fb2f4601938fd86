//! Samples in any order become frames: one for each hour that they touch.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{
    Batch, BatchId, Collection, Frame, HISTOGRAM_MARKER_BITS, Layout, Millis, NativeHistogram,
    STALE_NAN_BITS, SampleValue, Series, SeriesId,
};

use crate::hash::Keyed;

/// Collects samples for one batch. The frames that it makes carry their series ids with them; a scrape whose columns
/// come again and again brings its own frame instead (see [`BatchBuilder::push_frame`]).
#[derive(Default)]
pub struct BatchBuilder {
    /// In order of first appearance.
    hours: Vec<Columns>,
    by_hour: BTreeMap<i64, usize>,
    /// Where the last sample went, and the next most likely goes.
    current: usize,
    /// Where each sample stands: hour and column.
    seen: HashMap<(SeriesId, Millis), (u32, u32), Keyed>,
    frames: Vec<Frame>,
}

/// The samples of one hour.
struct Columns {
    hour: i64,
    times: Times,
    ids: Vec<SeriesId>,
    series: Vec<Arc<Series>>,
    values: Vec<f64>,
    histograms: Vec<(u32, NativeHistogram)>,
}

/// The timestamps of a frame's samples, all of one hour.
pub(crate) struct Times {
    first: Millis,
    count: usize,
    /// From the start of the hour; absent while all samples are of one time.
    offsets: Option<Vec<i32>>,
}

/// What became of a sample that was given to a [`BatchBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was added.
    New,
    /// The series has the same value at the same time already.
    Repeated,
    /// The series has another value at the same time already.
    Conflicting,
}

impl BatchBuilder {
    /// A builder with room for about so many samples.
    pub fn with_capacity(samples: usize) -> Self {
        let mut builder = Self::default();
        builder.seen.reserve(samples);
        builder
    }

    /// Adds a sample unless the same series has one at the same time already; answers whether it was added.
    pub fn push_unique(&mut self, series: Arc<Series>, timestamp: Millis, value: SampleValue) -> bool {
        let added = match value {
            SampleValue::Float(value) => self.push_float(&series, series.id, timestamp, plain_float(value)),
            SampleValue::Stale => {
                self.push_float(&series, series.id, timestamp, f64::from_bits(STALE_NAN_BITS))
            }
            SampleValue::Histogram(histogram) => self.push_histogram(&series, timestamp, *histogram),
        };
        added == Added::New
    }

    /// Adds a float unless the series has a sample at that time already. Staleness markers are floats here, told by
    /// their bits; [`HISTOGRAM_MARKER_BITS`] is not for floats and becomes an ordinary NaN. `id` is the series' own, for
    /// callers that have it at hand.
    #[inline]
    pub fn push_float(&mut self, series: &Arc<Series>, id: SeriesId, timestamp: Millis, value: f64) -> Added {
        let value = storable(value);
        match self.place(series, id, timestamp) {
            Ok((columns, _)) => {
                columns.values.push(value);
                Added::New
            }
            Err((columns, column)) => {
                same(columns.values.get(column).is_some_and(|stored| stored.to_bits() == value.to_bits()))
            }
        }
    }

    /// Adds a native histogram unless the series has a sample at that time already.
    pub fn push_histogram(
        &mut self,
        series: &Arc<Series>,
        timestamp: Millis,
        histogram: NativeHistogram,
    ) -> Added {
        match self.place(series, series.id, timestamp) {
            Ok((columns, column)) => {
                columns.values.push(f64::from_bits(HISTOGRAM_MARKER_BITS));
                columns.histograms.push((column, histogram));
                Added::New
            }
            Err((columns, column)) => {
                let stored = columns.histograms.binary_search_by_key(&column, |(place, _)| *place as usize);
                same(
                    stored
                        .ok()
                        .and_then(|at| columns.histograms.get(at))
                        .is_some_and(|(_, stored)| *stored == histogram),
                )
            }
        }
    }

    /// Makes a column whose value the caller pushes; or answers the column that the sample has already.
    #[inline]
    fn place(
        &mut self,
        series: &Arc<Series>,
        id: SeriesId,
        timestamp: Millis,
    ) -> Result<(&mut Columns, u32), (&Columns, usize)> {
        let hour = timestamp.div_euclid(FRAME_BUCKET_MILLIS);
        if self.hours.get(self.current).is_none_or(|columns| columns.hour != hour) {
            self.current = self.hour_of(hour, timestamp);
        }
        match self.seen.entry((id, timestamp)) {
            Entry::Occupied(taken) => {
                let (place, column) = *taken.get();
                Err((&self.hours[place as usize], column as usize))
            }
            Entry::Vacant(free) => {
                let columns = &mut self.hours[self.current];
                let column = columns.ids.len() as u32;
                free.insert((self.current as u32, column));
                columns.push(series, id, timestamp);
                Ok((columns, column))
            }
        }
    }

    #[cold]
    fn hour_of(&mut self, hour: i64, timestamp: Millis) -> usize {
        let next = self.hours.len();
        let place = *self.by_hour.entry(hour).or_insert(next);
        if place == next {
            // The first hour most likely holds all that was announced.
            let room = if next == 0 { self.seen.capacity() } else { 0 };
            self.hours.push(Columns::new(hour, timestamp, room));
        }
        place
    }

    /// Adds a frame as it is. Its samples are not compared with those that are added one by one.
    pub fn push_frame(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Samples added one by one.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no sample was added one by one.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The batch.
    pub fn finish(mut self, id: BatchId, collection: Collection) -> Batch {
        self.hours.sort_unstable_by_key(|columns| columns.hour);
        self.frames.extend(self.hours.into_iter().map(Columns::into_frame));
        Batch::new(id, collection, self.frames)
    }
}

fn same(equal: bool) -> Added {
    if equal { Added::Repeated } else { Added::Conflicting }
}

impl Times {
    /// Those of one sample.
    pub(crate) fn new(first: Millis) -> Self {
        Self { first, count: 1, offsets: None }
    }

    /// The time of the first sample.
    #[inline]
    pub(crate) fn first(&self) -> Millis {
        self.first
    }

    /// One more sample of any time within the hour.
    #[inline]
    pub(crate) fn push(&mut self, timestamp: Millis) {
        if timestamp != self.first && self.offsets.is_none() {
            self.offsets = Some(vec![offset_in_hour(self.first); self.count]);
        }
        if let Some(offsets) = &mut self.offsets {
            offsets.push(offset_in_hour(timestamp));
        }
        self.count += 1;
    }

    /// A frame's time, and the offsets from it where there are several times.
    pub(crate) fn finish(mut self) -> (Millis, Option<Vec<i32>>) {
        let mut time = self.first;
        if let Some(offsets) = &mut self.offsets {
            let earliest = offsets.iter().copied().min().unwrap_or_default();
            offsets.iter_mut().for_each(|offset| *offset -= earliest);
            time = self.first - i64::from(offset_in_hour(self.first) - earliest);
        }
        (time, self.offsets)
    }
}

/// What marks a histogram is not for floats.
#[inline]
pub(crate) fn storable(value: f64) -> f64 {
    if value.to_bits() == HISTOGRAM_MARKER_BITS { f64::NAN } else { value }
}

/// Less than an hour, so that it always fits.
fn offset_in_hour(timestamp: Millis) -> i32 {
    timestamp.rem_euclid(FRAME_BUCKET_MILLIS) as i32
}

impl Columns {
    fn new(hour: i64, first: Millis, room: usize) -> Self {
        Self {
            hour,
            times: Times { first, count: 0, offsets: None },
            ids: Vec::with_capacity(room),
            series: Vec::with_capacity(room),
            values: Vec::with_capacity(room),
            histograms: Vec::new(),
        }
    }

    /// All of a column but its value.
    #[inline]
    fn push(&mut self, series: &Arc<Series>, id: SeriesId, timestamp: Millis) {
        self.times.push(timestamp);
        self.ids.push(id);
        self.series.push(series.clone());
    }

    fn into_frame(self) -> Frame {
        let (time, offsets) = self.times.finish();
        let layout = Arc::new(Layout { id: None, ids: self.ids, series: self.series });
        Frame { layout, time, offsets, values: self.values, histograms: self.histograms }
    }
}

/// A sender's NaN must not be taken for one of the markers.
pub fn plain_float(value: f64) -> f64 {
    match value.to_bits() {
        HISTOGRAM_MARKER_BITS | STALE_NAN_BITS => f64::NAN,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{
        CollectionMethod, HealthStatus, JobStatus, LabelSet, Ledger, MetricSource, MetricType, TypeCounts,
    };

    fn series(name: &str) -> Arc<Series> {
        let labels = LabelSet::new([("__name__", name)]).unwrap();
        Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: "".into(),
            help: None,
            unit: None,
        })
    }

    fn collection() -> Collection {
        Collection {
            source_id: "s".into(),
            target_id: String::new(),
            method: CollectionMethod::PushGateway,
            started: 0,
            duration_ms: 0.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger::default(),
            types: TypeCounts::default(),
        }
    }

    #[test]
    fn samples_of_one_time_share_it_and_hours_are_kept_apart() {
        let mut builder = BatchBuilder::default();
        let hour = FRAME_BUCKET_MILLIS;
        assert!(builder.push_unique(series("a"), hour + 5, SampleValue::Float(1.0)));
        assert!(!builder.push_unique(series("a"), hour + 5, SampleValue::Float(2.0)));
        assert!(builder.push_unique(series("b"), hour + 5, SampleValue::Stale));
        assert!(builder.push_unique(series("a"), hour - 1, SampleValue::Float(3.0)));
        assert!(builder.push_unique(series("a"), -1, SampleValue::Float(f64::from_bits(STALE_NAN_BITS))));
        assert!(builder.push_unique(series("b"), -hour, SampleValue::Float(4.0)));
        let batch = builder.finish(BatchId(1), collection());
        let seen: Vec<_> = batch.frames.iter().map(|f| (f.time, f.offsets.clone(), f.values.len())).collect();
        let expected =
            vec![(-hour, Some(vec![hour as i32 - 1, 0]), 2), (hour - 1, None, 1), (hour + 5, None, 2)];
        assert_eq!(seen, expected);
        assert_eq!(batch.frames[2].values[1].to_bits(), STALE_NAN_BITS);
        assert_ne!(batch.frames[0].values[0].to_bits(), STALE_NAN_BITS, "a sender cannot forge a marker");
    }
}
