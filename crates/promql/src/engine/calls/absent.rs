//! `absent` and `absent_over_time`: 1 where nothing is.

use std::collections::{BTreeMap, HashSet};

use metricsd_model::{LabelSet, METRIC_NAME, MatchOp, Matcher};

use crate::QueryError;
use crate::ast::{Call, Expr, ExprKind};
use crate::engine::context::Context;
use crate::engine::data::{ABSENT, Series, Value, without_empty};
use crate::engine::times::Steps;
use crate::engine::windows::{self, Columns, Walker};

pub(super) fn absent(context: &Context<'_>, call: &Call, steps: Steps) -> Result<Value, QueryError> {
    let series = super::vector(context, call, 0, steps)?;
    let present = |step: usize| series.iter().any(|series| series.is_present(step));
    Ok(ones(call, (0..steps.count).map(present)))
}

pub(super) fn absent_over_time(
    context: &Context<'_>,
    call: &Call,
    steps: Steps,
) -> Result<Value, QueryError> {
    let mut present = vec![false; steps.count];
    if let Some(ranges) =
        call.args.first().map(|arg| windows::ranges(context, arg, steps)).transpose()?.flatten()
    {
        for raw in ranges.series.iter() {
            context.control.check()?;
            let columns = Columns::of(raw);
            let mut walker = Walker::new(&columns, &ranges, context.settings.look_back);
            for (present, at) in present.iter_mut().zip(steps.iter()) {
                *present |= !walker.until(ranges.shift.of(at)).is_empty();
            }
        }
    }
    Ok(ones(call, present.into_iter()))
}

fn ones(call: &Call, present: impl Iterator<Item = bool>) -> Value {
    let labels = call.args.first().map(labels_of).unwrap_or_default();
    let values = present.map(|present| if present { ABSENT } else { 1.0 }).collect();
    Value::Vector(without_empty(vec![Series::of_values(labels, false, values)]))
}

/// The labels that a selector fixes: those that it names by equality and says nothing else of afterwards.
fn labels_of(arg: &Expr) -> LabelSet {
    let matchers: &[Matcher] = match &arg.inner().kind {
        ExprKind::Selector(selector) => &selector.matchers,
        ExprKind::Matrix(matrix) => &matrix.selector.matchers,
        _ => return LabelSet::default(),
    };
    let (mut seen, mut fixed) = (HashSet::new(), BTreeMap::new());
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && seen.insert(matcher.name.as_str()) {
            fixed.insert(&matcher.name, &matcher.value);
        } else {
            fixed.remove(&matcher.name);
        }
    }
    LabelSet::new(fixed).unwrap_or_default()
}
