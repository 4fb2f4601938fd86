//! Pushes that were joined into one batch.

use std::collections::HashSet;

use metricsd_model::{BatchId, Millis};
use metricsd_ports::StoredPush;
use metricsd_store::group::Group;
use metricsd_store::joined::{JoinedRow, joined_rows, left_of};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::ROWS;
use crate::SqliteStore;
use crate::columns::written;
use crate::error::Fault;

/// Rows that one transaction removes; more would keep other writers waiting.
const PURGED_AT_ONCE: i64 = 5_000;

/// By either table: joined, or alone. Ids of jobs are texts.
const STORED: &str = "SELECT p.id, p.job, p.started
    FROM json_each(?1) AS wanted CROSS JOIN joined_pushes p ON p.id = unhex(replace(wanted.value, '-', ''))
    UNION ALL
    SELECT unhex(replace(j.id, '-', '')), unhex(replace(j.id, '-', '')), j.created_at
    FROM json_each(?1) AS wanted CROSS JOIN collection_jobs j ON j.id = wanted.value
    WHERE NOT EXISTS (SELECT 1 FROM joined_pushes p WHERE p.id = unhex(replace(j.id, '-', '')))";

/// Remembers the pushes of a group's batches; answers what is left of the group where some were stored before.
pub(super) async fn remember(tx: &mut SqliteConnection, group: &Group) -> Result<Option<Group>, Fault> {
    let rows = joined_rows(group);
    if rows.is_empty() {
        return Ok(None);
    }
    let ids: Vec<BatchId> = rows.iter().map(|row| BatchId(row.id.as_u128())).collect();
    let known = sqlx::query(STORED).bind(wanted(&ids)?).fetch_all(&mut *tx).await?;
    let known: HashSet<Uuid> = known.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut seen = HashSet::with_capacity(rows.len());
    let is_new = |row: &&JoinedRow| !known.contains(&row.id) && seen.insert(row.id);
    let fresh: Vec<&JoinedRow> = rows.iter().filter(is_new).collect();
    for part in fresh.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO joined_pushes (id, job, started) ");
        insert.push_values(part, |mut row, joined| {
            row.push_bind(joined.id).push_bind(joined.job).push_bind(joined.started);
        });
        insert.build().execute(&mut *tx).await?;
    }
    let fresh = fresh.iter().map(|row| (row.id, row.job)).collect();
    Ok(left_of(group, &rows, &fresh))
}

fn wanted(ids: &[BatchId]) -> Result<String, Fault> {
    let ids: Vec<String> = ids.iter().map(|id| id.to_uuid().to_string()).collect();
    Ok(written(serde_json::to_string(&ids))?)
}

/// Those of the pushes that are stored.
pub(super) async fn stored(store: &SqliteStore, ids: &[BatchId]) -> Result<Vec<StoredPush>, Fault> {
    let rows = sqlx::query(STORED).bind(wanted(ids)?).fetch_all(&store.readers).await?;
    let push = |row: &SqliteRow| {
        Ok(StoredPush {
            id: BatchId(row.try_get::<Uuid, _>(0)?.as_u128()),
            batch: BatchId(row.try_get::<Uuid, _>(1)?.as_u128()),
            started: row.try_get(2)?,
        })
    };
    rows.iter().map(push).collect()
}

/// Forgets pushes whose batches began before `before`, or more than an hour ago.
pub(crate) async fn purge(store: &SqliteStore, before: Millis) -> Result<(), Fault> {
    loop {
        let mut tx = store.write().await?;
        let purged = sqlx::query(
            "DELETE FROM joined_pushes WHERE id IN (
                SELECT id FROM joined_pushes
                WHERE started < max(?1, CAST(unixepoch('subsec') * 1000 AS INTEGER) - 3600000)
                ORDER BY started LIMIT ?2
            )",
        )
        .bind(before)
        .bind(PURGED_AT_ONCE)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if purged.rows_affected() < PURGED_AT_ONCE.cast_unsigned() {
            return Ok(());
        }
    }
}
