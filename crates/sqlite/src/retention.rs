//! Removing what is no longer to be kept.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{PortError, Retention};

use crate::SqliteStore;
use crate::columns::{signed, written};
use crate::error::Fault;

/// Rows that one statement removes; more would keep other writers waiting.
const REMOVED_A_CALL: i64 = 5_000;

/// A frame never crosses an hour, so none of its samples is later than this after its time.
const HOUR: Millis = 3_600_000;

const FRAMES: &str = "DELETE FROM frames WHERE seq IN (
        SELECT seq FROM frames
        WHERE target_id = ?1 AND time < ?2 AND (offsets IS NULL OR time < ?3)
        ORDER BY time LIMIT ?4
    )";

/// One look into the index for each target, not one at every frame.
const OTHER_FRAMES: &str = "WITH RECURSIVE targets (id) AS (
        SELECT min(target_id) FROM frames
        UNION ALL
        SELECT (SELECT min(target_id) FROM frames WHERE target_id > targets.id) FROM targets
        WHERE targets.id IS NOT NULL
    )
    DELETE FROM frames WHERE seq IN (
        SELECT f.seq FROM targets CROSS JOIN frames f ON f.target_id = targets.id
        WHERE targets.id NOT IN (SELECT value FROM json_each(?1))
          AND f.time < ?2 AND (f.offsets IS NULL OR f.time < ?3)
        LIMIT ?4
    )";

const EXEMPLARS: &str = "DELETE FROM exemplars WHERE rowid IN (
        SELECT rowid FROM exemplars WHERE target_id = ?1 AND time < ?2 LIMIT ?3
    )";

const OTHER_EXEMPLARS: &str = "DELETE FROM exemplars WHERE rowid IN (
        SELECT rowid FROM exemplars
        WHERE target_id NOT IN (SELECT value FROM json_each(?1)) AND time < ?2
        LIMIT ?3
    )";

const EXEMPLARS_BEYOND: &str = "DELETE FROM exemplars WHERE rowid IN (
        SELECT rowid FROM exemplars ORDER BY time DESC, rowid LIMIT ?2 OFFSET ?1
    )";

#[async_trait]
impl Retention for SqliteStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        remove(self, FRAMES, EXEMPLARS, target_id, before)
            .await
            .map_err(|fault| fault.into_port("remove old samples"))
    }

    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError> {
        let spared = written(serde_json::to_string(spared))?;
        remove(self, OTHER_FRAMES, OTHER_EXEMPLARS, &spared, before)
            .await
            .map_err(|fault| fault.into_port("remove old samples"))
    }

    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        bound_exemplars(self, newest).await.map_err(|fault| fault.into_port("remove exemplars"))
    }
}

/// A number of a frame may be given again once the newest has gone; it still is above those of all that are left.
async fn remove(
    store: &SqliteStore,
    frames: &'static str,
    exemplars: &'static str,
    whose: &str,
    before: Millis,
) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let removed = sqlx::query(frames)
        .bind(whose)
        .bind(before)
        .bind(before.saturating_sub(HOUR))
        .bind(REMOVED_A_CALL)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    let beside =
        sqlx::query(exemplars).bind(whose).bind(before).bind(REMOVED_A_CALL).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(removed + beside.rows_affected())
}

async fn bound_exemplars(store: &SqliteStore, newest: u64) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let beyond = sqlx::query(EXEMPLARS_BEYOND).bind(signed(newest)).bind(REMOVED_A_CALL);
    let removed = beyond.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(removed.rows_affected())
}
