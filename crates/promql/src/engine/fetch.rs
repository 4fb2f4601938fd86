//! What a query reads: every selector with the span of time over which it is looked at, read side by side.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use metricsd_model::{Matcher, Millis};
use metricsd_ports::{SampleSource, SelectLimits, Selection};

use crate::QueryError;
use crate::ast::{Boundaries, Expr, ExprKind, Place, VectorSelector};
use crate::engine::context::Settings;
use crate::engine::control::{Control, Held};
use crate::engine::data::Raw;
use crate::engine::times::{Frame, Steps, subquery_steps};
use crate::engine::{extended, info};

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
            ExprKind::Selector(selector) => self.want(selector, &expr.place, steps, 0),
            ExprKind::Matrix(matrix) => {
                let range = self.frame.positive(&matrix.range)?;
                self.want(&matrix.selector, &matrix.selector_place, steps, range)
            }
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
                self.wanted.push(Wanted { place, matchers, start, end });
                Ok(())
            }
            ExprKind::Call(call) => {
                extended::check(call)?;
                call.args.iter().try_for_each(|arg| self.visit(arg, steps))
            }
        }
    }

    fn want(
        &mut self,
        selector: &VectorSelector,
        place: &Place,
        steps: Steps,
        range: Millis,
    ) -> Result<(), QueryError> {
        let (first, last) = self.frame.shift(&selector.time)?.span(steps);
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
        self.wanted.push(Wanted {
            place: place.clone(),
            matchers: selector.matchers.clone(),
            start: first.saturating_sub(before).saturating_add(1),
            end: last.saturating_add(after),
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
            known.matchers == want.matchers && (known.start, known.end) == (want.start, want.end)
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
    let selected = source.select(&selection).await?;
    let samples = selected.iter().map(|series| series.timestamps.len()).sum();
    let held = control.hold(selected.len(), samples)?;
    Ok((Arc::new(selected.into_iter().map(Raw::of).collect()), places, held))
}
