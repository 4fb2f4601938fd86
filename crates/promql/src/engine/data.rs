//! What the engine computes with: samples as they were read, and series with one value a step.

use std::sync::Arc;

use metricsd_model::{HISTOGRAM_MARKER_BITS, LabelSet, Millis, NativeHistogram, STALE_NAN_BITS, is_stale};
use metricsd_ports::{RolledSeries, RollupValue, SelectedSeries};

use crate::engine::resets;
use crate::value::PointValue;

/// One series as it was read.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) labels: LabelSet,
    /// Its metric name is still to be dropped (only of sub-queries).
    pub(crate) drop_name: bool,
    pub(crate) timestamps: Vec<Millis>,
    /// Markers stand where a series ends and where a histogram is.
    pub(crate) values: Vec<f64>,
    /// By index of the timestamp.
    pub(crate) histograms: Vec<(usize, Arc<NativeHistogram>)>,
    /// There is neither marker among the values.
    pub(crate) plain: bool,
    /// The values stand for spans of time.
    pub(crate) rolled: Option<RollupValue>,
    /// How many samples each value stands for; only of averages.
    pub(crate) counts: Vec<f64>,
}

impl Raw {
    pub(crate) fn of(selected: SelectedSeries) -> Self {
        let mut histograms = selected.histograms;
        resets::hint(&mut histograms);
        let histograms: Vec<_> =
            histograms.into_iter().map(|(at, histogram)| (at, Arc::new(histogram))).collect();
        let plain = histograms.is_empty() && !selected.values.iter().any(|value| is_stale(*value));
        Self {
            labels: selected.labels,
            drop_name: false,
            timestamps: selected.timestamps,
            values: selected.values,
            histograms,
            plain,
            rolled: None,
            counts: Vec::new(),
        }
    }

    /// Values of spans, where the series came so.
    pub(crate) fn of_rolled(rolled: RolledSeries, value: RollupValue) -> Self {
        let RolledSeries { series, counts, rolled } = rolled;
        Self { rolled: rolled.then_some(value), counts, ..Self::of(series) }
    }

    /// The sample at an index; nothing where the series ends there.
    pub(crate) fn point(&self, index: usize) -> Point<'_> {
        let Some(value) = self.values.get(index) else { return Point::Absent };
        match value.to_bits() {
            STALE_NAN_BITS => Point::Absent,
            HISTOGRAM_MARKER_BITS => {
                let found = self.histograms.binary_search_by_key(&index, |(at, _)| *at);
                found
                    .ok()
                    .and_then(|at| self.histograms.get(at))
                    .map_or(Point::Absent, |(_, h)| Point::Histogram(h))
            }
            _ => Point::Float(*value),
        }
    }
}

/// What a series says at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point<'a> {
    Absent,
    Float(f64),
    Histogram(&'a Arc<NativeHistogram>),
}

impl Point<'_> {
    pub(crate) fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn float(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        if matches!(self, Self::Histogram(_)) { "histogram" } else { "float" }
    }
}

/// The staleness marker stands where a series has no value: no computation yields its bits, since results of
/// arithmetic are quiet NaNs.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

const HISTOGRAM: f64 = f64::from_bits(HISTOGRAM_MARKER_BITS);

/// One series with at most one value a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) labels: LabelSet,
    /// The metric name goes away when the query is done.
    pub(crate) drop_name: bool,
    /// One a step: a float, or one of the two markers.
    values: Vec<f64>,
    /// One a step, where there is any.
    histograms: Option<Vec<Option<Arc<NativeHistogram>>>>,
}

impl Series {
    pub(crate) fn empty(labels: LabelSet, drop_name: bool, steps: usize) -> Self {
        Self { labels, drop_name, values: vec![ABSENT; steps], histograms: None }
    }

    pub(crate) fn of_values(labels: LabelSet, drop_name: bool, values: Vec<f64>) -> Self {
        Self { labels, drop_name, values, histograms: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn point(&self, step: usize) -> Point<'_> {
        match self.values[step].to_bits() {
            STALE_NAN_BITS => Point::Absent,
            HISTOGRAM_MARKER_BITS => {
                let histogram = self.histograms.as_ref().and_then(|histograms| histograms[step].as_ref());
                histogram.map_or(Point::Absent, Point::Histogram)
            }
            _ => Point::Float(self.values[step]),
        }
    }

    pub(crate) fn is_present(&self, step: usize) -> bool {
        self.values[step].to_bits() != STALE_NAN_BITS
    }

    pub(crate) fn set(&mut self, step: usize, point: Point<'_>) {
        match point {
            Point::Absent => self.values[step] = ABSENT,
            Point::Float(value) => self.values[step] = value,
            Point::Histogram(histogram) => self.set_histogram(step, Arc::clone(histogram)),
        }
    }

    pub(crate) fn set_float(&mut self, step: usize, value: f64) {
        self.values[step] = value;
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<NativeHistogram>) {
        let steps = self.values.len();
        self.values[step] = HISTOGRAM;
        self.histograms.get_or_insert_with(|| vec![None; steps])[step] = Some(histogram);
    }

    pub(crate) fn set_value(&mut self, step: usize, value: PointValue) {
        match value {
            PointValue::Float(value) => self.set_float(step, value),
            PointValue::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms.is_some()
    }

    /// Whether no step has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.to_bits() == STALE_NAN_BITS)
    }

    /// The floats changed one by one; histograms go away where `keep` says nothing of them.
    pub(crate) fn map_floats(&mut self, change: impl Fn(f64) -> f64) {
        for value in &mut self.values {
            match value.to_bits() {
                STALE_NAN_BITS => {}
                HISTOGRAM_MARKER_BITS => *value = ABSENT,
                _ => *value = change(*value),
            }
        }
        self.histograms = None;
    }

    /// The one step of an evaluation that does not depend on time, for all steps.
    pub(crate) fn spread(&mut self, steps: usize) {
        let value = self.values.first().copied().unwrap_or(ABSENT);
        self.values = vec![value; steps];
        self.histograms = self.histograms.take().map(|histograms| {
            let histogram = histograms.into_iter().next().flatten();
            vec![histogram; steps]
        });
    }
}

/// Removes series without any value.
pub(crate) fn without_empty(mut series: Vec<Series>) -> Vec<Series> {
    series.retain(|series| !series.is_empty());
    series
}

/// What an expression evaluates to. A range vector is never a value of its own: functions take it from its selector.
#[derive(Debug)]
pub(crate) enum Value {
    /// One number a step.
    Scalar(Vec<f64>),
    String(String),
    Vector(Vec<Series>),
}

impl Value {
    /// The vector; the parser sees to it that nothing else stands where one is expected.
    pub(crate) fn into_vector(self) -> Vec<Series> {
        match self {
            Self::Vector(series) => series,
            Self::Scalar(_) | Self::String(_) => Vec::new(),
        }
    }

    pub(crate) fn into_scalar(self, steps: usize) -> Vec<f64> {
        match self {
            Self::Scalar(values) => values,
            Self::Vector(_) | Self::String(_) => vec![f64::NAN; steps],
        }
    }
}
