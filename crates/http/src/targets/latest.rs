//! What the newest collection of a target brought.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use metricsd_ingest::after::metrics_json;
use metricsd_model::Millis;
use metricsd_ports::CacheKey;
use tracing::debug;

use super::{TargetId, unknown_target};
use crate::Problem;
use crate::api::{AppState, now};

/// How far to look back where the cache knows nothing: as far as a query does, or two intervals.
const LOOK_BACK_MILLIS: Millis = 300_000;

/// `GET /api/v1/metrics/targets/{target_id}/latest`
pub(crate) async fn latest(
    State(shared): AppState,
    TargetId(target_id): TargetId,
) -> Result<Response, Problem> {
    let api = &shared.api;
    let target = api.catalog.target(&target_id).await?.ok_or_else(unknown_target)?;
    match api.cache.get(&CacheKey::LatestMetrics(target_id.clone())).await {
        Ok(Some(text)) => {
            return Ok(json(text));
        }
        Ok(None) => {}
        Err(error) => debug!(error = error.chain(), "the cache is away; the store answers in its place"),
    }
    let interval = target.spec.scrape_config.scrape_interval.millis();
    let since = now().saturating_sub(LOOK_BACK_MILLIS.max(interval.saturating_mul(2)));
    let metrics = api.source.latest(&target_id, since).await?;
    let floats = metrics.iter().filter_map(|metric| {
        let value = metric.sample.value.as_float()?;
        Some((&*metric.series, value, metric.sample.timestamp))
    });
    Ok(json(metrics_json(floats)))
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}
