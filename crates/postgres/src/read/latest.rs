//! What the newest collection of a target brought.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_model::{Millis, Sample, SampleValue, is_stale};
use metricsd_ports::LatestMetric;
use metricsd_store::gather::Range;

use super::frames::WholeFrame;
use super::{find, snapshot};
use crate::PostgresStore;
use crate::binary::required_array;
use crate::copy::bound;
use crate::error::Fault;

pub(super) async fn latest(
    store: &PostgresStore,
    target_id: &str,
    since: Millis,
) -> Result<Vec<LatestMetric>, Fault> {
    if target_id.contains('\0') {
        return Ok(Vec::new());
    }
    let mut tx = snapshot(store).await?;
    let rows = sqlx::query(include_str!("../sql/latest_frames.sql"))
        .bind(target_id)
        .bind(bound(Range::new(since, since).bucket))
        .fetch_all(&mut *tx)
        .await?;
    let mut newest: HashMap<i64, Sample> = HashMap::new();
    for row in &rows {
        let mut frame = WholeFrame::of(row, 5)?;
        for (at, id) in required_array::<8>(row, 4)?.iter().map(i64::from_be_bytes).enumerate() {
            let (timestamp, value) = frame.sample(at)?;
            let older = newest.get(&id).is_some_and(|sample| sample.timestamp >= timestamp);
            if timestamp < since || is_stale(value) || older {
                continue;
            }
            let value = match frame.histogram(at, value)? {
                Some(histogram) => SampleValue::Histogram(Box::new(histogram)),
                None => SampleValue::Float(value),
            };
            newest.insert(id, Sample { timestamp, value });
        }
    }
    let ids: Vec<i64> = newest.keys().copied().collect();
    let rows = sqlx::query(include_str!("../sql/series_by_id.sql")).bind(ids).fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    let mut latest = Vec::with_capacity(rows.len());
    for row in &rows {
        let series = find::series_of_row(row)?;
        if let Some(sample) = newest.remove(&series.id.to_i64()) {
            latest.push(LatestMetric { series: Arc::new(series), sample });
        }
    }
    latest.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
    Ok(latest)
}
