//! Metric names that go away, and series that come to have the same labels by that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use metricsd_model::LabelSet;

use crate::QueryError;
use crate::engine::context::{Context, failed};
use crate::engine::data::Series;

const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// Drops the names of all series: at once, or when the query is done where names are delayed.
pub(crate) fn drop_all(context: &Context<'_>, mut series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    if context.settings.delayed_names {
        for series in &mut series {
            series.drop_name = true;
        }
        return Ok(series);
    }
    drop_now(series.iter_mut().map(|series| &mut series.labels));
    // Series that differed beside their name still do.
    unify(series)
}

fn drop_now<'s>(labels: impl Iterator<Item = &'s mut LabelSet>) {
    for labels in labels {
        *labels = labels.without_metric_name();
    }
}

/// Drops the names that were kept until the end.
pub(crate) fn drop_delayed(mut series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    let mut dropped = false;
    for series in series.iter_mut().filter(|series| series.drop_name) {
        series.labels = series.labels.without_metric_name();
        series.drop_name = false;
        dropped = true;
    }
    if dropped { unify(series) } else { Ok(series) }
}

/// Joins series of the same labels that have no step in common; an error where they have. A name that is still to be
/// dropped tells series apart, as the query may yet look at it.
pub(crate) fn unify(series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
    let mut places: HashMap<(LabelSet, bool), usize> = HashMap::with_capacity(series.len());
    let mut unified: Vec<Series> = Vec::with_capacity(series.len());
    for series in series {
        match places.entry((series.labels.clone(), series.drop_name)) {
            Entry::Vacant(vacant) => {
                vacant.insert(unified.len());
                unified.push(series);
            }
            Entry::Occupied(place) => join(&mut unified[*place.get()], &series)?,
        }
    }
    Ok(unified)
}

fn join(into: &mut Series, from: &Series) -> Result<(), QueryError> {
    for step in 0..from.len() {
        if !from.is_present(step) {
            continue;
        }
        if into.is_present(step) {
            return Err(failed(SAME_LABELS));
        }
        into.set(step, from.point(step));
    }
    Ok(())
}
