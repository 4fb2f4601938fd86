//! What a range function sees: the samples of one series in one window.

#[cfg(test)]
pub(super) mod testing;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram};

use crate::annotation::{Annotation, Annotations};
use crate::ast::Boundaries;

/// The samples of one series in `(start, end]`, staleness markers left out. Floats and histograms stand apart, each in
/// order of time.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Timestamps of the floats.
    pub timestamps: &'a [Millis],
    /// The floats, one a timestamp.
    pub values: &'a [f64],
    /// Timestamps of the histograms.
    pub histogram_timestamps: &'a [Millis],
    /// The histograms, one a timestamp.
    pub histograms: &'a [Arc<NativeHistogram>],
    /// Whether any float of the whole series lies below the one before it; where none does, no counter was reset.
    pub falls: bool,
    /// Where the window begins; a sample on it does not belong.
    pub start: Millis,
    /// Where the window ends; a sample on it belongs.
    pub end: Millis,
    /// The last sample at or before `start`, within the look-back; only where the selector is `anchored` or `smoothed`.
    pub before: Option<(Millis, Sample<'a>)>,
    /// The first sample after `end`, within the look-back; only where the selector is `smoothed`.
    pub after: Option<(Millis, Sample<'a>)>,
    /// Floats and histograms stand together in the window and the look-back around it that `before` and `after` are
    /// taken from.
    pub mixed: bool,
}

/// A sample of either kind.
#[derive(Debug, Clone, Copy)]
pub enum Sample<'a> {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Arc<NativeHistogram>),
}

impl<'a> Window<'a> {
    /// The first sample inside; of a window that is not mixed.
    pub fn first(&self) -> Option<(Millis, Sample<'a>)> {
        self.sample(0, 0)
    }

    /// The last sample inside; of a window that is not mixed.
    pub fn last(&self) -> Option<(Millis, Sample<'a>)> {
        self.sample(self.values.len().wrapping_sub(1), self.histograms.len().wrapping_sub(1))
    }

    fn sample(&self, float: usize, histogram: usize) -> Option<(Millis, Sample<'a>)> {
        if let Some(value) = self.values.get(float) {
            return Some((*self.timestamps.get(float)?, Sample::Float(*value)));
        }
        let found = self.histograms.get(histogram)?;
        Some((*self.histogram_timestamps.get(histogram)?, Sample::Histogram(found)))
    }

    /// Whether there is no sample inside.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty() && self.histogram_timestamps.is_empty()
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e3
    }
}

/// What a range function knows beside the samples.
#[derive(Debug, Clone, Copy)]
pub struct RangeContext<'a> {
    /// The scalar arguments at this step, in their order, the range left out.
    pub args: &'a [f64],
    /// The step's time; differs from the window's end where the range is shifted by `offset` or `@`.
    pub at: Millis,
    /// The metric's name, for remarks.
    pub name: &'a str,
    /// How values at the ends are found.
    pub boundaries: Boundaries,
    /// Where remarks go.
    pub annotations: &'a Annotations,
    /// What was remarked about this series already.
    pub remarked: &'a RefCell<Vec<Annotation>>,
    /// Place of the argument that the remarks are about: the range.
    pub place: &'a Range<usize>,
    /// Places of the scalar arguments.
    pub arg_places: &'a [Range<usize>],
}

impl RangeContext<'_> {
    /// Remarks on the range: the same once a series, however many windows give cause.
    pub fn remark(&self, annotation: Annotation) {
        let mut remarked = self.remarked.borrow_mut();
        if !remarked.contains(&annotation) {
            self.annotations.add(&annotation, self.place);
            remarked.push(annotation);
        }
    }

    /// A scalar argument; NaN where it was not given.
    pub fn arg(&self, index: usize) -> f64 {
        self.args.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Remarks on a scalar argument.
    pub fn remark_on_arg(&self, index: usize, annotation: Annotation) {
        self.annotations.add(&annotation, self.arg_places.get(index).unwrap_or(self.place));
    }

    /// The metric's name, for remarks.
    pub fn metric(&self) -> String {
        self.name.to_owned()
    }
}
