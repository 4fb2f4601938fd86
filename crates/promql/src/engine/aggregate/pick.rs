//! Aggregations that let some series of each group through as they are: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::cmp::Ordering;

use metricsd_model::LabelSet;
use xxhash_rust::xxh64::xxh64;

use crate::QueryError;
use crate::annotation::Annotation;
use crate::ast::{Aggregation, AggregationOp, Place};
use crate::engine::aggregate::{Group, remark_ignored};
use crate::engine::context::{Context, failed};
use crate::engine::data::{Point, Series, without_empty};
use crate::engine::times::Steps;

pub(super) fn pick(
    context: &Context<'_>,
    aggregation: &Aggregation,
    place: &Place,
    input: Vec<Series>,
    groups: &[Group],
    params: &[f64],
    steps: Steps,
) -> Result<Vec<Series>, QueryError> {
    if aggregation.op == AggregationOp::LimitRatio {
        return limit_ratio(context, aggregation, input, params);
    }
    let mut kept: Vec<Series> = input
        .iter()
        .map(|series| Series::empty(series.labels.clone(), series.drop_name, steps.count))
        .collect();
    let mut order = Vec::new();
    for (step, k) in params.iter().enumerate() {
        context.control.check()?;
        let k = count(*k)?;
        if k < 1 {
            continue;
        }
        for group in groups {
            let chosen = choose(context, aggregation, place, &input, group, step, k);
            for index in &chosen {
                kept[*index].set(step, input[*index].point(step));
            }
            if steps.count == 1 {
                order.extend(chosen);
            }
        }
    }
    if steps.count == 1 {
        // At one moment the best come first, group by group.
        let in_order = order.into_iter().map(|index| std::mem::take(&mut kept[index])).collect();
        return Ok(in_order);
    }
    Ok(without_empty(kept))
}

/// How many to keep, as Prometheus reads the number.
fn count(k: f64) -> Result<usize, QueryError> {
    if k.is_nan() {
        return Err(failed("Parameter value is NaN"));
    }
    if k >= i64::MAX as f64 {
        return Err(failed(format!("Scalar value {} overflows int64", crate::number::format(k))));
    }
    if k <= i64::MIN as f64 {
        return Err(failed(format!("Scalar value {} underflows int64", crate::number::format(k))));
    }
    Ok(k.max(0.0) as usize)
}

/// The series that a group keeps at one step, best first.
fn choose(
    context: &Context<'_>,
    aggregation: &Aggregation,
    place: &Place,
    input: &[Series],
    group: &Group,
    step: usize,
    k: usize,
) -> Vec<usize> {
    let present = group.members.iter().copied().filter(|index| input[*index].is_present(step));
    if aggregation.op == AggregationOp::Limitk {
        return present.take(k).collect();
    }
    let mut ranked = Vec::new();
    for index in present {
        match input[index].point(step) {
            Point::Float(value) => ranked.push((value, index)),
            _ => remark_ignored(context, aggregation, place),
        }
    }
    let descending = aggregation.op == AggregationOp::Topk;
    let compare = |a: &(f64, usize), b: &(f64, usize)| rank(a.0, b.0, descending).then(a.1.cmp(&b.1));
    if ranked.len() > k {
        ranked.select_nth_unstable_by(k - 1, compare);
        ranked.truncate(k);
    }
    ranked.sort_unstable_by(compare);
    ranked.into_iter().map(|(_, index)| index).collect()
}

/// NaN comes last either way.
fn rank(a: f64, b: f64, descending: bool) -> Ordering {
    match a.partial_cmp(&b) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => a.is_nan().cmp(&b.is_nan()),
    }
}

/// Keeps the share of all series whose hash lies low (or high, for a negative ratio), so that `r` and `r - 1` together
/// keep each series once.
fn limit_ratio(
    context: &Context<'_>,
    aggregation: &Aggregation,
    mut input: Vec<Series>,
    ratios: &[f64],
) -> Result<Vec<Series>, QueryError> {
    let place = aggregation.param.as_ref().map_or(&aggregation.expr.place, |param| &param.inner().place);
    let mut used = Vec::with_capacity(ratios.len());
    for ratio in ratios {
        if ratio.is_nan() {
            return Err(failed("Ratio value is NaN"));
        }
        used.push(ratio.clamp(-1.0, 1.0));
    }
    for ratio in super::beyond(ratios, -1.0, 1.0) {
        context.remark(&Annotation::InvalidRatio(ratio, ratio.clamp(-1.0, 1.0)), place);
    }
    for series in &mut input {
        let share = hash(&series.labels) as f64 / u64::MAX as f64;
        for (step, ratio) in used.iter().enumerate() {
            let keep = if *ratio >= 0.0 { share < *ratio } else { share >= 1.0 + ratio };
            if !keep || *ratio == 0.0 {
                series.set(step, Point::Absent);
            }
        }
    }
    Ok(without_empty(input))
}

/// The hash that decides what `limit_ratio` keeps, so that the same series are kept as elsewhere in the field: XXH64 over
/// names and values, each after its length (one byte, or 255 and three bytes, little-endian).
fn hash(labels: &LabelSet) -> u64 {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len());
    for (name, value) in labels.iter() {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < 255 => bytes.push(length),
                _ => {
                    bytes.push(255);
                    bytes.extend_from_slice(text.len().to_le_bytes().get(..3).unwrap_or_default());
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(&bytes, 0)
}
