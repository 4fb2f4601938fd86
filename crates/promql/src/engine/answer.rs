//! The last stage: what the tree's value becomes for the one who asked.

use std::sync::Arc;

use crate::QueryError;
use crate::ast::{Boundaries, Expr, ValueType};
use crate::engine::context::Context;
use crate::engine::data::{Point, Series, Value};
use crate::engine::eval::eval;
use crate::engine::times::Steps;
use crate::engine::windows::{self, Columns, Walker};
use crate::engine::{extended, names};
use crate::value::{InstantSeries, PointValue, QueryData, RangeSeries};

/// Evaluates the whole tree at one moment.
pub(crate) fn instant(context: &Context<'_>, expr: &Expr) -> Result<QueryData, QueryError> {
    let at = context.frame.start;
    let steps = Steps::one(at);
    if expr.value_type() == ValueType::Matrix {
        return matrix(context, expr, steps);
    }
    Ok(match eval(context, expr, steps)? {
        Value::Scalar(values) => QueryData::Scalar(at, values.first().copied().unwrap_or(f64::NAN)),
        Value::String(text) => QueryData::String(at, text),
        Value::Vector(series) => {
            let series = names::drop_delayed(series)?;
            let instant = |series: Series| {
                let value = match series.point(0) {
                    Point::Absent => return None,
                    Point::Float(value) => PointValue::Float(value),
                    Point::Histogram(histogram) => PointValue::Histogram(Arc::clone(histogram)),
                };
                Some(InstantSeries { labels: series.labels, timestamp: at, value })
            };
            QueryData::Vector(series.into_iter().filter_map(instant).collect())
        }
    })
}

/// An expression that is a range: its samples as they are.
fn matrix(context: &Context<'_>, expr: &Expr, steps: Steps) -> Result<QueryData, QueryError> {
    let Some(ranges) = windows::ranges(context, expr, steps)? else {
        return Ok(QueryData::Matrix(Vec::new()));
    };
    let mut matrix = Vec::new();
    for raw in ranges.series.iter() {
        let columns = Columns::of(raw);
        let window =
            Walker::new(&columns, &ranges, context.settings.look_back).until(ranges.shift.of(steps.start));
        let floats = match ranges.boundaries {
            Boundaries::Inside => {
                window.timestamps.iter().copied().zip(window.values.iter().copied()).collect()
            }
            extended => extended::floats(&window, extended)?,
        };
        if floats.is_empty() && window.histograms.is_empty() {
            continue;
        }
        let labels = if raw.drop_name { raw.labels.without_metric_name() } else { raw.labels.clone() };
        let histograms =
            window.histogram_timestamps.iter().copied().zip(window.histograms.iter().cloned()).collect();
        matrix.push(RangeSeries { labels, floats, histograms });
    }
    matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(QueryData::Matrix(matrix))
}

/// Evaluates the whole tree at all steps.
pub(crate) fn range(context: &Context<'_>, expr: &Expr, steps: Steps) -> Result<QueryData, QueryError> {
    let series = match eval(context, expr, steps)? {
        Value::Scalar(values) => vec![Series::of_values(Default::default(), false, values)],
        Value::String(_) => Vec::new(),
        Value::Vector(series) => names::drop_delayed(series)?,
    };
    let _held = context.control.hold(series.len(), series.len().saturating_mul(steps.count))?;
    let mut matrix: Vec<RangeSeries> = series.into_iter().map(|series| to_range(series, steps)).collect();
    matrix.retain(|series| !series.floats.is_empty() || !series.histograms.is_empty());
    matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(QueryData::Matrix(matrix))
}

fn to_range(series: Series, steps: Steps) -> RangeSeries {
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    for (step, at) in steps.iter().enumerate() {
        match series.point(step) {
            Point::Absent => {}
            Point::Float(value) => floats.push((at, value)),
            Point::Histogram(histogram) => histograms.push((at, Arc::clone(histogram))),
        }
    }
    RangeSeries { labels: series.labels, floats, histograms }
}
