//! `label_replace` and `label_join`: the same values under other labels.

use metricsd_model::matcher::anchored_regex;
use metricsd_model::{LabelSet, METRIC_NAME};

use crate::QueryError;
use crate::ast::{Call, Place};
use crate::engine::context::Context;
use crate::engine::data::{Series, Value};
use crate::engine::names;
use crate::engine::times::Steps;
use crate::functions::labels;

pub(super) fn replace(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let [destination, replacement, source, pattern] = [1, 2, 3, 4].map(|arg| super::text(call, arg));
    let regex = anchored_regex(pattern).map_err(|_| {
        context.error(place, format_args!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    if destination.is_empty() {
        return Err(context.error(place, "invalid destination label name in label_replace(): "));
    }
    let series = super::vector(context, call, 0, steps)?;
    changed(series, destination, |old| labels::replace(old, destination, replacement, source, &regex))
}

pub(super) fn join(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let (destination, separator) = (super::text(call, 1), super::text(call, 2));
    let sources: Vec<&str> = (3..call.args.len()).map(|arg| super::text(call, arg)).collect();
    if sources.iter().any(|source| source.is_empty()) {
        return Err(context.error(place, "invalid source label name in label_join(): "));
    }
    if destination.is_empty() {
        return Err(context.error(place, "invalid destination label name in label_join(): "));
    }
    let series = super::vector(context, call, 0, steps)?;
    changed(series, destination, |old| Some(labels::join(old, destination, separator, &sources)))
}

fn changed(
    mut series: Vec<Series>,
    destination: &str,
    change: impl Fn(&LabelSet) -> Option<LabelSet>,
) -> Result<Value, QueryError> {
    for series in &mut series {
        if let Some(labels) = change(&series.labels) {
            series.labels = labels;
            // A name that was given on purpose stays.
            series.drop_name &= destination != METRIC_NAME;
        }
    }
    names::unify(series).map(Value::Vector)
}
