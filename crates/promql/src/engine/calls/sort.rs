//! `sort` and its relatives; they say nothing about range queries, whose series are ordered by labels.

use std::cmp::Ordering;

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Call, Place};
use crate::engine::context::Context;
use crate::engine::data::{Series, Value};
use crate::engine::times::Steps;
use crate::functions::labels;

/// By the value of the one step; NaN comes last either way, histograms go away.
pub(super) fn by_value(
    context: &Context<'_>,
    call: &Call,
    descending: bool,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let mut series = super::vector(context, call, 0, steps)?;
    for series in &mut series {
        series.map_floats(|value| value);
    }
    series.retain(|series| !series.is_empty());
    remark_on_ranges(context, place, steps);
    if steps.count == 1 {
        series.sort_by(|a, b| compare(value(a), value(b), descending));
    }
    Ok(Value::Vector(series))
}

fn value(series: &Series) -> f64 {
    series.point(0).float().unwrap_or(f64::NAN)
}

fn compare(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if descending => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
    }
}

/// By the values of labels in natural order (`2` before `10`), then by all labels.
pub(super) fn by_label(
    context: &Context<'_>,
    call: &Call,
    descending: bool,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let mut series = super::vector(context, call, 0, steps)?;
    let names: Vec<&str> = (1..call.args.len()).map(|arg| super::text(call, arg)).collect();
    remark_on_ranges(context, place, steps);
    if steps.count == 1 {
        series.sort_by(|a, b| {
            let order = labels::compare_by(&a.labels, &b.labels, &names);
            if descending { order.reverse() } else { order }
        });
    }
    Ok(Value::Vector(series))
}

/// A range query orders its series by labels, whatever it is asked; what is the same at all its steps is told apart.
fn remark_on_ranges(context: &Context<'_>, place: &Place, steps: Steps) {
    if steps != Steps::one(steps.start) {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        context.remark(&Annotation::Warning(text.to_owned()), place);
    }
}
