//! Range functions: the window of every step over every series.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use metricsd_model::{Millis, NativeHistogram, ResetHint};

use crate::QueryError;
use crate::ast::{Boundaries, Expr, ExprKind, Place, Subquery};
use crate::engine::context::Context;
use crate::engine::control::Held;
use crate::engine::data::{Point, Raw, Series, without_empty};
use crate::engine::eval::eval;
use crate::engine::select::advance;
use crate::engine::times::{Shift, Steps, subquery_steps};
use crate::engine::{names, parallel, rolled};
use crate::functions::{RangeContext, RangeFn, Sample, Window};

/// Remarks about a sub-query stand at the beginning of the query, where clients of Prometheus know them.
static BEGINNING: Place = 0..0;

/// A range vector: series, and which part of them each step sees.
pub(crate) struct Ranges<'e> {
    pub(crate) series: Arc<Vec<Raw>>,
    pub(crate) range: Millis,
    pub(crate) shift: Shift,
    pub(crate) boundaries: Boundaries,
    pub(crate) place: &'e Place,
    _held: Option<Held>,
}

/// Reads the range vector that an expression stands for; `None` where it is none, which the parser does not let pass.
pub(crate) fn ranges<'e>(
    context: &Context<'_>,
    expr: &'e Expr,
    steps: Steps,
) -> Result<Option<Ranges<'e>>, QueryError> {
    match &expr.inner().kind {
        ExprKind::Matrix(matrix) => Ok(Some(Ranges {
            series: context.fetched.of(&matrix.selector_place),
            range: context.frame.positive(&matrix.range)?,
            shift: context.frame.shift(&matrix.selector.time)?,
            boundaries: matrix.selector.boundaries,
            place: &expr.inner().place,
            _held: None,
        })),
        ExprKind::Subquery(subquery) => evaluate(context, subquery, steps).map(Some),
        _ => Ok(None),
    }
}

fn evaluate<'e>(context: &Context<'_>, subquery: &Subquery, steps: Steps) -> Result<Ranges<'e>, QueryError> {
    let shift = context.frame.shift(&subquery.time)?;
    let range = context.frame.positive(&subquery.range)?;
    let step = context.settings.subquery_step(&context.frame, subquery.step.as_ref())?;
    let inner = subquery_steps(steps, shift, range, step);
    // One series must fit, before anything is evaluated at so many steps.
    drop(context.control.hold(1, inner.count)?);
    let vector = match eval(context, &subquery.expr, inner)? {
        super::data::Value::Scalar(values) => vec![Series::of_values(Default::default(), false, values)],
        value => value.into_vector(),
    };
    let held = context.control.hold(vector.len(), vector.len().saturating_mul(inner.count))?;
    let raw = vector.into_iter().map(|series| to_raw(series, inner)).collect();
    Ok(Ranges {
        series: Arc::new(raw),
        range,
        shift,
        boundaries: Boundaries::Inside,
        place: &BEGINNING,
        _held: Some(held),
    })
}

/// A column becomes samples at the moments at which it has values.
fn to_raw(series: Series, steps: Steps) -> Raw {
    let mut raw = Raw {
        labels: series.labels.clone(),
        drop_name: series.drop_name,
        plain: !series.has_histograms(),
        ..Raw::default()
    };
    for (step, moment) in steps.iter().enumerate() {
        match series.point(step) {
            Point::Absent => continue,
            Point::Float(value) => raw.values.push(value),
            Point::Histogram(histogram) => {
                raw.histograms.push((raw.timestamps.len(), without_hint(histogram)));
                raw.values.push(f64::from_bits(metricsd_model::HISTOGRAM_MARKER_BITS));
            }
        }
        raw.timestamps.push(moment);
    }
    raw
}

/// What is known of a reset is about the sample before, which a sub-query's points have left behind.
fn without_hint(histogram: &Arc<NativeHistogram>) -> Arc<NativeHistogram> {
    match histogram.reset_hint {
        ResetHint::Unknown | ResetHint::Gauge => Arc::clone(histogram),
        ResetHint::Yes | ResetHint::No => {
            Arc::new(NativeHistogram { reset_hint: ResetHint::Unknown, ..(**histogram).clone() })
        }
    }
}

/// The samples of one series as windows see them: without staleness markers, floats and histograms apart.
pub(crate) struct Columns<'r> {
    timestamps: Cow<'r, [Millis]>,
    values: Cow<'r, [f64]>,
    /// Some float lies below the one before it.
    falls: bool,
    histogram_timestamps: Vec<Millis>,
    histograms: Vec<Arc<NativeHistogram>>,
}

impl<'r> Columns<'r> {
    pub(crate) fn of(raw: &'r Raw) -> Self {
        let (mut histogram_timestamps, mut histograms) = (Vec::new(), Vec::new());
        if raw.plain {
            let (timestamps, values) = (Cow::Borrowed(&*raw.timestamps), Cow::Borrowed(&*raw.values));
            let falls = falls(&values);
            return Self { timestamps, values, falls, histogram_timestamps, histograms };
        }
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        for (index, at) in raw.timestamps.iter().enumerate() {
            match raw.point(index) {
                Point::Absent => {}
                Point::Float(value) => {
                    timestamps.push(*at);
                    values.push(value);
                }
                Point::Histogram(histogram) => {
                    histogram_timestamps.push(*at);
                    histograms.push(Arc::clone(histogram));
                }
            }
        }
        let falls = falls(&values);
        Self { timestamps: timestamps.into(), values: values.into(), falls, histogram_timestamps, histograms }
    }
}

fn falls(values: &[f64]) -> bool {
    values.windows(2).any(|pair| matches!(pair, [before, after] if after < before))
}

/// Walks the windows of one series; every sample enters and leaves once.
pub(crate) struct Walker<'c> {
    columns: &'c Columns<'c>,
    range: Millis,
    boundaries: Boundaries,
    look_back: Millis,
    floats: (usize, usize),
    histograms: (usize, usize),
}

impl<'c> Walker<'c> {
    pub(crate) fn new(columns: &'c Columns<'c>, ranges: &Ranges<'_>, look_back: Millis) -> Self {
        Self::over(columns, ranges.range, ranges.boundaries, look_back)
    }

    pub(crate) fn over(
        columns: &'c Columns<'c>,
        range: Millis,
        boundaries: Boundaries,
        look_back: Millis,
    ) -> Self {
        Self { columns, range, boundaries, look_back, floats: (0, 0), histograms: (0, 0) }
    }

    /// The window that ends at `end`; ends must not go back.
    pub(crate) fn until(&mut self, end: Millis) -> Window<'c> {
        let start = end.saturating_sub(self.range);
        let columns = self.columns;
        let slide = |timestamps: &[Millis], (from, to): (usize, usize)| {
            (advance(timestamps, from, start), advance(timestamps, to, end))
        };
        self.floats = slide(&columns.timestamps, self.floats);
        self.histograms = slide(&columns.histogram_timestamps, self.histograms);
        let ((from, to), (first, last)) = (self.floats, self.histograms);
        let mut window = Window {
            timestamps: columns.timestamps.get(from..to).unwrap_or(&[]),
            values: columns.values.get(from..to).unwrap_or(&[]),
            histogram_timestamps: columns.histogram_timestamps.get(first..last).unwrap_or(&[]),
            histograms: columns.histograms.get(first..last).unwrap_or(&[]),
            falls: columns.falls,
            start,
            end,
            before: None,
            after: None,
            mixed: false,
        };
        if self.boundaries != Boundaries::Inside {
            self.look_around(&mut window);
        }
        window
    }

    /// What stands beside the floats of the last window.
    pub(crate) fn of_window<'w>(&self, beside: &'w [f64]) -> &'w [f64] {
        let (from, to) = self.floats;
        beside.get(from..to).unwrap_or(&[])
    }

    /// Finds the samples outside of the window from which values at its ends are found.
    fn look_around(&self, window: &mut Window<'c>) {
        let ((from, to), (first, last)) = (self.floats, self.histograms);
        let oldest = window.start.saturating_sub(self.look_back);
        let newest = match self.boundaries {
            Boundaries::Smoothed => window.end.saturating_add(self.look_back),
            Boundaries::Anchored | Boundaries::Inside => window.end,
        };
        let inside = |sample: &Timed<'c>| sample.0 > oldest && sample.0 <= newest;
        let known = |sample: Option<Timed<'c>>| sample.filter(inside);
        let before = [
            known(from.checked_sub(1).and_then(|at| self.float(at))),
            known(first.checked_sub(1).and_then(|at| self.histogram(at))),
        ];
        let after = [known(self.float(to)), known(self.histogram(last))];
        let [floats, histograms] = [0, 1].map(|kind| before[kind].is_some() || after[kind].is_some());
        window.mixed = (floats || !window.values.is_empty()) && (histograms || !window.histograms.is_empty());
        window.before = before.into_iter().flatten().max_by_key(|(at, _)| *at);
        window.after = after.into_iter().flatten().min_by_key(|(at, _)| *at);
    }

    fn float(&self, index: usize) -> Option<Timed<'c>> {
        let value = *self.columns.values.get(index)?;
        Some((*self.columns.timestamps.get(index)?, Sample::Float(value)))
    }

    fn histogram(&self, index: usize) -> Option<Timed<'c>> {
        let histogram = self.columns.histograms.get(index)?;
        Some((*self.columns.histogram_timestamps.get(index)?, Sample::Histogram(histogram)))
    }
}

type Timed<'c> = (Millis, Sample<'c>);

/// Samples of windows after which a single series asks whether the query may go on: long windows at many steps take
/// long.
const CHECK_EVERY: usize = 1 << 20;

/// A range function over all series and steps. `args` are its scalar arguments, a column each.
pub(crate) fn apply(
    context: &Context<'_>,
    function: RangeFn,
    keeps_name: bool,
    ranges: &Ranges<'_>,
    args: &[Vec<f64>],
    arg_places: &[Place],
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let series = &ranges.series;
    let _held = context.control.hold(series.len(), series.len().saturating_mul(steps.count))?;
    let weight = series.iter().map(|raw| 2 * raw.timestamps.len() + 8 * steps.count).sum();
    let results = parallel::map(series, weight, &context.control, |raw| {
        let mut result = Series::empty(raw.labels.clone(), raw.drop_name, steps.count);
        let columns = Columns::of(raw);
        let mut walker = Walker::new(&columns, ranges, context.settings.look_back);
        let mut now = vec![0.0; args.len()];
        let (remarked, name) = (RefCell::default(), raw.labels.metric_name());
        let mut looked_at = 0;
        for (step, at) in steps.iter().enumerate() {
            let window = walker.until(ranges.shift.of(at));
            looked_at += window.values.len();
            if looked_at > CHECK_EVERY && context.control.check().is_err() {
                break;
            }
            looked_at %= CHECK_EVERY;
            if window.is_empty() && (window.before.is_none() || ranges.boundaries == Boundaries::Inside) {
                continue;
            }
            for (value, column) in now.iter_mut().zip(args) {
                *value = column.get(step).copied().unwrap_or(f64::NAN);
            }
            let about = RangeContext {
                args: &now,
                at,
                name,
                boundaries: ranges.boundaries,
                annotations: &context.annotations,
                remarked: &remarked,
                place: ranges.place,
                arg_places,
            };
            let value = match raw.rolled {
                Some(value) => {
                    rolled::evaluate(function, value, &window, walker.of_window(&raw.counts), &about)
                }
                None => function(&window, &about),
            };
            if let Some(value) = value {
                result.set_value(step, value);
            }
        }
        result
    })?;
    context.control.check()?;
    let results = without_empty(results);
    if keeps_name { Ok(results) } else { names::drop_all(context, results) }
}
