//! Removing what is no longer to be kept.

mod segments;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_ports::{PortError, Retention, Unused};
use metricsd_store::compact::{DAY, HOUR};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;
use crate::rollup::finalise;

/// Rows that one statement removes, or a few more; many more would hold their locks for long.
const REMOVED_A_CALL: i64 = 5_000;

/// How long dropping chunks waits for those who read them; it is tried again.
const CHUNK_PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";

#[async_trait]
impl Retention for PostgresStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        self.retried("remove old samples", || remove(self, target_id, before)).await
    }

    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError> {
        self.retried("remove old samples", || remove_others(self, spared, before)).await
    }

    async fn remove_unused(&self, before: Millis) -> Result<Unused, PortError> {
        self.retried("remove unused series", || crate::unused::remove_unused(self, before)).await
    }

    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        self.retried("remove exemplars", || bound_exemplars(self, newest)).await
    }
}

/// Looks first: what is to go is then known by batch and by range of time, which is what the indexes and the
/// exclusion of chunks go by.
async fn remove(store: &PostgresStore, target_id: &str, before: Millis) -> Result<u64, Fault> {
    if target_id.contains('\0') {
        return Ok(0);
    }
    // A frame never crosses an hour, so none of its samples is later than that after its time.
    let spread = bound(before.saturating_sub(HOUR));
    let exemplars = sqlx::query(include_str!("sql/old_exemplars.sql"))
        .bind(target_id)
        .bind(bound(before))
        .bind(REMOVED_A_CALL)
        .execute(&store.pool)
        .await?
        .rows_affected();
    let old = sqlx::query(include_str!("sql/old_frames.sql"))
        .bind(target_id)
        .bind(bound(before))
        .bind(spread)
        .bind(REMOVED_A_CALL)
        .fetch_all(&store.pool)
        .await?;
    let mut removed = exemplars + segments::remove(store, target_id, before).await?;
    let Some(old) = Old::of(&old)? else { return Ok(removed) };
    let frames = sqlx::query(include_str!("sql/remove_frames.sql"))
        .bind(target_id)
        .bind(old.first)
        .bind(old.last)
        .bind(spread)
        .bind(old.batches)
        .execute(&store.pool)
        .await?;
    removed += frames.rows_affected();
    Ok(removed)
}

/// Where nothing is spared, chunks that are old as a whole are dropped, which costs the same however much they hold.
async fn remove_others(store: &PostgresStore, spared: &[String], before: Millis) -> Result<u64, Fault> {
    // No target has such an id, and texts of the database cannot hold it.
    let spared: Vec<&str> = spared.iter().map(String::as_str).filter(|id| !id.contains('\0')).collect();
    let spread = bound(before.saturating_sub(HOUR));
    let mut removed = sqlx::query(include_str!("sql/other_old_exemplars.sql"))
        .bind(&spared)
        .bind(bound(before))
        .bind(REMOVED_A_CALL)
        .execute(&store.pool)
        .await?
        .rows_affected();
    if spared.is_empty() {
        removed += drop_chunks(store, "frames", spread).await?;
        finalise(&mut *store.pool.acquire().await?, i64::MIN, before.saturating_sub(DAY)).await?;
        removed += drop_chunks(store, "segments", spread).await?;
        removed += drop_chunks(store, "segments_constant", spread).await?;
        removed += drop_chunks(store, "segments_daily", bound(before.saturating_sub(DAY))).await?;
    }
    removed += segments::remove_others(store, &spared, before).await?;
    let old = sqlx::query(include_str!("sql/other_old_frames.sql"))
        .bind(&spared)
        .bind(bound(before))
        .bind(spread)
        .bind(REMOVED_A_CALL)
        .fetch_all(&store.pool)
        .await?;
    let Some(old) = Old::of(&old)? else { return Ok(removed) };
    let frames = sqlx::query(include_str!("sql/remove_other_frames.sql"))
        .bind(&spared)
        .bind(old.first)
        .bind(old.last)
        .bind(spread)
        .bind(old.batches)
        .execute(&store.pool)
        .await?;
    Ok(removed + frames.rows_affected())
}

/// Drops chunks whose frames all lie before `before`; answers how many.
pub(crate) async fn drop_chunks(
    store: &PostgresStore,
    table: &str,
    before: DateTime<Utc>,
) -> Result<u64, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    sqlx::query(CHUNK_PATIENCE).execute(&mut *tx).await?;
    let drop = sqlx::query(include_str!("sql/drop_chunks.sql")).bind(table).bind(before);
    let row = drop.fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

async fn bound_exemplars(store: &PostgresStore, newest: u64) -> Result<u64, Fault> {
    let removed = sqlx::query(include_str!("sql/exemplars_beyond.sql"))
        .bind(i64::try_from(newest).unwrap_or(i64::MAX))
        .bind(REMOVED_A_CALL)
        .execute(&store.pool)
        .await?;
    Ok(removed.rows_affected())
}

/// Frames that are to go.
struct Old {
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    batches: Vec<Uuid>,
}

impl Old {
    /// Reads rows of time and batch in order of time; `None` where there are none.
    fn of(rows: &[PgRow]) -> Result<Option<Self>, Fault> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(None);
        };
        let mut batches: Vec<Uuid> = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
        batches.sort_unstable();
        batches.dedup();
        Ok(Some(Self { first: first.try_get(0)?, last: last.try_get(0)?, batches }))
    }
}
