//! What every stage of an evaluation may look at.

use std::sync::Arc;

use metricsd_model::Millis;

use crate::annotation::{Annotation, Annotations, line_and_column};
use crate::ast::{DurationExpr, Place};
use crate::engine::control::{Control, Held};
use crate::engine::data::{Series, Value};
use crate::engine::fetch::Fetched;
use crate::engine::times::{Frame, Steps};
use crate::{QueryError, QueryErrorKind};

/// The engine's options as one query has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) look_back: Millis,
    pub(crate) subquery_step: Millis,
    /// Values that were rolled up may stand for samples.
    pub(crate) rollups: bool,
    /// Metric names that functions drop stay until the query is done, so that outer parts may use them.
    pub(crate) delayed_names: bool,
}

impl Settings {
    pub(crate) fn subquery_step(
        &self,
        frame: &Frame<'_>,
        step: Option<&DurationExpr>,
    ) -> Result<Millis, QueryError> {
        step.map_or(Ok(self.subquery_step), |step| frame.positive(step))
    }
}

/// One query at work.
pub(crate) struct Context<'q> {
    pub(crate) frame: Frame<'q>,
    pub(crate) settings: Settings,
    pub(crate) fetched: Fetched,
    pub(crate) annotations: Annotations,
    pub(crate) control: Arc<Control>,
}

impl Context<'_> {
    pub(crate) fn remark(&self, annotation: &Annotation, place: &Place) {
        self.annotations.add(annotation, place);
    }

    /// Takes room for a value that waits while something else is evaluated.
    pub(crate) fn hold(&self, value: &Value, steps: Steps) -> Result<Option<Held>, QueryError> {
        match value {
            Value::Vector(series) => self.hold_series(series, steps).map(Some),
            Value::Scalar(values) => self.control.hold(1, values.len()).map(Some),
            Value::String(_) => Ok(None),
        }
    }

    /// The same for series.
    pub(crate) fn hold_series(&self, series: &[Series], steps: Steps) -> Result<Held, QueryError> {
        self.control.hold(series.len(), series.len().saturating_mul(steps.count))
    }

    /// Why the query cannot be carried out, and where.
    pub(crate) fn error(&self, place: &Place, message: impl std::fmt::Display) -> QueryError {
        QueryError::new(QueryErrorKind::Execution, message.to_string())
            .at(line_and_column(self.frame.query, place.start))
    }
}

/// Why the query cannot be carried out, where no place is to blame.
pub(crate) fn failed(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryErrorKind::Execution, message)
}
