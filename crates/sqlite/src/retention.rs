//! Removing frames that are no longer to be kept.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{PortError, Retention};

use crate::SqliteStore;
use crate::error::Fault;

/// Frames that one call removes; more would keep other writers waiting.
const REMOVED_A_CALL: i64 = 5_000;

/// A frame never crosses an hour, so none of its samples is later than this after its time.
const HOUR: Millis = 3_600_000;

const REMOVE: &str = "DELETE FROM frames WHERE seq IN (
        SELECT seq FROM frames
        WHERE target_id = ?1 AND time < ?2 AND (offsets IS NULL OR time < ?3)
        ORDER BY time LIMIT ?4
    )";

#[async_trait]
impl Retention for SqliteStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        remove(self, target_id, before).await.map_err(|fault| fault.into_port("remove old samples"))
    }
}

/// A number of a frame may be given again once the newest has gone; it still is above those of all that are left.
async fn remove(store: &SqliteStore, target_id: &str, before: Millis) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let removed = sqlx::query(REMOVE)
        .bind(target_id)
        .bind(before)
        .bind(before.saturating_sub(HOUR))
        .bind(REMOVED_A_CALL)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(removed.rows_affected())
}
