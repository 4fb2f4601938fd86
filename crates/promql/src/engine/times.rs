//! The moments of an evaluation, and the durations and shifts that a query writes.

use metricsd_model::Millis;

use crate::annotation::line_and_column;
use crate::ast::{At, BinaryOp, DurationExpr, DurationKind, TimeShift};
use crate::{QueryError, QueryErrorKind};

/// The moments at which an expression is evaluated: `start`, `start + step`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) start: Millis,
    /// Above zero.
    pub(crate) step: Millis,
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn one(at: Millis) -> Self {
        Self { start: at, step: 1, count: 1 }
    }

    /// From `start` to at most `end`; none where the end lies before the start.
    pub(crate) fn between(start: Millis, end: Millis, step: Millis) -> Self {
        let span = i128::from(end) - i128::from(start);
        let count = if span < 0 { 0 } else { span / i128::from(step.max(1)) + 1 };
        Self { start, step: step.max(1), count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    pub(crate) fn at(self, index: usize) -> Millis {
        self.start.saturating_add(self.step.saturating_mul(index as i64))
    }

    /// The last moment; the first where there is none.
    pub(crate) fn last(self) -> Millis {
        self.at(self.count.saturating_sub(1))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Millis> {
        (0..self.count).map(move |index| self.at(index))
    }
}

/// The query as a whole, which `start()`, `step()` and their like speak of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'q> {
    pub(crate) query: &'q str,
    pub(crate) start: Millis,
    pub(crate) end: Millis,
    /// 0 for an instant query.
    pub(crate) step: Millis,
}

/// Where the samples of a step are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    at: Option<Millis>,
    offset: Millis,
}

impl Shift {
    /// The moment that stands for a step.
    pub(crate) fn of(self, step: Millis) -> Millis {
        self.at.unwrap_or(step).saturating_sub(self.offset)
    }

    /// This shift, and then another one within it.
    pub(crate) fn then(self, inner: Self) -> Self {
        match inner.at {
            Some(_) => inner,
            None => Self { at: self.at, offset: self.offset.saturating_add(inner.offset) },
        }
    }

    /// The first and the last moment over all steps.
    pub(crate) fn span(self, steps: Steps) -> (Millis, Millis) {
        (self.of(steps.start), self.of(steps.last()))
    }
}

/// Times beyond this (in milliseconds; some 290 million years) are refused, so that no sum of a few overflows.
const FARTHEST: f64 = (i64::MAX / 1_000) as f64;

impl Frame<'_> {
    pub(crate) fn shift(&self, time: &TimeShift) -> Result<Shift, QueryError> {
        let at = time.at.map(|at| match at {
            At::Time(at) => at,
            At::Start => self.start,
            At::End => self.end,
        });
        let offset = time.offset.as_ref().map_or(Ok(0), |offset| self.millis(offset))?;
        Ok(Shift { at, offset })
    }

    /// A duration that must be above zero.
    pub(crate) fn positive(&self, duration: &DurationExpr) -> Result<Millis, QueryError> {
        match self.millis(duration)? {
            millis if millis > 0 => Ok(millis),
            _ => Err(self.error(duration, "duration must be greater than 0")),
        }
    }

    fn millis(&self, duration: &DurationExpr) -> Result<Millis, QueryError> {
        let millis = (self.seconds(duration)? * 1e3).round();
        if !millis.is_finite() || millis.abs() > FARTHEST {
            return Err(self.error(duration, "duration out of range"));
        }
        Ok(millis as i64)
    }

    fn error(&self, duration: &DurationExpr, message: &str) -> QueryError {
        let (line, column) = line_and_column(self.query, duration.place.start);
        QueryError::new(QueryErrorKind::BadData, format!("{line}:{column}: {message}"))
    }

    fn seconds(&self, duration: &DurationExpr) -> Result<f64, QueryError> {
        Ok(match &duration.kind {
            DurationKind::Literal { seconds, .. } => *seconds,
            DurationKind::Step => self.step as f64 / 1e3,
            DurationKind::Range => (self.end - self.start) as f64 / 1e3,
            DurationKind::Paren(inner) => self.seconds(inner)?,
            DurationKind::Unary { negative, expr } => {
                let seconds = self.seconds(expr)?;
                if *negative { -seconds } else { seconds }
            }
            DurationKind::Extreme { max, left, right } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if *max { left.max(right) } else { left.min(right) }
            }
            DurationKind::Binary { op, left, right } => {
                let (left, divisor) = (self.seconds(left)?, self.seconds(right)?);
                match op {
                    BinaryOp::Add => left + divisor,
                    BinaryOp::Sub => left - divisor,
                    BinaryOp::Mul => left * divisor,
                    BinaryOp::Pow => left.powf(divisor),
                    BinaryOp::Div if divisor == 0.0 => return Err(self.error(right, "division by zero")),
                    BinaryOp::Mod if divisor == 0.0 => return Err(self.error(right, "modulo by zero")),
                    BinaryOp::Div => left / divisor,
                    BinaryOp::Mod => left % divisor,
                    _ => return Err(self.error(duration, "durations know + - * / % ^ only")),
                }
            }
        })
    }
}

/// The steps of a sub-query: all multiples of its step that any of the outer steps' ranges covers.
pub(crate) fn subquery_steps(outer: Steps, shift: Shift, range: Millis, step: Millis) -> Steps {
    let (first, last) = shift.span(outer);
    let after = first.saturating_sub(range);
    // Ranges are open on the left: the first multiple above it.
    let start = (after.div_euclid(step) + 1).saturating_mul(step);
    Steps::between(start, last, step)
}
