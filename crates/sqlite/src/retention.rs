//! Removing what is no longer to be kept.

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{PortError, Retention, Unused};

use metricsd_store::compact::{DAY, HOUR};
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::columns::{signed, written};
use crate::compact::raise_generation;
use crate::error::Fault;
use crate::rollup::finalise;
use crate::segments::{Table, slot_of};

/// Rows that one statement removes; more would keep other writers waiting.
const REMOVED_A_CALL: i64 = 5_000;

const FRAMES: &str = "DELETE FROM frames WHERE seq IN (
        SELECT seq FROM frames
        WHERE target_id = ?1 AND time < ?2 AND (offsets IS NULL OR time <= ?3)
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
          AND f.time < ?2 AND (f.offsets IS NULL OR f.time <= ?3)
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

/// What is removed together.
struct Statements {
    frames: &'static str,
    exemplars: &'static str,
    spans: &'static str,
}

const OF_TARGET: Statements = Statements { frames: FRAMES, exemplars: EXEMPLARS, spans: SPANS };

const OF_OTHERS: Statements =
    Statements { frames: OTHER_FRAMES, exemplars: OTHER_EXEMPLARS, spans: OTHER_SPANS };

#[async_trait]
impl Retention for SqliteStore {
    async fn remove_before(&self, target_id: &str, before: Millis) -> Result<u64, PortError> {
        remove(self, OF_TARGET, target_id, before)
            .await
            .map_err(|fault| fault.into_port("remove old samples"))
    }

    async fn remove_others_before(&self, spared: &[String], before: Millis) -> Result<u64, PortError> {
        let spared = written(serde_json::to_string(spared))?;
        remove(self, OF_OTHERS, &spared, before).await.map_err(|fault| fault.into_port("remove old samples"))
    }

    async fn remove_unused(&self, before: Millis) -> Result<Unused, PortError> {
        crate::unused::remove_unused(self, before)
            .await
            .map_err(|fault| fault.into_port("remove unused series"))
    }

    async fn bound_exemplars(&self, newest: u64) -> Result<u64, PortError> {
        bound_exemplars(self, newest).await.map_err(|fault| fault.into_port("remove exemplars"))
    }
}

/// Spans that are over before a time and hold segments of a target, or of all but some; a few at once.
const SPANS: &str = "SELECT p.time, p.daily, p.origin FROM origins o
    CROSS JOIN spans p ON p.origin = o.id AND p.time < ?2 AND p.time <= ?2 - 3600000 * CASE p.daily WHEN 1 THEN 24 ELSE 1 END
    WHERE o.target_id = ?1 ORDER BY p.time LIMIT 100";

const OTHER_SPANS: &str = "SELECT p.time, p.daily, p.origin
    FROM spans p CROSS JOIN origins o ON o.id = p.origin
    WHERE p.time < ?2 AND p.time <= ?2 - 3600000 * CASE p.daily WHEN 1 THEN 24 ELSE 1 END
      AND o.target_id NOT IN (SELECT value FROM json_each(?1))
    ORDER BY p.time LIMIT 100";

const fn segments_of(table: Table) -> &'static str {
    match table {
        Table::Hourly => {
            "DELETE FROM segments WHERE slot = ?1 AND series IN (
                SELECT series FROM segments WHERE slot = ?1 AND origin = ?2 LIMIT ?3
            )"
        }
        Table::Daily => {
            "DELETE FROM segments_daily WHERE slot = ?1 AND series IN (
                SELECT series FROM segments_daily WHERE slot = ?1 AND origin = ?2 LIMIT ?3
            )"
        }
    }
}

/// Removes segments whose span is over before `before`, of one target or of all but some, as `spans` finds them.
async fn remove_segments(
    tx: &mut SqliteConnection,
    spans: &'static str,
    whose: &str,
    before: Millis,
) -> Result<u64, Fault> {
    let rows = sqlx::query(spans).bind(whose).bind(before.max(i64::MIN + DAY)).fetch_all(&mut *tx).await?;
    let mut room = REMOVED_A_CALL;
    let mut removed = 0;
    for row in &rows {
        let (time, daily, origin): (Millis, bool, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let table = if daily { Table::Daily } else { Table::Hourly };
        let query = sqlx::query(segments_of(table)).bind(slot_of(time)).bind(origin).bind(room);
        let gone = query.execute(&mut *tx).await?.rows_affected();
        finalise(tx, time, time.saturating_add(if daily { DAY } else { HOUR })).await?;
        removed += gone;
        room -= signed(gone);
        if room <= 0 {
            break;
        }
        sqlx::query("DELETE FROM spans WHERE time = ?1 AND daily = ?2 AND origin = ?3")
            .bind(time)
            .bind(daily)
            .bind(origin)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "DELETE FROM timelines WHERE time = ?1 AND NOT EXISTS (SELECT 1 FROM spans WHERE time = ?1)",
        )
        .bind(time)
        .execute(&mut *tx)
        .await?;
    }
    Ok(removed)
}

/// A number of a frame may be given again once the newest has gone; it still is above those of all that are left.
async fn remove(
    store: &SqliteStore,
    Statements { frames, exemplars, spans }: Statements,
    whose: &str,
    before: Millis,
) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let removed = sqlx::query(frames)
        .bind(whose)
        .bind(before)
        // A frame never crosses an hour, so all of its samples come before its time and an hour.
        .bind(before.saturating_sub(HOUR))
        .bind(REMOVED_A_CALL)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    let beside =
        sqlx::query(exemplars).bind(whose).bind(before).bind(REMOVED_A_CALL).execute(&mut *tx).await?;
    let segments = remove_segments(&mut tx, spans, whose, before).await?;
    if removed + segments > 0 {
        raise_generation(&mut tx).await?;
    }
    tx.commit().await?;
    if segments > 0 {
        // Of a span that comes again after it was removed, an id may stand for another list.
        store.timelines.lock().clear();
    }
    Ok(removed + segments + beside.rows_affected())
}

async fn bound_exemplars(store: &SqliteStore, newest: u64) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let beyond = sqlx::query(EXEMPLARS_BEYOND).bind(signed(newest)).bind(REMOVED_A_CALL);
    let removed = beyond.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(removed.rows_affected())
}
