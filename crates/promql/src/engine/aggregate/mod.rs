//! Aggregations: many series become few.

mod fold;
mod pick;
mod quantile;
mod values;

use metricsd_model::{LabelSet, METRIC_NAME};

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Aggregation, AggregationOp, Expr, ExprKind, Place};
use crate::engine::context::Context;
use crate::engine::data::{Series, without_empty};
use crate::engine::eval::eval as eval_node;
use crate::engine::hash::LabelMap;
use crate::engine::names;
use crate::engine::times::Steps;

/// Series that become one.
struct Group {
    labels: LabelSet,
    drop_name: bool,
    /// By index among the input.
    members: Vec<usize>,
}

/// An aggregation at every step.
pub(crate) fn eval(
    context: &Context<'_>,
    aggregation: &Aggregation,
    place: &Place,
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let input = eval_node(context, &aggregation.expr, steps)?.into_vector();
    let _held = context.control.hold(input.len(), input.len().saturating_mul(steps.count))?;
    let params = match &aggregation.param {
        Some(param) if aggregation.op.param_type() == Some(crate::ast::ValueType::Scalar) => {
            eval_node(context, param, steps)?.into_scalar(steps.count)
        }
        _ => Vec::new(),
    };
    let result = match aggregation.op {
        AggregationOp::CountValues => return values::count_values(context, aggregation, input, steps),
        AggregationOp::Topk | AggregationOp::Bottomk | AggregationOp::Limitk | AggregationOp::LimitRatio => {
            let groups = groups(&input, &aggregation.grouping, aggregation.without);
            return pick::pick(context, aggregation, place, input, &groups, &params, steps);
        }
        AggregationOp::Quantile => {
            let groups = groups(&input, &aggregation.grouping, aggregation.without);
            quantile::quantile(context, aggregation, &input, groups, &params, steps)?
        }
        _ => {
            let groups = groups(&input, &aggregation.grouping, aggregation.without);
            fold::fold(context, aggregation, &input, groups, steps)?
        }
    };
    names::unify(without_empty(result))
}

/// Which series belong together, in order of the first of each.
fn groups(input: &[Series], grouping: &[String], without: bool) -> Vec<Group> {
    if grouping.is_empty() && !without {
        let drop_name = input.first().is_some_and(|series| series.drop_name);
        let all = Group { labels: LabelSet::default(), drop_name, members: (0..input.len()).collect() };
        return if input.is_empty() { Vec::new() } else { vec![all] };
    }
    let mut left_out: Vec<&str> = grouping.iter().map(String::as_str).collect();
    left_out.push(METRIC_NAME);
    let mut groups: Vec<Group> = Vec::new();
    let mut places: LabelMap<usize> = LabelMap::default();
    for (index, series) in input.iter().enumerate() {
        let labels = if without { series.labels.without(&left_out) } else { series.labels.keep(grouping) };
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            let (labels, drop_name) = (labels.clone(), series.drop_name);
            groups.push(Group { labels, drop_name, members: Vec::new() });
            groups.len() - 1
        });
        groups[place].members.push(index);
    }
    groups
}

/// The lowest and the highest value of a parameter over all steps, each if it lies outside of what makes sense. Not every
/// step is worth a remark.
fn beyond(values: &[f64], lowest: f64, highest: f64) -> impl Iterator<Item = f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [(low, low < lowest), (high, high > highest && !values.is_empty())]
        .into_iter()
        .filter_map(|(value, outside)| outside.then_some(value))
}

/// Remarks that an aggregation leaves histograms out.
fn remark_ignored(context: &Context<'_>, aggregation: &Aggregation, place: &Place) {
    context.remark(&Annotation::HistogramIgnoredInAggregation(aggregation.op.as_str()), place);
}

/// A text argument; the parser sees to it that it is one.
fn text(expr: Option<&Expr>) -> &str {
    match expr.map(|expr| &expr.inner().kind) {
        Some(ExprKind::String(text)) => text,
        _ => "",
    }
}
