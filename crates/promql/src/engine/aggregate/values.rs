//! `count_values`: how often each value occurs; the value becomes a label.

use metricsd_model::{LabelSet, METRIC_NAME};

use crate::QueryError;
use crate::ast::Aggregation;
use crate::engine::aggregate::text;
use crate::engine::context::Context;
use crate::engine::data::{Point, Series};
use crate::engine::hash::LabelMap;
use crate::engine::times::Steps;
use crate::{histogram, number};

pub(super) fn count_values(
    context: &Context<'_>,
    aggregation: &Aggregation,
    input: Vec<Series>,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let label = text(aggregation.param.as_ref());
    if label.is_empty() || label.contains('\0') {
        let place = aggregation.param.as_ref().map_or(&aggregation.expr.place, |param| &param.place);
        return Err(context.error(place, format_args!("invalid label name {label:?}")));
    }
    let mut places: LabelMap<usize> = LabelMap::default();
    let mut counts: Vec<Series> = Vec::new();
    for series in &input {
        context.control.check()?;
        let kept = Kept::of(aggregation, series, label);
        for step in 0..steps.count {
            let value = match series.point(step) {
                Point::Absent => continue,
                Point::Float(value) => number::plain(value),
                Point::Histogram(histogram) => histogram::to_text(histogram),
            };
            let labels = kept.with(label, &value);
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                // A name that was asked for stays, whatever became of the input's.
                counts.push(Series::empty(labels.clone(), false, steps.count));
                counts.len() - 1
            });
            let count = counts[place].point(step).float().unwrap_or(0.0);
            counts[place].set_float(step, count + 1.0);
        }
        // Each value is a series of its own: bounded while they grow, not after.
        drop(context.control.hold(counts.len(), counts.len().saturating_mul(steps.count))?);
    }
    Ok(counts)
}

/// The labels of a group, before it is known which value it counts.
struct Kept {
    labels: LabelSet,
    /// `without` takes the value's own label away too, where it names it.
    counted: bool,
}

impl Kept {
    fn of(aggregation: &Aggregation, series: &Series, label: &str) -> Self {
        if !aggregation.without {
            return Self { labels: series.labels.keep(&aggregation.grouping), counted: true };
        }
        let mut left_out: Vec<&str> = aggregation.grouping.iter().map(String::as_str).collect();
        left_out.push(METRIC_NAME);
        Self { labels: series.labels.without(&left_out), counted: !left_out.contains(&label) }
    }

    fn with(&self, label: &str, value: &str) -> LabelSet {
        if self.counted { self.labels.with(label, value) } else { self.labels.clone() }
    }
}
