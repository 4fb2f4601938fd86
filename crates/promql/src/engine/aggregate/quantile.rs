//! `quantile`: all floats of a group at a step, sorted.

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::Aggregation;
use crate::engine::aggregate::{Group, remark_ignored};
use crate::engine::context::Context;
use crate::engine::data::{Point, Series};
use crate::engine::parallel;
use crate::engine::times::Steps;
use crate::functions::quantile::quantile as quantile_of;

pub(super) fn quantile(
    context: &Context<'_>,
    aggregation: &Aggregation,
    input: &[Series],
    groups: Vec<Group>,
    ranks: &[f64],
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    let place =
        aggregation.param.as_ref().map_or(&aggregation.expr.inner().place, |param| &param.inner().place);
    // One that is no number leaves nothing to be said of the others.
    if ranks.iter().any(|rank| rank.is_nan()) {
        context.remark(&Annotation::InvalidQuantile(f64::NAN), place);
    } else {
        for rank in super::beyond(ranks, 0.0, 1.0) {
            context.remark(&Annotation::InvalidQuantile(rank), place);
        }
    }
    let weight = input.len().saturating_mul(steps.count).saturating_mul(4);
    parallel::map(&groups, weight, &context.control, |group| {
        let mut result = Series::empty(group.labels.clone(), group.drop_name, steps.count);
        let mut values = Vec::with_capacity(group.members.len());
        for (step, rank) in ranks.iter().enumerate() {
            values.clear();
            for series in group.members.iter().filter_map(|index| input.get(*index)) {
                match series.point(step) {
                    Point::Absent => {}
                    Point::Float(value) => values.push(value),
                    Point::Histogram(_) => {
                        remark_ignored(context, aggregation, &aggregation.expr.inner().place)
                    }
                }
            }
            if !values.is_empty() {
                result.set_float(step, quantile_of(*rank, &mut values));
            }
        }
        result
    })
}
