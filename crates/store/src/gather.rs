//! Samples from many frames become columns of their series: within the range and the limits, ascending, each
//! timestamp once.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{HISTOGRAM_MARKER_BITS, LabelSet, MetricType, Millis, NativeHistogram, SeriesId};
use metricsd_ports::{ErrorKind, PortError, SelectLimits, SelectedSeries, Selection};

use crate::chosen::Chosen;
use crate::damaged;

/// A series that matches.
#[derive(Debug, Clone)]
pub struct Found {
    /// The id that it has in the database.
    pub id: SeriesId,
    /// Identity.
    pub labels: LabelSet,
    /// Declared type.
    pub metric_type: MetricType,
}

/// Bounds on the time of frames.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Beginning of the hour of `start`: a frame whose samples differ in time may begin so early.
    pub bucket: Millis,
    /// First timestamp, inclusive.
    pub start: Millis,
    /// Last timestamp, inclusive.
    pub end: Millis,
}

impl Range {
    /// The range of a selection.
    pub fn new(start: Millis, end: Millis) -> Self {
        let bucket = start.saturating_sub(start.rem_euclid(FRAME_BUCKET_MILLIS));
        Self { bucket, start, end }
    }
}

/// Samples of one series in the order in which they were read.
#[derive(Default)]
struct Column {
    timestamps: Vec<Millis>,
    orders: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<(usize, NativeHistogram)>,
}

/// Collects samples.
pub struct Gather {
    chosen: Arc<Chosen>,
    columns: Vec<Column>,
    range: Range,
    limits: SelectLimits,
    /// Series with samples.
    series: usize,
    /// Samples held, those that several batches brought counted for each.
    samples: usize,
    /// Where repeated samples are thrown out, to see whether the limit is really passed.
    compact_at: usize,
}

impl Gather {
    /// Nothing yet of these series.
    pub fn new(chosen: Arc<Chosen>, selection: &Selection) -> Self {
        Self {
            columns: chosen.found.iter().map(|_| Column::default()).collect(),
            chosen,
            range: Range::new(selection.start, selection.end),
            limits: selection.limits,
            series: 0,
            samples: 0,
            compact_at: selection.limits.max_samples.saturating_add(1),
        }
    }

    /// The range of the selection.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Adds a sample of the series at `index`, if it lies in the range. Of two with one timestamp the smaller `order`
    /// stays.
    pub fn add<E: From<PortError>>(
        &mut self,
        index: usize,
        timestamp: Millis,
        order: i64,
        value: f64,
        histogram: impl FnOnce() -> Result<Option<NativeHistogram>, E>,
    ) -> Result<(), E> {
        if timestamp < self.range.start || timestamp > self.range.end {
            return Ok(());
        }
        // Nearly all samples are floats, and a histogram is large to hand around.
        let histogram = if value.to_bits() == HISTOGRAM_MARKER_BITS { histogram()? } else { None };
        let column = self.columns.get_mut(index).ok_or_else(|| damaged("a series that was not asked for"))?;
        if column.timestamps.is_empty() {
            self.series += 1;
            if self.series > self.limits.max_series {
                return Err(limit("max_series", self.limits.max_series).into());
            }
            column.reserve();
        }
        if let Some(histogram) = histogram {
            column.histograms.push((column.timestamps.len(), histogram));
        }
        column.timestamps.push(timestamp);
        column.orders.push(order);
        column.values.push(value);
        self.samples += 1;
        if self.samples >= self.compact_at {
            self.compact()?;
        }
        Ok(())
    }

    /// Throws out repeated samples; what stays is counted against the limit.
    fn compact(&mut self) -> Result<(), PortError> {
        let max_samples = self.limits.max_samples;
        self.columns.iter_mut().for_each(Column::compact);
        self.samples = self.columns.iter().map(|column| column.timestamps.len()).sum();
        if self.samples > max_samples {
            return Err(limit("max_samples", max_samples));
        }
        // Half as much again before the next look, so that looking stays cheap.
        self.compact_at = max_samples.saturating_add(max_samples / 2).saturating_add(1);
        Ok(())
    }

    /// The series that have samples, by labels, as they were chosen.
    pub fn finish(mut self) -> Result<Vec<SelectedSeries>, PortError> {
        self.compact()?;
        let columns = self.chosen.found.iter().zip(self.columns);
        let selected = columns
            .filter(|(_, column)| !column.timestamps.is_empty())
            .map(|(found, column)| SelectedSeries {
                labels: found.labels.clone(),
                metric_type: found.metric_type,
                timestamps: column.timestamps,
                values: column.values,
                histograms: column.histograms,
            })
            .collect();
        Ok(selected)
    }
}

fn limit(name: &str, value: usize) -> PortError {
    // max_series, max_samples: limits.max_query_series, limits.max_query_samples
    let what = name.strip_prefix("max_").unwrap_or(name);
    let message = format!("the selection has more than {value} {what} ({name}; limits.max_query_{what})");
    PortError::new(ErrorKind::Limit, message)
}

/// Samples that a column has room for from its first one on.
const FIRST_ROOM: usize = 16;

impl Column {
    fn reserve(&mut self) {
        self.timestamps.reserve(FIRST_ROOM);
        self.orders.reserve(FIRST_ROOM);
        self.values.reserve(FIRST_ROOM);
    }

    /// Ascending, each timestamp once. Frames mostly come in order of time, and then there is nothing to do.
    fn compact(&mut self) {
        if self.timestamps.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut places: Vec<usize> = (0..self.timestamps.len()).collect();
        places.sort_unstable_by_key(|place| (self.timestamps[*place], self.orders[*place], *place));
        places.dedup_by_key(|place| self.timestamps[*place]);
        let mut histograms: HashMap<usize, NativeHistogram> = self.histograms.drain(..).collect();
        let kept = places.iter().enumerate();
        self.histograms = kept.filter_map(|(now, place)| Some((now, histograms.remove(place)?))).collect();
        self.timestamps = places.iter().map(|place| self.timestamps[*place]).collect();
        self.orders = places.iter().map(|place| self.orders[*place]).collect();
        self.values = places.iter().map(|place| self.values[*place]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_timestamp_wins_and_histograms_keep_their_place() {
        let histogram = |count| NativeHistogram { count, ..NativeHistogram::default() };
        let mut column = Column {
            timestamps: vec![9, 3, 9, 6],
            orders: vec![2, 5, 1, 1],
            values: vec![0.9, 0.3, 0.99, 0.6],
            histograms: vec![(0, histogram(1.0)), (2, histogram(2.0)), (3, histogram(3.0))],
        };
        column.compact();
        assert_eq!(column.timestamps, [3, 6, 9]);
        assert_eq!(column.values, [0.3, 0.6, 0.99]);
        assert_eq!(column.histograms, [(1, histogram(3.0)), (2, histogram(2.0))]);
    }

    #[test]
    fn a_range_may_be_everything() {
        let range = Range::new(i64::MIN, i64::MAX);
        assert_eq!((range.bucket, range.start), (i64::MIN, i64::MIN));
        assert_eq!(Range::new(3_600_001, 3_600_002).bucket, 3_600_000);
    }
}
