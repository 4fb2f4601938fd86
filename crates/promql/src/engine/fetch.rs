//! What a query reads: every selector with the span of time over which it is looked at, read side by side.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use metricsd_model::{Matcher, Millis};
use metricsd_ports::{Rollup, RollupValue, SampleSource, SelectLimits, Selection};

use crate::QueryError;
use crate::ast::{Boundaries, Call, Expr, ExprKind, MatrixSelector, Place, VectorSelector};
use crate::engine::context::Settings;
use crate::engine::control::{Control, Held};
use crate::engine::data::Raw;
use crate::engine::times::{Frame, Steps, subquery_steps};
use crate::engine::{extended, info, rolled};
use crate::functions::{Kind, Special};

/// Selectors of one query that are read at the same time.
const READS_AT_ONCE: usize = 4;

/// One selector and the timestamps that may matter to it, both ends included.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Where the selector stands in the query: no two stand in one place.
    pub(crate) place: Place,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) start: Millis,
    pub(crate) end: Millis,
    /// Values of spans do as well as samples.
    pub(crate) rollup: Option<Rollup>,
}

/// All that a query read, by the place of the selector.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    series: HashMap<usize, Arc<Vec<Raw>>>,
    pub(crate) series_read: usize,
    pub(crate) samples_read: usize,
    held: Vec<Held>,
}

impl Fetched {
    pub(crate) fn of(&self, place: &Place) -> Arc<Vec<Raw>> {
        self.series.get(&place.start).cloned().unwrap_or_default()
    }
}

/// Finds what an expression reads when it is evaluated at `steps`.
pub(crate) fn wanted(
    expr: &Expr,
    steps: Steps,
    frame: &Frame<'_>,
    settings: &Settings,
) -> Result<Vec<Wanted>, QueryError> {
    let mut walk = Walk { frame, settings, wanted: Vec::new() };
    walk.visit(expr, steps)?;
    Ok(walk.wanted)
}

struct Walk<'w> {
    frame: &'w Frame<'w>,
    settings: &'w Settings,
    wanted: Vec<Wanted>,
}

impl Walk<'_> {
    fn visit(&mut self, expr: &Expr, steps: Steps) -> Result<(), QueryError> {
        match &expr.kind {
            ExprKind::Number { .. } | ExprKind::String(_) => Ok(()),
            ExprKind::Selector(selector) => {
                self.want(selector, &expr.place, steps, 0, Some(RollupValue::Newest))
            }
            ExprKind::Matrix(matrix) => self.want_range(matrix, steps, None),
            ExprKind::Subquery(subquery) => {
                let shift = self.frame.shift(&subquery.time)?;
                let range = self.frame.positive(&subquery.range)?;
                let step = self.settings.subquery_step(self.frame, subquery.step.as_ref())?;
                self.visit(&subquery.expr, subquery_steps(steps, shift, range, step))
            }
            ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => self.visit(inner, steps),
            ExprKind::Binary(binary) => {
                self.visit(&binary.left, steps)?;
                self.visit(&binary.right, steps)
            }
            ExprKind::Aggregation(aggregation) => {
                aggregation.param.iter().try_for_each(|param| self.visit(param, steps))?;
                self.visit(&aggregation.expr, steps)
            }
            ExprKind::Call(call) if info::is_info(call) => {
                if let Some(base) = call.args.first() {
                    self.visit(base, steps)?;
                }
                let (first, end) = info::shift(self.frame, call)?.span(steps);
                let start = first.saturating_sub(self.settings.look_back).saturating_add(1);
                let (place, matchers) = info::selector(call, &expr.place)?;
                self.wanted.push(Wanted { place, matchers, start, end, rollup: None });
                Ok(())
            }
            ExprKind::Call(call) => {
                extended::check(call)?;
                call.args.iter().try_for_each(|arg| self.visit_argument(call, arg, steps))
            }
        }
    }

    /// Some functions need of a range, or of a selector, no more than values of spans can tell; others need samples.
    fn visit_argument(&mut self, call: &Call, arg: &Expr, steps: Steps) -> Result<(), QueryError> {
        match &arg.inner().kind {
            ExprKind::Matrix(matrix) => self.want_range(matrix, steps, rolled::value_for(call.function.name)),
            ExprKind::Selector(selector)
                if matches!(call.function.kind, Kind::Special(Special::Timestamp)) =>
            {
                self.want(selector, &arg.inner().place, steps, 0, None)
            }
            _ => self.visit(arg, steps),
        }
    }

    fn want_range(
        &mut self,
        matrix: &MatrixSelector,
        steps: Steps,
        value: Option<RollupValue>,
    ) -> Result<(), QueryError> {
        let range = self.frame.positive(&matrix.range)?;
        self.want(&matrix.selector, &matrix.selector_place, steps, range, value)
    }

    fn want(
        &mut self,
        selector: &VectorSelector,
        place: &Place,
        steps: Steps,
        range: Millis,
        value: Option<RollupValue>,
    ) -> Result<(), QueryError> {
        let shift = self.frame.shift(&selector.time)?;
        let (first, last) = shift.span(steps);
        if steps.count == 0 {
            return Ok(());
        }
        let look_back = self.settings.look_back;
        let (before, after) = match (selector.boundaries, range) {
            (Boundaries::Inside, 0) => (look_back, 0),
            (Boundaries::Inside, range) => (range, 0),
            (Boundaries::Anchored, range) => (range.saturating_add(look_back), 0),
            (Boundaries::Smoothed, range) => (range.saturating_add(look_back), look_back),
        };
        let allowed = self.settings.rollups && selector.boundaries == Boundaries::Inside;
        let rollup = value
            .filter(|_| allowed)
            .and_then(|value| Some(Rollup { step: rolled::step_for(shift, steps, before)?, value }));
        self.wanted.push(Wanted {
            place: place.clone(),
            matchers: selector.matchers.clone(),
            start: first.saturating_sub(before).saturating_add(1),
            end: last.saturating_add(after),
            rollup,
        });
        Ok(())
    }
}

/// Reads everything, the same selection once.
pub(crate) async fn fetch(
    source: &dyn SampleSource,
    wanted: Vec<Wanted>,
    limits: SelectLimits,
    control: &Arc<Control>,
) -> Result<Fetched, QueryError> {
    let mut distinct: Vec<(Wanted, Vec<usize>)> = Vec::new();
    for want in wanted {
        let place = want.place.start;
        let same = |(known, _): &&mut (Wanted, Vec<usize>)| {
            known.matchers == want.matchers
                && (known.start, known.end, known.rollup) == (want.start, want.end, want.rollup)
        };
        match distinct.iter_mut().find(same) {
            Some((_, places)) => places.push(place),
            None => distinct.push((want, vec![place])),
        }
    }
    let reads = distinct.into_iter().map(|(want, places)| read(source, want, places, limits, control));
    let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    let mut fetched = Fetched::default();
    while let Some(read) = reads.next().await {
        let (series, places, held) = read?;
        fetched.series_read += series.len();
        fetched.samples_read += series.iter().map(|series| series.timestamps.len()).sum::<usize>();
        fetched.held.push(held);
        for place in places {
            fetched.series.insert(place, Arc::clone(&series));
        }
    }
    Ok(fetched)
}

async fn read(
    source: &dyn SampleSource,
    want: Wanted,
    places: Vec<usize>,
    limits: SelectLimits,
    control: &Arc<Control>,
) -> Result<(Arc<Vec<Raw>>, Vec<usize>, Held), QueryError> {
    let selection = Selection { matchers: want.matchers, start: want.start, end: want.end, limits };
    let series: Vec<Raw> = match want.rollup {
        None => source.select(&selection).await?.into_iter().map(Raw::of).collect(),
        Some(rollup) => {
            let series = source.select_rolled(&selection, rollup).await?;
            series.into_iter().map(|series| Raw::of_rolled(series, rollup.value)).collect()
        }
    };
    let samples = series.iter().map(|series| series.timestamps.len()).sum();
    let held = control.hold(series.len(), samples)?;
    Ok((Arc::new(series), places, held))
}
