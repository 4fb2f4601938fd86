//! What the rest of metricsd sees of the engine, and its bounds.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::Millis;

use crate::syntax::ParseOptions;
use crate::{QueryError, QueryOptions, QueryValue};

/// Answers queries. Dropping the future of a query ends the query.
#[async_trait]
pub trait QueryEngine: Send + Sync + 'static {
    /// The value of the query at one moment.
    async fn instant(&self, query: &str, at: Millis, options: QueryOptions)
    -> Result<QueryValue, QueryError>;

    /// The value of the query at `start`, `start + step`, … up to `end`: always a matrix.
    async fn range(
        &self,
        query: &str,
        start: Millis,
        end: Millis,
        step: Duration,
        options: QueryOptions,
    ) -> Result<QueryValue, QueryError>;

    /// What its parser lets pass.
    fn parse_options(&self) -> ParseOptions;
}

/// Bounds of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How long a sample speaks for its series.
    pub look_back: Duration,
    /// Distance between the points of a sub-query that names none.
    pub subquery_step: Duration,
    /// Experimental parts of the language.
    pub experimental: bool,
    /// Series that one query may touch.
    pub max_series: usize,
    /// Samples that one query may hold at once, those that it reads included.
    pub max_samples: usize,
    /// Bytes that one query may hold at once.
    pub max_bytes: usize,
    /// Whether questions whose step allows it are answered from values that were rolled up.
    pub rollups: bool,
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
            subquery_step: Duration::from_secs(60),
            experimental: false,
            max_series: 100_000,
            max_samples: 50_000_000,
            max_bytes: 1 << 30,
            rollups: false,
            timeout: Duration::from_secs(120),
            max_points: 11_000,
            max_concurrent: 20,
        }
    }
}
