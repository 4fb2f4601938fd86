//! Answers of the engine, brought into one shape.

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_model::{LabelSet, Millis};
use metricsd_promql::{PointValue, QueryData, QueryEngine, QueryError, QueryOptions, QueryValue};

use super::parse::{Steps, When};

/// A series of an answer.
pub type Series = (LabelSet, BTreeMap<Millis, PointValue>);

/// The data of an answer.
#[derive(Debug, Clone)]
pub enum Data {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// Series, in their order.
    Series(Vec<Series>),
    /// Series of an instant query that asked for a range.
    Range(Vec<Series>),
}

/// Evaluates, and checks what holds of every answer.
pub async fn evaluate(engine: &impl QueryEngine, expr: &str, when: When) -> Result<QueryValue, QueryError> {
    let options = QueryOptions::default();
    match when {
        When::Instant(at) => engine.instant(expr, at, options).await,
        When::Range(Steps { start, end, step }) => {
            let step = Duration::from_millis(u64::try_from(step).unwrap_or(0));
            engine.range(expr, start, end, step, options).await
        }
    }
}

/// The data of an answer; an error where it breaks a rule that every answer keeps.
pub fn data_of(value: &QueryValue, when: When) -> Result<Data, String> {
    match (&value.data, when) {
        (QueryData::Scalar(at, value), When::Instant(moment)) if *at == moment => Ok(Data::Scalar(*value)),
        (QueryData::String(at, value), When::Instant(moment)) if *at == moment => {
            Ok(Data::Text(value.clone()))
        }
        (QueryData::Vector(found), When::Instant(at)) => {
            if found.iter().any(|series| series.timestamp != at) {
                return Err(format!("an instant vector of another time: {found:?}"));
            }
            let series = |series: &metricsd_promql::InstantSeries| {
                (series.labels.clone(), BTreeMap::from([(at, series.value.clone())]))
            };
            distinct(found.iter().map(series).collect()).map(Data::Series)
        }
        (QueryData::Matrix(found), when) => {
            let mut all = Vec::new();
            for series in found {
                let floats = series.floats.iter().map(|(at, value)| (*at, PointValue::Float(*value)));
                let histograms =
                    series.histograms.iter().map(|(at, h)| (*at, PointValue::Histogram(h.clone())));
                let points: BTreeMap<_, _> = floats.chain(histograms).collect();
                let sorted = series.floats.is_sorted_by(|a, b| a.0 < b.0)
                    && series.histograms.is_sorted_by(|a, b| a.0 < b.0);
                let apart = points.len() == series.floats.len() + series.histograms.len();
                if !sorted || !apart || points.is_empty() {
                    return Err(format!("points out of order, twice or absent: {series:?}"));
                }
                all.push((series.labels.clone(), points));
            }
            if !all.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(format!("series of a matrix out of order: {all:?}"));
            }
            match when {
                When::Instant(_) => Ok(Data::Range(all)),
                When::Range(steps) => on_steps(all, steps).map(Data::Series),
            }
        }
        (other, _) => Err(format!("a {} does not answer {when:?}", other.kind())),
    }
}

fn distinct(series: Vec<Series>) -> Result<Vec<Series>, String> {
    let mut labels: Vec<&LabelSet> = series.iter().map(|(labels, _)| labels).collect();
    labels.sort();
    match labels.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two series of the labels {}", pair[0])),
        None => Ok(series),
    }
}

fn on_steps(series: Vec<Series>, steps: Steps) -> Result<Vec<Series>, String> {
    let on_step =
        |at: &Millis| (steps.start..=steps.end).contains(at) && (at - steps.start) % steps.step == 0;
    match series.iter().flat_map(|(_, points)| points.keys()).find(|at| !on_step(at)) {
        Some(at) => Err(format!("a point at {at}, which is no step")),
        None => Ok(series),
    }
}
