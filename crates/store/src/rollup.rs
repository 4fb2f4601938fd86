//! Rolled-up values on their way into a table and out of it again: which days of a question they can answer, and how
//! their spans stand beside spans that are rolled up from samples on the spot.
//!
//! A day of rolled-up values holds the spans that end within it or at its end: samples later than its first moment, up to
//! and including the first moment of the next.

use std::collections::{BTreeMap, BTreeSet};

use metricsd_codec::pack::{PackError, pack_floats, pack_ints, unpack_floats, unpack_ints};
use metricsd_model::{LabelSet, MetricType, Millis};
use metricsd_ports::rollup::{RolledSpan, roll, spans};
use metricsd_ports::{
    ErrorKind, PortError, ROLLUP_STEPS, RolledSeries, Rollup, SelectLimits, SelectedSeries,
};

use crate::compact::DAY;
use crate::damaged;

/// The day whose spans hold a timestamp.
pub fn day_of(timestamp: Millis) -> Millis {
    let before = timestamp.saturating_sub(1);
    before.saturating_sub(before.rem_euclid(DAY))
}

/// First and last timestamp of a day's spans.
pub fn range_of(day: Millis) -> (Millis, Millis) {
    (day.saturating_add(1), day.saturating_add(DAY))
}

/// Where to look for samples after those that begin at `time`, past all days that are rolled up; `Err` tells the first day of
/// those that is not.
pub fn after_rolled(rolled: &BTreeSet<Millis>, time: Millis) -> Result<Millis, Millis> {
    // What stands on the beginning of a day belongs to the day before.
    let days = [day_of(time), day_of(time.saturating_add(1))];
    if let Some(day) = days.into_iter().find(|day| !rolled.contains(day)) {
        return Err(day);
    }
    let mut next = days[1].saturating_add(DAY);
    while rolled.contains(&next) {
        next = next.saturating_add(DAY);
    }
    Ok(next)
}

/// A part of a question's range that is answered in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// From rolled-up values; else from samples.
    pub rolled: bool,
    /// First timestamp.
    pub start: Millis,
    /// Last timestamp.
    pub end: Millis,
}

/// Cuts a range into pieces, in order; `usable` are the days that are rolled up.
pub fn pieces(start: Millis, end: Millis, usable: &BTreeSet<Millis>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = start;
    for day in usable.range(day_of(start)..) {
        let (first, last) = range_of(*day);
        if first > end {
            break;
        }
        let (first, last) = (first.max(start), last.min(end));
        if first > at {
            pieces.push(Piece { rolled: false, start: at, end: first - 1 });
        }
        match pieces.last_mut() {
            Some(piece) if piece.rolled => piece.end = last,
            _ => pieces.push(Piece { rolled: true, start: first, end: last }),
        }
        at = last.saturating_add(1);
    }
    if at <= end {
        pieces.push(Piece { rolled: false, start: at, end });
    }
    pieces
}

/// What one series has in one day, for one length of spans.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledDay {
    /// Milliseconds.
    pub step: Millis,
    /// In order.
    pub spans: Vec<RolledSpan>,
}

/// Rolls up the samples of a day, for each length of spans.
pub fn roll_day(timestamps: &[Millis], values: &[f64]) -> Vec<RolledDay> {
    let of = |step| RolledDay { step, spans: spans(timestamps, values, step) };
    ROLLUP_STEPS.into_iter().map(of).collect()
}

/// Spans as columns, which is how tables keep them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpanColumns {
    /// Which span of the day, counted from 1: it ends so many steps after the day began.
    pub places: Vec<i32>,
    /// The smallest values.
    pub mins: Vec<f64>,
    /// The greatest values.
    pub maxs: Vec<f64>,
    /// Sums.
    pub sums: Vec<f64>,
    /// Samples; negative where a staleness marker came last, less one, so that a marker alone is -1.
    pub counts: Vec<i32>,
    /// The last values.
    pub lasts: Vec<f64>,
}

impl SpanColumns {
    /// The columns of spans of one day.
    pub fn of(day: Millis, rolled: &RolledDay) -> Self {
        let mut columns = Self::default();
        for span in &rolled.spans {
            let place = (span.end.saturating_sub(day)) / rolled.step;
            let count = i32::try_from(span.count).unwrap_or(i32::MAX - 1);
            columns.places.push(i32::try_from(place).unwrap_or(0));
            columns.mins.push(span.min);
            columns.maxs.push(span.max);
            columns.sums.push(span.sum);
            columns.counts.push(if span.ended { -count - 1 } else { count });
            columns.lasts.push(span.last);
        }
        columns
    }

    /// Adds what another has.
    pub fn append(&mut self, other: Self) {
        self.places.extend(other.places);
        self.counts.extend(other.counts);
        self.mins.extend(other.mins);
        self.maxs.extend(other.maxs);
        self.sums.extend(other.sums);
        self.lasts.extend(other.lasts);
    }

    /// The spans again.
    pub fn spans(&self, day: Millis, step: Millis) -> Result<Vec<RolledSpan>, PortError> {
        let rows = self.places.len();
        let floats = [&self.mins, &self.maxs, &self.sums, &self.lasts];
        if floats.iter().any(|column| column.len() != rows) || self.counts.len() != rows {
            return Err(damaged("rolled-up values of different lengths in the database"));
        }
        let span = |row: usize| {
            let count = self.counts[row];
            RolledSpan {
                end: day.saturating_add(i64::from(self.places[row]).saturating_mul(step)),
                min: self.mins[row],
                max: self.maxs[row],
                sum: self.sums[row],
                count: if count < 0 { (-(count + 1)).unsigned_abs() } else { count.unsigned_abs() },
                last: self.lasts[row],
                ended: count < 0,
            }
        };
        Ok((0..rows).map(span).collect())
    }

    /// One blob of all columns: each packed, its length before it as a little-endian `u32`.
    pub fn pack(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        let mut add = |packed: Vec<u8>| {
            blob.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(u32::MAX).to_le_bytes());
            blob.extend_from_slice(&packed);
        };
        add(pack_ints(&self.places));
        add(pack_ints(&self.counts));
        [&self.mins, &self.maxs, &self.sums, &self.lasts].into_iter().for_each(|c| add(pack_floats(c)));
        blob
    }

    /// Reads [`Self::pack`] back.
    pub fn unpack(mut blob: &[u8]) -> Result<Self, PackError> {
        let mut next = || {
            let (length, rest) = blob.split_first_chunk::<4>().ok_or(PackError::Damaged)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (column, rest) = rest.split_at_checked(length).ok_or(PackError::Damaged)?;
            blob = rest;
            Ok(column)
        };
        Ok(Self {
            places: unpack_ints(next()?)?,
            counts: unpack_ints(next()?)?,
            mins: unpack_floats(next()?)?,
            maxs: unpack_floats(next()?)?,
            sums: unpack_floats(next()?)?,
            lasts: unpack_floats(next()?)?,
        })
    }
}

/// Gathers the spans of a selection, piece by piece in order of time.
pub struct GatheredSpans {
    series: BTreeMap<LabelSet, RolledSeries>,
    rollup: Rollup,
    limits: SelectLimits,
    spans: usize,
}

impl GatheredSpans {
    /// Nothing yet.
    pub fn new(rollup: Rollup, limits: SelectLimits) -> Self {
        Self { series: BTreeMap::new(), rollup, limits, spans: 0 }
    }

    /// Adds spans of a series that end within `piece`.
    pub fn add(
        &mut self,
        labels: &LabelSet,
        metric_type: MetricType,
        spans: &[RolledSpan],
        piece: Piece,
    ) -> Result<(), PortError> {
        if !self.series.contains_key(labels) {
            let series = SelectedSeries {
                labels: labels.clone(),
                metric_type,
                timestamps: Vec::new(),
                values: Vec::new(),
                histograms: Vec::new(),
            };
            self.series.insert(labels.clone(), RolledSeries { series, counts: Vec::new(), rolled: true });
        }
        let Some(series) = self.series.get_mut(labels) else { return Ok(()) };
        for span in spans.iter().filter(|span| (piece.start..=piece.end).contains(&span.end)) {
            let before = series.series.timestamps.len();
            series.push(span, self.rollup.value);
            self.spans += series.series.timestamps.len() - before;
        }
        let over = |name: &str, limit: usize| {
            let message = format!("the selection has more than {limit} {name} (limits.max_query_{name})");
            Err(PortError::new(ErrorKind::Limit, message))
        };
        if self.spans > self.limits.max_samples {
            return over("samples", self.limits.max_samples);
        }
        if self.series.len() > self.limits.max_series {
            return over("series", self.limits.max_series);
        }
        Ok(())
    }

    /// Adds what was read as samples; `false` where histograms are among them, so that spans cannot stand for them.
    pub fn add_samples(&mut self, selected: Vec<SelectedSeries>, piece: Piece) -> Result<bool, PortError> {
        for series in selected {
            if !series.histograms.is_empty() {
                return Ok(false);
            }
            let found = spans(&series.timestamps, &series.values, self.rollup.step);
            self.add(&series.labels, series.metric_type, &found, piece)?;
        }
        Ok(true)
    }

    /// The series that have spans, by labels.
    pub fn finish(self) -> Vec<RolledSeries> {
        self.series.into_values().filter(|series| !series.series.timestamps.is_empty()).collect()
    }
}

/// Rolls up what was read as samples altogether.
pub fn roll_all(selected: Vec<SelectedSeries>, rollup: Rollup) -> Vec<RolledSeries> {
    let rolled = selected.into_iter().map(|series| roll(series, rollup));
    rolled.filter(|series| !series.series.timestamps.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::stale_marker;

    #[test]
    fn days_that_are_rolled_up_are_passed_over_at_once() {
        let rolled = BTreeSet::from([-DAY, 0, DAY, 3 * DAY]);
        assert_eq!(after_rolled(&rolled, 0), Ok(2 * DAY), "on the end of a day and the beginning of another");
        assert_eq!(after_rolled(&rolled, 5), Ok(2 * DAY));
        assert_eq!(after_rolled(&rolled, 2 * DAY), Err(2 * DAY), "rolled up as the end of a day only");
        assert_eq!(after_rolled(&rolled, 3 * DAY + 1), Ok(4 * DAY));
        assert_eq!(after_rolled(&rolled, 3 * DAY), Err(2 * DAY));
    }

    #[test]
    fn a_day_holds_its_end_and_not_its_beginning() {
        assert_eq!(day_of(DAY), 0);
        assert_eq!(day_of(DAY + 1), DAY);
        assert_eq!(day_of(0), -DAY);
        assert_eq!(range_of(0), (1, DAY));
    }

    #[test]
    fn ranges_are_cut_where_rolled_days_begin_and_end() {
        let days: BTreeSet<Millis> = [DAY, 2 * DAY, 4 * DAY].into();
        let piece = |rolled, start, end| Piece { rolled, start, end };
        let expected = [
            piece(false, 1, DAY),
            piece(true, DAY + 1, 3 * DAY),
            piece(false, 3 * DAY + 1, 4 * DAY),
            piece(true, 4 * DAY + 1, 5 * DAY),
            piece(false, 5 * DAY + 1, 6 * DAY),
        ];
        assert_eq!(pieces(1, 6 * DAY, &days), expected);
        assert_eq!(pieces(DAY + 5, DAY + 9, &days), [piece(true, DAY + 5, DAY + 9)]);
        assert_eq!(pieces(1, 9, &days), [piece(false, 1, 9)]);
        assert_eq!(pieces(1, 9, &BTreeSet::new()), [piece(false, 1, 9)]);
    }

    #[test]
    fn spans_come_back_from_their_columns() {
        let samples = [(1, 5.0), (2, -0.0), (300_001, f64::NAN), (300_002, stale_marker()), (DAY, 7.0)];
        let (timestamps, values): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
        for rolled in roll_day(&timestamps, &values) {
            let columns = SpanColumns::of(0, &rolled);
            let back = SpanColumns::unpack(&columns.pack()).unwrap();
            let spans = back.spans(0, rolled.step).unwrap();
            assert_eq!(format!("{spans:?}"), format!("{:?}", rolled.spans));
            assert_eq!(spans.last().map(|span| span.end), Some(DAY));
        }
        let minutes = &roll_day(&timestamps, &values)[1];
        assert_eq!(SpanColumns::of(0, minutes).counts, [2, -2, 1]);
        assert!(SpanColumns::unpack(&[9, 0]).is_err());
        let uneven = SpanColumns { places: vec![1], ..SpanColumns::default() };
        assert!(uneven.spans(0, 300_000).is_err());
    }
}
