//! Samples rolled up: one value for each span of five minutes, or of an hour, instead of every sample.
//!
//! Spans are open at their beginning and closed at their end, as the windows of range selectors are, so that a window
//! whose ends lie on the ends of spans holds exactly the samples of its spans.

use async_trait::async_trait;
use metricsd_model::{Millis, Sum, is_stale};

use crate::{PortError, SelectedSeries};

/// Lengths of spans in milliseconds, the longest first.
pub const ROLLUP_STEPS: [Millis; 2] = [3_600_000, 300_000];

/// What a span's samples are rolled up to. Staleness markers count for [`Self::Newest`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RollupValue {
    /// The smallest value; a NaN only where all are.
    Min,
    /// The greatest value; a NaN only where all are.
    Max,
    /// The sum of the values.
    Sum,
    /// How many samples there are.
    Count,
    /// The sum, with the count beside it.
    Average,
    /// The last value.
    Last,
    /// The last value, or the staleness marker where that came last.
    Newest,
}

/// Which values a selection wants instead of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rollup {
    /// Length of the spans: one of [`ROLLUP_STEPS`].
    pub step: Millis,
    /// What of each.
    pub value: RollupValue,
}

impl Rollup {
    /// The end of the span that a timestamp falls into.
    pub fn end_of(self, timestamp: Millis) -> Millis {
        let begun = timestamp.saturating_sub(1).div_euclid(self.step);
        begun.saturating_add(1).saturating_mul(self.step)
    }
}

/// A series as [`crate::SampleSource::select_rolled`] answers it.
#[derive(Debug, Clone)]
pub struct RolledSeries {
    /// One value a span, at the span's end; or samples, see `rolled`.
    pub series: SelectedSeries,
    /// How many samples each value stands for; only of [`RollupValue::Average`].
    pub counts: Vec<f64>,
    /// Whether these are values of spans. A series with native histograms comes as it is.
    pub rolled: bool,
}

/// All that is known of one span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolledSpan {
    /// When it ends.
    pub end: Millis,
    /// See [`RollupValue`].
    pub min: f64,
    /// See [`RollupValue`].
    pub max: f64,
    /// See [`RollupValue`].
    pub sum: f64,
    /// Samples that are not staleness markers; where there are none, `ended` is set and the values are 0.
    pub count: u32,
    /// See [`RollupValue`].
    pub last: f64,
    /// A staleness marker came last.
    pub ended: bool,
}

impl RolledSpan {
    /// What a selection wants of it.
    pub fn value(&self, value: RollupValue) -> Option<f64> {
        if value == RollupValue::Newest && self.ended {
            return Some(metricsd_model::stale_marker());
        }
        let found = match value {
            RollupValue::Min => self.min,
            RollupValue::Max => self.max,
            RollupValue::Sum | RollupValue::Average => self.sum,
            RollupValue::Count => f64::from(self.count),
            RollupValue::Last | RollupValue::Newest => self.last,
        };
        (self.count > 0).then_some(found)
    }
}

/// A span while its samples are taken in.
struct Open {
    span: RolledSpan,
    sum: Sum,
}

impl Open {
    fn new(end: Millis) -> Self {
        let span = RolledSpan { end, min: 0.0, max: 0.0, sum: 0.0, count: 0, last: 0.0, ended: false };
        Self { span, sum: Sum::default() }
    }

    fn add(&mut self, value: f64) {
        let span = &mut self.span;
        span.ended = is_stale(value);
        if span.ended {
            return;
        }
        if span.count == 0 || value < span.min || span.min.is_nan() {
            span.min = value;
        }
        if span.count == 0 || value > span.max || span.max.is_nan() {
            span.max = value;
        }
        self.sum.add(value);
        span.count = span.count.saturating_add(1);
        span.last = value;
    }

    fn close(self) -> RolledSpan {
        RolledSpan { sum: self.sum.value(), ..self.span }
    }
}

/// The spans of one series without native histograms, in order; `timestamps` ascend, one value each.
pub fn spans(timestamps: &[Millis], values: &[f64], step: Millis) -> Vec<RolledSpan> {
    let rollup = Rollup { step, value: RollupValue::Newest };
    let mut spans = Vec::new();
    let mut open: Option<Open> = None;
    for (timestamp, value) in timestamps.iter().zip(values) {
        let end = rollup.end_of(*timestamp);
        if open.as_ref().is_none_or(|open| open.span.end != end) {
            spans.extend(open.replace(Open::new(end)).map(Open::close));
        }
        if let Some(open) = &mut open {
            open.add(*value);
        }
    }
    spans.extend(open.map(Open::close));
    spans
}

/// Rolls up what was read as samples.
pub fn roll(series: SelectedSeries, rollup: Rollup) -> RolledSeries {
    if !series.histograms.is_empty() {
        return RolledSeries { series, counts: Vec::new(), rolled: false };
    }
    let spans = spans(&series.timestamps, &series.values, rollup.step);
    let mut rolled = RolledSeries {
        series: SelectedSeries { timestamps: Vec::new(), values: Vec::new(), ..series },
        counts: Vec::new(),
        rolled: true,
    };
    spans.iter().for_each(|span| rolled.push(span, rollup.value));
    rolled
}

impl RolledSeries {
    /// Adds what is wanted of a span; spans come in order.
    pub fn push(&mut self, span: &RolledSpan, value: RollupValue) {
        let Some(found) = span.value(value) else { return };
        self.series.timestamps.push(span.end);
        self.series.values.push(found);
        if value == RollupValue::Average {
            self.counts.push(f64::from(span.count));
        }
    }
}

/// What is rolled up, and how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollupPolicy {
    /// Days that ended at or before this are rolled up.
    pub before: Millis,
    /// Values of five minutes older than this are removed; `None`: never.
    pub keep_minutes_after: Option<Millis>,
    /// Values of an hour older than this are removed; `None`: never.
    pub keep_hours_after: Option<Millis>,
    /// Samples held in memory at once.
    pub max_samples: usize,
}

/// What one call did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Series' days that were rolled up.
    pub written: u64,
    /// Series' days, or pieces of storage with many of them, that were removed.
    pub removed: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

/// Rolls samples up day by day, so that questions about long times are answered from few values, also when the samples
/// are gone.
#[async_trait]
pub trait Rollups: Send + Sync + 'static {
    /// Does one bounded piece of the work. A day (UTC; its spans end within it or at its end) is used by readers from
    /// the moment at which all of its series are rolled up; late samples of a day have it rolled up anew, for as long as
    /// its samples are there. Killed at any point, nothing is lost. One process does it at a time.
    async fn roll_up(&self, policy: &RollupPolicy) -> Result<RolledUp, PortError>;

    /// `before`, or where a day that has older samples is not rolled up, the time at which the first such day begins. Samples
    /// before that may be removed without a value being lost.
    async fn rolled_until(&self, before: Millis) -> Result<Millis, PortError>;
}

/// What a database has done to its samples besides taking and removing them.
pub trait Upkeep: crate::Compaction + Rollups {}

impl<T: crate::Compaction + Rollups> Upkeep for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{LabelSet, MetricType, NativeHistogram, stale_marker};

    fn series(samples: &[(Millis, f64)]) -> SelectedSeries {
        SelectedSeries {
            labels: LabelSet::default(),
            metric_type: MetricType::Gauge,
            timestamps: samples.iter().map(|(at, _)| *at).collect(),
            values: samples.iter().map(|(_, value)| *value).collect(),
            histograms: Vec::new(),
        }
    }

    fn rolled(samples: &[(Millis, f64)], value: RollupValue) -> Vec<(Millis, f64)> {
        let rolled = roll(series(samples), Rollup { step: 300_000, value });
        assert!(rolled.rolled);
        rolled.series.timestamps.into_iter().zip(rolled.series.values).collect()
    }

    #[test]
    fn spans_hold_their_end_and_not_their_beginning() {
        let samples = [(-1, 1.0), (0, 2.0), (1, 4.0), (300_000, 8.0), (300_001, 16.0)];
        assert_eq!(rolled(&samples, RollupValue::Sum), [(0, 3.0), (300_000, 12.0), (600_000, 16.0)]);
        assert_eq!(rolled(&samples, RollupValue::Count), [(0, 2.0), (300_000, 2.0), (600_000, 1.0)]);
        assert_eq!(rolled(&samples, RollupValue::Last), [(0, 2.0), (300_000, 8.0), (600_000, 16.0)]);
        assert_eq!(rolled(&samples, RollupValue::Min)[1], (300_000, 4.0));
        assert_eq!(rolled(&samples, RollupValue::Max)[1], (300_000, 8.0));
    }

    #[test]
    fn markers_end_series_and_nothing_else() {
        let samples = [(1, 5.0), (2, stale_marker()), (300_001, stale_marker())];
        assert_eq!(rolled(&samples, RollupValue::Count), [(300_000, 1.0)]);
        assert_eq!(rolled(&samples, RollupValue::Last), [(300_000, 5.0)]);
        let newest = rolled(&samples, RollupValue::Newest);
        assert_eq!(newest.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [300_000, 600_000]);
        assert!(newest.iter().all(|(_, value)| is_stale(*value)));
        let back = [(1, stale_marker()), (2, 7.0)];
        assert_eq!(rolled(&back, RollupValue::Newest), [(300_000, 7.0)]);
    }

    #[test]
    fn a_nan_yields_to_every_number() {
        let samples = [(1, f64::NAN), (2, 3.0), (3, f64::NAN)];
        assert_eq!(rolled(&samples, RollupValue::Min), [(300_000, 3.0)]);
        assert_eq!(rolled(&samples, RollupValue::Max), [(300_000, 3.0)]);
        assert!(rolled(&samples[..1], RollupValue::Max)[0].1.is_nan());
    }

    #[test]
    fn averages_bring_their_counts_and_histograms_stay() {
        let average = Rollup { step: 300_000, value: RollupValue::Average };
        let found = roll(series(&[(1, 1.0), (2, 4.0), (300_001, 9.0)]), average);
        assert_eq!((found.series.values, found.counts), (vec![5.0, 9.0], vec![2.0, 1.0]));
        let mut mixed = series(&[(1, 1.0)]);
        mixed.histograms.push((0, NativeHistogram::default()));
        let found = roll(mixed, average);
        assert!(!found.rolled && found.series.timestamps == [1]);
    }

    #[test]
    fn times_at_the_ends_of_numbers_do_not_overflow() {
        let step = Rollup { step: 300_000, value: RollupValue::Sum };
        assert!(step.end_of(i64::MIN) <= 0);
        assert_eq!(step.end_of(i64::MAX), i64::MAX);
    }
}
