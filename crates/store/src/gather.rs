//! Samples from many frames become columns of their series: within the range and the limits, ascending, each
//! timestamp once.

use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{HISTOGRAM_MARKER_BITS, LabelSet, MetricType, Millis, NativeHistogram, SeriesId};
use metricsd_ports::{ErrorKind, PortError, SelectLimits, SelectedSeries, Selection};

use crate::chosen::Chosen;
use crate::column::Column;
use crate::damaged;
use crate::frames::Frame;

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

    /// The same for all samples of a range, whatever their number; for [`Self::into_columns`].
    pub fn unlimited(chosen: Arc<Chosen>, (start, end): (Millis, Millis)) -> Self {
        let limits = SelectLimits { max_series: usize::MAX, max_samples: usize::MAX };
        Self::new(chosen, &Selection { matchers: Vec::new(), start, end, limits })
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
        let column = self.columns.get_mut(index).ok_or_else(unasked)?;
        if column.timestamps.is_empty() {
            self.series += 1;
            if self.series > self.limits.max_series {
                return Err(limit("max_series", self.limits.max_series).into());
            }
        }
        column.push(timestamp, order, value, histogram);
        self.samples += 1;
        if self.samples >= self.compact_at {
            self.compact()?;
        }
        Ok(())
    }

    /// Adds samples of the series at `index` that take the place of those that frames hold at the same time. They must
    /// ascend and lie in the range.
    pub fn extend(&mut self, index: usize, mut samples: Column) -> Result<(), PortError> {
        let column = self.columns.get_mut(index).ok_or_else(unasked)?;
        let added = samples.timestamps.len();
        if added == 0 {
            return Ok(());
        }
        samples.orders.fill(i64::MIN);
        if column.timestamps.is_empty() {
            self.series += 1;
            if self.series > self.limits.max_series {
                return Err(limit("max_series", self.limits.max_series));
            }
            *column = samples;
        } else {
            column.append(samples);
        }
        self.samples += added;
        if self.samples >= self.compact_at { self.compact() } else { Ok(()) }
    }

    /// Adds these columns of frames, each with the place of its series; the frames come in order of time.
    pub fn add_frames(&mut self, frames: &[Arc<Frame>], columns: &[(u32, u32)]) -> Result<(), PortError> {
        if self.are_aligned(frames) {
            return self.add_aligned(frames, columns);
        }
        for frame in frames {
            let order = frame.order();
            for (at, index) in columns {
                let at = *at as usize;
                let (timestamp, value) = frame.sample(at)?;
                self.add::<PortError>(*index as usize, timestamp, order, value, || {
                    frame.histogram(at).cloned().map(Some)
                })?;
            }
        }
        Ok(())
    }

    /// Whether each column of the frames is an ascending run of numbers within the range.
    fn are_aligned(&self, frames: &[Arc<Frame>]) -> bool {
        let within = |time: Millis| time >= self.range.start && time <= self.range.end;
        frames.iter().all(|frame| frame.is_plain() && within(frame.time()))
            && frames.is_sorted_by(|a, b| a.time() < b.time())
    }

    /// A column at a time: what is written lies side by side, and what is read is in the processor's cache from the
    /// column before.
    fn add_aligned(&mut self, frames: &[Arc<Frame>], columns: &[(u32, u32)]) -> Result<(), PortError> {
        let timestamps: Vec<Millis> = frames.iter().map(|frame| frame.time()).collect();
        let orders: Vec<i64> = frames.iter().map(|frame| frame.order()).collect();
        let rows: Vec<&[f64]> = frames.iter().map(|frame| frame.values()).collect();
        let width = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        for (at, index) in columns {
            let at = *at as usize;
            if at >= width {
                return Err(damaged("a frame is shorter than its layout"));
            }
            let column = self.columns.get_mut(*index as usize).ok_or_else(unasked)?;
            if column.timestamps.is_empty() {
                self.series += 1;
                if self.series > self.limits.max_series {
                    return Err(limit("max_series", self.limits.max_series));
                }
            }
            column.timestamps.extend_from_slice(&timestamps);
            column.orders.extend_from_slice(&orders);
            column.values.extend(rows.iter().map(|row| row.get(at).copied().unwrap_or(f64::NAN)));
            self.samples += rows.len();
            if self.samples >= self.compact_at {
                self.compact()?;
            }
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

    /// The samples of each series that has some, by its id.
    pub fn into_columns(mut self) -> Result<Vec<(SeriesId, Column)>, PortError> {
        self.compact()?;
        let columns = self.chosen.found.iter().map(|found| found.id).zip(self.columns);
        Ok(columns.filter(|(_, column)| !column.timestamps.is_empty()).collect())
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

fn unasked() -> PortError {
    damaged("a series that was not asked for")
}

fn limit(name: &str, value: usize) -> PortError {
    // max_series, max_samples: limits.max_query_series, limits.max_query_samples
    let what = name.strip_prefix("max_").unwrap_or(name);
    let message = format!("the selection has more than {value} {what} ({name}; limits.max_query_{what})");
    PortError::new(ErrorKind::Limit, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_be_everything() {
        let range = Range::new(i64::MIN, i64::MAX);
        assert_eq!((range.bucket, range.start), (i64::MIN, i64::MIN));
        assert_eq!(Range::new(3_600_001, 3_600_002).bucket, 3_600_000);
    }
}
