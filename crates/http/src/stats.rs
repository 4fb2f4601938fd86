//! `GET /api/v1/metrics/stats`: over all processes, true to the last seconds.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_ingest::after::STATS_WINDOW;
use metricsd_ports::{CacheEntry, CacheKey, CollectionStats, PortError};
use tracing::{debug, warn};

use crate::Problem;
use crate::api::{Api, AppState, now};
use crate::params::Params;

/// Statistics are computed at most this often, however many ask.
const FRESH: Duration = Duration::from_secs(2);

/// The handler.
pub(crate) async fn stats(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<CollectionStats>, Problem> {
    Params::new(query.as_deref()).finish()?;
    // Held while computing, so that those who ask at once share one answer.
    let mut last = shared.stats.lock().await;
    if let Some((at, stats)) = last.as_ref()
        && at.elapsed() < FRESH
    {
        return Ok(Json(stats.clone()));
    }
    let api = &shared.api;
    match api.catalog.stats(now(), STATS_WINDOW).await {
        Ok(stats) => {
            *last = Some((Instant::now(), stats.clone()));
            remember(api, &stats).await;
            Ok(Json(stats))
        }
        // A minute-old answer is better than none while the store is away.
        Err(error) => recall(api, error).await.map(Json),
    }
}

async fn remember(api: &Api, stats: &CollectionStats) {
    let Ok(value) = serde_json::to_string(stats) else {
        return;
    };
    if let Err(error) =
        api.cache.put(&[CacheEntry { key: CacheKey::CollectionStats, value: value.into() }]).await
    {
        debug!(error = error.chain(), "statistics were not cached");
    }
}

async fn recall(api: &Api, error: PortError) -> Result<CollectionStats, Problem> {
    if error.is_retryable()
        && let Ok(Some(json)) = api.cache.get(&CacheKey::CollectionStats).await
        && let Ok(stats) = serde_json::from_str(&json)
    {
        warn!(error = error.chain(), "statistics were answered from the cache");
        return Ok(stats);
    }
    Err(error.into())
}
