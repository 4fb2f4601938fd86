//! Removing frames that are no longer to be kept.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_ports::{PortError, Retention};
use sqlx::Row;
use uuid::Uuid;

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;

/// Frames that one call removes, or a few more; many more would hold their locks for long.
const REMOVED_A_CALL: i64 = 5_000;

/// A frame never crosses an hour, so none of its samples is later than this after its time.
const HOUR: Millis = 3_600_000;

#[async_trait]
impl Retention for PostgresStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        self.retried("remove old samples", || remove(self, target_id, before)).await
    }
}

/// Looks first: what is to go is then known by batch and by range of time, which is what the indexes and the
/// exclusion of chunks go by.
async fn remove(store: &PostgresStore, target_id: &str, before: Millis) -> Result<u64, Fault> {
    if target_id.contains('\0') {
        return Ok(0);
    }
    let (level, spread) = (bound(before), bound(before.saturating_sub(HOUR)));
    let old = sqlx::query(include_str!("sql/old_frames.sql"))
        .bind(target_id)
        .bind(level)
        .bind(spread)
        .bind(REMOVED_A_CALL)
        .fetch_all(&store.pool)
        .await?;
    let (Some(first), Some(last)) = (old.first(), old.last()) else {
        return Ok(0);
    };
    let (first, last): (DateTime<Utc>, DateTime<Utc>) = (first.try_get(0)?, last.try_get(0)?);
    let mut batches: Vec<Uuid> = old.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    batches.sort_unstable();
    batches.dedup();
    let removed = sqlx::query(include_str!("sql/remove_frames.sql"))
        .bind(target_id)
        .bind(first)
        .bind(last)
        .bind(spread)
        .bind(batches)
        .execute(&store.pool)
        .await?;
    Ok(removed.rows_affected())
}
