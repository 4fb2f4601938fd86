//! What every stage of an evaluation may look at.

use std::sync::Arc;

use metricsd_model::Millis;

use crate::annotation::{Annotation, Annotations, line_and_column};
use crate::ast::{DurationExpr, Place};
use crate::engine::control::Control;
use crate::engine::fetch::Fetched;
use crate::engine::times::Frame;
use crate::{QueryError, QueryErrorKind};

/// The engine's options as one query has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) look_back: Millis,
    pub(crate) subquery_step: Millis,
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
