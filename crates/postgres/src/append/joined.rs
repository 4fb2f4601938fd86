//! Pushes that were joined into one batch.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use metricsd_model::{BatchId, Millis};
use metricsd_ports::StoredPush;
use metricsd_store::group::Group;
use metricsd_store::joined::{joined_rows, left_of};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;

/// Rows that one statement removes.
const PURGED_AT_ONCE: i64 = 5_000;

/// Remembers the pushes of a group's batches; answers what is left of the group where some were stored before. Of two
/// transactions that bring the same push the second waits for the first.
pub(super) async fn remember(tx: &mut PgConnection, group: &Group) -> Result<Option<Group>, Fault> {
    let rows = joined_rows(group);
    if rows.is_empty() {
        return Ok(None);
    }
    let inserted = sqlx::query(include_str!("../sql/insert_joined.sql"))
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.job).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| bound(row.started)).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?;
    let mut written = HashSet::with_capacity(inserted.len());
    for row in &inserted {
        written.insert((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(left_of(group, &rows, &written))
}

/// Those of the pushes that are stored.
pub(super) async fn stored(store: &PostgresStore, ids: &[BatchId]) -> Result<Vec<StoredPush>, Fault> {
    let asked: Vec<Uuid> = ids.iter().map(|id| id.to_uuid()).collect();
    let rows =
        sqlx::query(include_str!("../sql/stored_pushes.sql")).bind(asked).fetch_all(&store.pool).await?;
    let push = |row: &sqlx::postgres::PgRow| {
        Ok(StoredPush {
            id: BatchId(row.try_get::<Uuid, _>(0)?.as_u128()),
            batch: BatchId(row.try_get::<Uuid, _>(1)?.as_u128()),
            started: row.try_get::<DateTime<Utc>, _>(2)?.timestamp_millis(),
        })
    };
    rows.iter().map(push).collect()
}

/// Forgets pushes whose batches began before `before`, or more than an hour ago.
pub(crate) async fn purge(store: &PostgresStore, before: Millis) -> Result<(), Fault> {
    loop {
        let purge =
            sqlx::query(include_str!("../sql/purge_joined.sql")).bind(bound(before)).bind(PURGED_AT_ONCE);
        if purge.execute(&store.pool).await?.rows_affected() < PURGED_AT_ONCE.cast_unsigned() {
            return Ok(());
        }
    }
}
