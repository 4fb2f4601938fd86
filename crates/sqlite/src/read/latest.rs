//! What the newest collection of a target brought.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_codec::pack::unpack_ids;
use metricsd_model::{Millis, Sample, SampleValue, is_stale};
use metricsd_ports::LatestMetric;
use metricsd_store::gather::Range;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::frames::{StoredFrame, unpacked};
use super::{SERIES_COLUMNS, series_of_row};
use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::Fault;

const NEWEST: &str =
    "SELECT f.time, f.seq, f.\"values\", f.offsets, f.histograms, coalesce(f.series_ids, l.series)
    FROM (
        SELECT batch_id FROM frames WHERE target_id = ?1 AND time >= ?2 ORDER BY time DESC, seq DESC LIMIT 1
    ) AS newest
    CROSS JOIN frames f ON f.batch_id = newest.batch_id
    LEFT JOIN layouts l ON l.id = f.layout
    WHERE f.time >= ?2
    ORDER BY f.seq";

pub(super) async fn latest(
    store: &SqliteStore,
    target_id: &str,
    since: Millis,
) -> Result<Vec<LatestMetric>, Fault> {
    let mut tx = store.snapshot().await?;
    let query = sqlx::query(NEWEST).bind(target_id).bind(Range::new(since, since).bucket);
    let rows = query.fetch_all(&mut *tx).await?;
    let mut newest: HashMap<u64, Sample> = HashMap::new();
    for row in &rows {
        let ids = unpacked(unpack_ids(row.try_get(5)?))?;
        let mut frame = StoredFrame::of(row)?;
        for (at, id) in ids.into_iter().enumerate() {
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
    let ids = id_list(newest.keys().map(|id| id.cast_signed()));
    let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
    select.push(" WHERE id IN (SELECT value FROM json_each(").push_bind(ids).push("))");
    let rows = select.build().fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    let mut latest = Vec::with_capacity(rows.len());
    for row in &rows {
        let series = series_of_row(row)?;
        if let Some(sample) = newest.remove(&series.id.0) {
            let series = Arc::new(series);
            latest.push(LatestMetric { series, sample });
        }
    }
    latest.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
    Ok(latest)
}
