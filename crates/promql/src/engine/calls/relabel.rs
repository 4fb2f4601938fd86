//! `label_replace` and `label_join`: the same values under other labels.

use metricsd_model::{LabelSet, METRIC_NAME};

use crate::QueryError;
use crate::ast::{Call, Place};
use crate::engine::context::Context;
use crate::engine::data::{Series, Value};
use crate::engine::names;
use crate::engine::times::Steps;
use crate::functions::labels::{Join, Replace};

pub(super) fn replace(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let [destination, replacement, source, pattern] = [1, 2, 3, 4].map(|arg| super::text(call, arg));
    let replace = Replace::new(destination, replacement, source, pattern)
        .map_err(|message| context.error(place, message))?;
    let series = super::vector(context, call, 0, steps)?;
    changed(series, destination, |labels| replace.apply(labels))
}

pub(super) fn join(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let (destination, separator) = (super::text(call, 1), super::text(call, 2));
    let sources = (3..call.args.len()).map(|arg| super::text(call, arg).to_owned()).collect();
    let join = Join::new(destination, separator, sources).map_err(|message| context.error(place, message))?;
    let series = super::vector(context, call, 0, steps)?;
    changed(series, destination, |labels| Some(join.apply(labels)))
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
