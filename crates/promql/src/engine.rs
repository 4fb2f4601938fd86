//! Carries queries out, within limits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Millis, format_duration};
use metricsd_ports::{SampleSource, SelectLimits, SelectedSeries, Selection};

use tokio::sync::Semaphore;

use crate::look_back::{Cursor, Found};
use crate::{
    InstantSeries, QueryData, QueryError, QueryErrorKind, QueryStats, QueryValue, RangeSeries, Selector,
    parse,
};

/// Answers queries.
#[async_trait]
pub trait QueryEngine: Send + Sync + 'static {
    /// The value of the query at one moment: always a vector.
    async fn instant(&self, query: &str, at: Millis) -> Result<QueryValue, QueryError>;

    /// The value of the query at `start`, `start + step`, … up to `end`: always a matrix.
    async fn range(
        &self,
        query: &str,
        start: Millis,
        end: Millis,
        step: Duration,
    ) -> Result<QueryValue, QueryError>;
}

/// Bounds of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How long a sample speaks for its series.
    pub look_back: Duration,
    /// Series that one query may touch.
    pub max_series: usize,
    /// Samples that one query may read, and that its answer may hold.
    pub max_samples: usize,
    /// How long one query may take.
    pub timeout: Duration,
    /// Steps of one range.
    pub max_points: usize,
    /// Queries at work at once; more wait, and waiting counts towards their timeout.
    pub max_concurrent: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            look_back: Duration::from_secs(300),
            max_series: 100_000,
            max_samples: 50_000_000,
            timeout: Duration::from_secs(30),
            max_points: 11_000,
            max_concurrent: 20,
        }
    }
}

/// After so many points of an answer the engine lets others run, which is also when its timeout can strike.
const POINTS_BETWEEN_YIELDS: usize = 20_000;

/// What the answer says where it leaves native histograms out.
const HISTOGRAMS_SKIPPED: &str = "native histogram samples were left out: queries do not show them yet";

/// The engine over a store.
pub struct Engine {
    source: Arc<dyn SampleSource>,
    options: EngineOptions,
    permits: Semaphore,
}

impl Engine {
    /// Builds an engine.
    pub fn new(source: Arc<dyn SampleSource>, options: EngineOptions) -> Self {
        let permits = Semaphore::new(options.max_concurrent.max(1));
        Self { source, options, permits }
    }

    fn look_back(&self) -> Millis {
        millis(self.options.look_back)
    }

    /// Everything that may speak for a moment in `[start, end]`.
    async fn select(
        &self,
        selector: Selector,
        start: Millis,
        end: Millis,
    ) -> Result<Vec<SelectedSeries>, QueryError> {
        let selection = Selection {
            matchers: selector.matchers,
            start: start.saturating_sub(self.look_back()).saturating_add(1),
            end,
            limits: SelectLimits {
                max_series: self.options.max_series,
                max_samples: self.options.max_samples,
            },
        };
        Ok(self.source.select(&selection).await?)
    }

    async fn within_timeout(
        &self,
        work: impl Future<Output = Result<QueryValue, QueryError>> + Send,
    ) -> Result<QueryValue, QueryError> {
        let at_work = async {
            // Never closed, so this only waits.
            let _permit = self.permits.acquire().await;
            work.await
        };
        match tokio::time::timeout(self.options.timeout, at_work).await {
            Ok(result) => result,
            Err(_) => {
                let limit = format_duration(self.options.timeout);
                let message = format!("the query took longer than {limit}");
                Err(QueryError::new(QueryErrorKind::Timeout, message))
            }
        }
    }

    async fn instant_value(&self, selector: Selector, at: Millis) -> Result<QueryValue, QueryError> {
        let selected = self.select(selector, at, at).await?;
        let stats = stats_of(&selected);
        let mut histograms = false;
        let mut vector = Vec::new();
        for series in selected {
            match Cursor::new(&series, self.look_back()).at(at) {
                Found::Value(value) => {
                    vector.push(InstantSeries { labels: series.labels, timestamp: at, value })
                }
                Found::Histogram => histograms = true,
                Found::Nothing => {}
            }
        }
        Ok(QueryValue { data: QueryData::Vector(vector), warnings: warnings(histograms), stats })
    }

    async fn range_value(&self, selector: Selector, range: Range) -> Result<QueryValue, QueryError> {
        let selected = self.select(selector, range.start, range.end).await?;
        let stats = stats_of(&selected);
        let mut histograms = false;
        let mut matrix = Vec::new();
        let (mut held, mut since_yield) = (0usize, 0usize);
        for series in selected {
            let points = self.points(&series, range, &mut histograms);
            held += points.len();
            if held > self.options.max_samples {
                let message = format!(
                    "the answer would hold more than {} values: ask for fewer series, a shorter range or a longer step",
                    self.options.max_samples
                );
                return Err(QueryError::new(QueryErrorKind::Limit, message));
            }
            since_yield += range.steps();
            if since_yield > POINTS_BETWEEN_YIELDS {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
            if !points.is_empty() {
                matrix.push(RangeSeries { labels: series.labels, points });
            }
        }
        Ok(QueryValue { data: QueryData::Matrix(matrix), warnings: warnings(histograms), stats })
    }

    fn points(&self, series: &SelectedSeries, range: Range, histograms: &mut bool) -> Vec<(Millis, f64)> {
        let mut cursor = Cursor::new(series, self.look_back());
        let mut points = Vec::new();
        for moment in range.moments() {
            match cursor.at(moment) {
                Found::Value(value) => points.push((moment, value)),
                Found::Histogram => *histograms = true,
                Found::Nothing => {}
            }
        }
        points
    }

    fn check_range(&self, range: Range) -> Result<(), QueryError> {
        let bad = |message: String| Err(QueryError::new(QueryErrorKind::BadData, message));
        if range.step <= 0 {
            return bad("the step must be at least one millisecond".to_owned());
        }
        if range.end < range.start {
            return bad("the end lies before the start".to_owned());
        }
        if range.steps() > self.options.max_points {
            return bad(format!(
                "the range has {} steps, more than the limit of {}: take a longer step or a shorter range",
                range.steps(),
                self.options.max_points
            ));
        }
        Ok(())
    }
}

/// The moments of a range query; its step is above zero and its end not before its start once it is checked.
#[derive(Clone, Copy)]
struct Range {
    start: Millis,
    end: Millis,
    step: Millis,
}

impl Range {
    fn steps(self) -> usize {
        let steps = (i128::from(self.end) - i128::from(self.start)) / i128::from(self.step.max(1)) + 1;
        usize::try_from(steps).unwrap_or(usize::MAX)
    }

    fn moments(self) -> impl Iterator<Item = Millis> {
        std::iter::successors(Some(self.start), move |moment| moment.checked_add(self.step))
            .take_while(move |moment| *moment <= self.end)
    }
}

#[async_trait]
impl QueryEngine for Engine {
    async fn instant(&self, query: &str, at: Millis) -> Result<QueryValue, QueryError> {
        let selector = parse(query)?;
        self.within_timeout(self.instant_value(selector, at)).await
    }

    async fn range(
        &self,
        query: &str,
        start: Millis,
        end: Millis,
        step: Duration,
    ) -> Result<QueryValue, QueryError> {
        let selector = parse(query)?;
        let range = Range { start, end, step: millis(step) };
        self.check_range(range)?;
        self.within_timeout(self.range_value(selector, range)).await
    }
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn stats_of(selected: &[SelectedSeries]) -> QueryStats {
    QueryStats {
        series: selected.len(),
        samples: selected.iter().map(|series| series.timestamps.len()).sum(),
    }
}

fn warnings(histograms: bool) -> Vec<String> {
    if histograms { vec![HISTOGRAMS_SKIPPED.to_owned()] } else { Vec::new() }
}
