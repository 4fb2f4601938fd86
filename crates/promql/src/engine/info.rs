//! `info`: series gain the labels of the info series that describe the same instance of the same job.

use std::collections::HashMap;

use metricsd_model::{LabelSet, METRIC_NAME, Matcher};

use crate::QueryError;
use crate::ast::{Call, Expr, ExprKind, Place};
use crate::engine::context::{Context, failed};
use crate::engine::data::{Series, Value, without_empty};
use crate::engine::eval::eval;
use crate::engine::hash::LabelMap;
use crate::engine::times::{Frame, Shift, Steps};
use crate::engine::{names, select};
use crate::functions::{Kind, Special};

/// The info metric where none is named.
const TARGET_INFO: &str = "target_info";

/// The labels that say what an info series is about.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

pub(crate) fn is_info(call: &Call) -> bool {
    matches!(call.function.kind, Kind::Special(Special::Info))
}

/// Which info series a call reads: those of the second argument, or all of `target_info`.
pub(crate) fn selector(call: &Call, place: &Place) -> Result<(Place, Vec<Matcher>), QueryError> {
    let mut matchers = chosen(call).to_vec();
    if !matchers.iter().any(|matcher| matcher.name == METRIC_NAME) {
        matchers.insert(0, Matcher::equal(METRIC_NAME, TARGET_INFO));
    }
    Ok((place.clone(), matchers))
}

/// When info series are looked for: as the series that they describe are, if those are all shifted alike.
pub(crate) fn shift(frame: &Frame<'_>, call: &Call) -> Result<Shift, QueryError> {
    let mut shifts = Vec::new();
    if let Some(base) = call.args.first() {
        collect_shifts(frame, base, Shift::default(), &mut shifts)?;
    }
    let first = shifts.first().copied().unwrap_or_default();
    Ok(if shifts.iter().all(|shift| *shift == first) { first } else { Shift::default() })
}

fn collect_shifts(
    frame: &Frame<'_>,
    expr: &Expr,
    outer: Shift,
    shifts: &mut Vec<Shift>,
) -> Result<(), QueryError> {
    let mut go_on = |expr: &Expr| collect_shifts(frame, expr, outer, shifts);
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => Ok(()),
        ExprKind::Selector(selector) => {
            shifts.push(outer.then(frame.shift(&selector.time)?));
            Ok(())
        }
        ExprKind::Matrix(matrix) => {
            shifts.push(outer.then(frame.shift(&matrix.selector.time)?));
            Ok(())
        }
        ExprKind::Subquery(subquery) => {
            collect_shifts(frame, &subquery.expr, outer.then(frame.shift(&subquery.time)?), shifts)
        }
        ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => go_on(inner),
        ExprKind::Binary(binary) => {
            go_on(&binary.left)?;
            go_on(&binary.right)
        }
        ExprKind::Aggregation(aggregation) => go_on(&aggregation.expr),
        ExprKind::Call(call) => call.args.iter().try_for_each(go_on),
    }
}

fn chosen(call: &Call) -> &[Matcher] {
    match call.args.get(1).map(|arg| &arg.inner().kind) {
        Some(ExprKind::Selector(selector)) => &selector.matchers,
        _ => &[],
    }
}

/// The info series at hand, and which of their labels are wanted.
struct Info<'c> {
    /// Their samples' timestamps at each step, which also say where they exist.
    series: Vec<Series>,
    /// Indexes of the series that describe one instance, by metric name.
    about: LabelMap<HashMap<String, Vec<usize>>>,
    /// Which info metrics there are.
    names: Vec<&'c Matcher>,
    /// Which labels are taken over, and their values; none: all.
    wanted: Vec<&'c Matcher>,
}

pub(crate) fn eval_info(
    context: &Context<'_>,
    call: &Call,
    place: &Place,
    steps: Steps,
) -> Result<Value, QueryError> {
    let Some(base) = call.args.first() else { return Ok(Value::Vector(Vec::new())) };
    let base = eval(context, base, steps)?.into_vector();
    let info = Info::of(context, call, place, steps)?;
    let mut enriched = Vec::with_capacity(base.len());
    for series in base {
        context.control.check()?;
        if info.is_info(&series) {
            enriched.push(series);
        } else {
            info.enrich(&series, &mut enriched)?;
        }
    }
    names::unify(without_empty(enriched)).map(Value::Vector)
}

impl<'c> Info<'c> {
    fn of(context: &Context<'_>, call: &'c Call, place: &Place, steps: Steps) -> Result<Self, QueryError> {
        let series = select::sample_times(context, shift(&context.frame, call)?, place, steps)?;
        let mut about: LabelMap<HashMap<String, Vec<usize>>> = LabelMap::default();
        for (index, series) in series.iter().enumerate() {
            let name = series.labels.metric_name().to_owned();
            about.entry(series.labels.keep(&IDENTIFYING)).or_default().entry(name).or_default().push(index);
        }
        let (names, wanted) = chosen(call).iter().partition(|matcher| matcher.name == METRIC_NAME);
        Ok(Self { series, about, names, wanted })
    }

    /// Info series themselves stay as they are.
    fn is_info(&self, series: &Series) -> bool {
        let name = series.labels.metric_name();
        if self.names.is_empty() {
            return name == TARGET_INFO;
        }
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    /// One output series for each set of info series that describes the series at any step.
    fn enrich(&self, series: &Series, output: &mut Vec<Series>) -> Result<(), QueryError> {
        let about = self.about.get(&series.labels.keep(&IDENTIFYING));
        let mut outputs: HashMap<Vec<usize>, Option<Series>> = HashMap::new();
        for step in 0..series.len() {
            if !series.is_present(step) {
                continue;
            }
            let mut described = Vec::new();
            for candidates in about.into_iter().flat_map(HashMap::values) {
                described.extend(self.newest(candidates, step)?);
            }
            described.sort_unstable();
            if !outputs.contains_key(&described) {
                let labels = self.labels(series, &described)?;
                let empty = labels.map(|labels| Series::empty(labels, series.drop_name, series.len()));
                outputs.insert(described.clone(), empty);
            }
            if let Some(Some(enriched)) = outputs.get_mut(&described) {
                enriched.set(step, series.point(step));
            }
        }
        output.extend(outputs.into_values().flatten());
        Ok(())
    }

    /// Of several info series of one name the one with the newest sample.
    fn newest(&self, candidates: &[usize], step: usize) -> Result<Option<usize>, QueryError> {
        let mut newest: Option<(f64, usize)> = None;
        for index in candidates {
            let Some(at) = self.series[*index].point(step).float() else { continue };
            match newest {
                Some((known, other)) if known == at => {
                    return Err(failed(format!(
                        "found duplicate series for info metric: existing {} @ {at}, new {} @ {at}",
                        self.series[other].labels, self.series[*index].labels
                    )));
                }
                Some((known, _)) if known > at => {}
                _ => newest = Some((at, *index)),
            }
        }
        Ok(newest.map(|(_, index)| index))
    }

    /// The labels of a series with those of its info series; `None` where wanted labels are missing.
    fn labels(&self, series: &Series, described: &[usize]) -> Result<Option<LabelSet>, QueryError> {
        let mut gained: Vec<(&str, &str)> = Vec::new();
        let mut found = false;
        for index in described {
            for (name, value) in self.series[*index].labels.without_name() {
                let wanted = self.wanted.is_empty() || self.wanted.iter().any(|matcher| matcher.name == name);
                if !wanted {
                    continue;
                }
                found = true;
                match gained.iter().find(|(known, _)| *known == name) {
                    Some((_, other)) if *other != value => {
                        return Err(failed(format!("conflicting label: {name}")));
                    }
                    Some(_) => {}
                    None if series.labels.get(name).is_none() => gained.push((name, value)),
                    None => {}
                }
            }
        }
        if !found && !self.wanted.iter().all(|matcher| matcher.matches_empty()) {
            return Ok(None);
        }
        let mut labels = series.labels.clone();
        for (name, value) in gained {
            labels = labels.with(name, value);
        }
        Ok(Some(labels))
    }
}
