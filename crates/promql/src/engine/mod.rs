//! Carries queries out, within limits.
//!
//! A query is read into a tree; `fetch` reads what its selectors need, side by side; then the tree is evaluated on a
//! thread of its own (`eval`), every node for all steps at once, a column a series; `answer` shapes what comes out.

mod aggregate;
mod answer;
mod binary;
mod calls;
mod context;
mod control;
mod data;
mod eval;
mod extended;
mod fetch;
mod hash;
mod info;
mod names;
mod options;
mod parallel;
mod resets;
mod rolled;
mod select;
mod smooth;
mod times;
mod windows;

pub use options::{EngineOptions, QueryEngine};

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{SampleSource, SelectLimits};
use tokio::sync::Semaphore;

use crate::annotation::Annotations;
use crate::ast::{Expr, ValueType};
use crate::syntax::ParseOptions;
use crate::{QueryError, QueryErrorKind, QueryOptions, QueryStats, QueryValue, parse};
use context::{Context, Settings};
use control::{CancelOnDrop, Control};
use times::{Frame, Steps};

/// The engine over a store.
pub struct Engine {
    source: Arc<dyn SampleSource>,
    options: EngineOptions,
    permits: Semaphore,
}

/// What is asked, once it is read.
struct Job {
    query: String,
    expr: Expr,
    start: Millis,
    end: Millis,
    /// 0: one moment.
    step: Millis,
}

impl Job {
    fn frame(&self) -> Frame<'_> {
        Frame { query: &self.query, start: self.start, end: self.end, step: self.step }
    }

    fn steps(&self) -> Steps {
        if self.step == 0 { Steps::one(self.start) } else { Steps::between(self.start, self.end, self.step) }
    }
}

impl Engine {
    /// Builds an engine.
    pub fn new(source: Arc<dyn SampleSource>, options: EngineOptions) -> Self {
        let permits = Semaphore::new(options.max_concurrent.max(1));
        Self { source, options, permits }
    }

    fn settings(&self, asked: QueryOptions) -> Settings {
        Settings {
            look_back: millis(asked.look_back.unwrap_or(self.options.look_back)).max(1),
            subquery_step: millis(self.options.subquery_step).max(1),
            rollups: self.options.rollups,
            delayed_names: self.options.experimental,
        }
    }

    async fn answer(&self, job: Job, asked: QueryOptions) -> Result<QueryValue, QueryError> {
        let timeout = asked.timeout.map_or(self.options.timeout, |timeout| timeout.min(self.options.timeout));
        let control = Control::new(timeout, self.options.max_samples, self.options.max_bytes);
        let _cancel = CancelOnDrop(Arc::clone(&control));
        let work = self.within_permit(job, asked, Arc::clone(&control));
        match tokio::time::timeout(timeout, work).await {
            Ok(answer) => answer,
            Err(_) => Err(control.timed_out()),
        }
    }

    async fn within_permit(
        &self,
        job: Job,
        asked: QueryOptions,
        control: Arc<Control>,
    ) -> Result<QueryValue, QueryError> {
        let asked_at = Instant::now();
        // Never closed, so this only waits.
        let _permit = self.permits.acquire().await;
        let begun = Instant::now();
        let settings = self.settings(asked);
        let wanted = fetch::wanted(&job.expr, job.steps(), &job.frame(), &settings)?;
        let limits =
            SelectLimits { max_series: self.options.max_series, max_samples: self.options.max_samples };
        let fetched = fetch::fetch(&*self.source, wanted, limits, &control).await?;
        let reading = begun.elapsed();
        // A thread of its own: what computes for long must not hold up what waits for sockets.
        let evaluation = tokio::task::spawn_blocking(move || evaluate(&job, settings, fetched, control));
        let mut value = evaluation.await.map_err(|_| panicked())??;
        value.stats.queued = begun - asked_at;
        value.stats.reading = reading;
        value.stats.evaluating = begun.elapsed();
        Ok(value)
    }

    fn check_range(&self, start: Millis, end: Millis, step: Millis) -> Result<(), QueryError> {
        let bad = |message: String| Err(QueryError::new(QueryErrorKind::BadData, message));
        if step <= 0 {
            return bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            );
        }
        if end < start {
            return bad("end timestamp must not be before start time".to_owned());
        }
        let steps = Steps::between(start, end, step).count;
        if steps > self.options.max_points {
            return bad(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                self.options.max_points
            ));
        }
        Ok(())
    }
}

fn evaluate(
    job: &Job,
    settings: Settings,
    fetched: fetch::Fetched,
    control: Arc<Control>,
) -> Result<QueryValue, QueryError> {
    let (series, samples) = (fetched.series_read, fetched.samples_read);
    let annotations = Annotations::default();
    let context = Context { frame: job.frame(), settings, fetched, annotations, control };
    let data = if job.step == 0 {
        answer::instant(&context, &job.expr)?
    } else {
        answer::range(&context, &job.expr, job.steps())?
    };
    let (warnings, infos) = context.annotations.finish(&job.query);
    let peak_samples = context.control.peak_samples();
    let stats = QueryStats { series, samples, peak_samples, ..QueryStats::default() };
    Ok(QueryValue { data, warnings, infos, stats })
}

#[async_trait]
impl QueryEngine for Engine {
    async fn instant(
        &self,
        query: &str,
        at: Millis,
        options: QueryOptions,
    ) -> Result<QueryValue, QueryError> {
        let expr = parse(query, self.parse_options())?;
        let job = Job { query: query.to_owned(), expr, start: at, end: at, step: 0 };
        self.answer(job, options).await
    }

    async fn range(
        &self,
        query: &str,
        start: Millis,
        end: Millis,
        step: Duration,
        options: QueryOptions,
    ) -> Result<QueryValue, QueryError> {
        let step = millis(step);
        self.check_range(start, end, step)?;
        let expr = parse(query, self.parse_options())?;
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            let message = format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                expr.value_type().as_str()
            );
            return Err(QueryError::new(QueryErrorKind::BadData, message));
        }
        let job = Job { query: query.to_owned(), expr, start, end, step };
        self.answer(job, options).await
    }

    fn parse_options(&self) -> ParseOptions {
        ParseOptions { experimental: self.options.experimental }
    }
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn panicked() -> QueryError {
    QueryError::new(QueryErrorKind::Internal, "the query could not be carried out")
}
