//! Chunks that are empty since their content was moved are dropped, which gives their space back at once.
//!
//! A chunk vanishes from all snapshots, old ones too, and these do not see yet where its content went. So it is
//! dropped only when no snapshot is older than the transaction that moved the last of it.

use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::copy::bound;
use crate::error::Fault;

/// How long dropping waits for those who use a chunk; they wait behind it. It is tried again.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1s'";

/// A hypertable, and what the compactions that empty it are noted as.
pub(super) enum Emptied {
    Frames,
    Segments,
}

impl Emptied {
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Frames => ("frames", "hour"),
            Self::Segments => ("segments", "day"),
        }
    }
}

/// Drops chunks that are empty and over before `before`; answers how many.
pub(super) async fn drop_empty(
    connection: &mut PgConnection,
    table: Emptied,
    before: Millis,
) -> Result<u64, Fault> {
    let (table, span) = table.names();
    let rows = sqlx::query(include_str!("../sql/emptied_chunks.sql"))
        .bind(table)
        .bind(span)
        .bind(bound(before))
        .fetch_all(&mut *connection)
        .await?;
    let mut dropped = 0;
    for row in &rows {
        let range = Range::of(row)?;
        if !range.is_empty(connection).await? {
            continue;
        }
        match range.drop(connection, table, span).await {
            Ok(chunks) => dropped += chunks,
            // In use: another time.
            Err(fault) if fault.is_contention() => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(dropped)
}

/// The chunks of one range of time.
struct Range {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// Their quoted names.
    chunks: Vec<String>,
    emptied: String,
    long_past: bool,
}

impl Range {
    fn of(row: &PgRow) -> Result<Self, Fault> {
        Ok(Self {
            start: row.try_get(0)?,
            end: row.try_get(1)?,
            chunks: row.try_get(2)?,
            emptied: row.try_get(3)?,
            long_past: row.try_get(4)?,
        })
    }

    async fn is_empty(&self, connection: &mut PgConnection) -> Result<bool, Fault> {
        for chunk in &self.chunks {
            let sql = format!("SELECT EXISTS (SELECT FROM {chunk})");
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
            if row.try_get(0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn drop(&self, connection: &mut PgConnection, table: &str, span: &str) -> Result<u64, Fault> {
        let mut tx = connection.begin().await?;
        sqlx::query(PATIENCE).execute(&mut *tx).await?;
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", self.chunks.join(", "));
        sqlx::query(AssertSqlSafe(lock)).execute(&mut *tx).await?;
        // Whoever comes now waits, and then reads or writes without this chunk.
        let older = sqlx::query(include_str!("../sql/older_snapshots.sql"))
            .bind(&self.emptied)
            .bind(self.long_past)
            .fetch_one(&mut *tx)
            .await?;
        if older.try_get(0)? || !self.is_empty(&mut tx).await? {
            tx.rollback().await?;
            return Ok(0);
        }
        let dropped = sqlx::query(include_str!("../sql/drop_chunk.sql"))
            .bind(table)
            .bind(self.start)
            .bind(self.end)
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query(include_str!("../sql/forget_compactions.sql"))
            .bind(span)
            .bind(self.start)
            .bind(self.end)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(u64::try_from(dropped.try_get::<i64, _>(0)?).unwrap_or(0))
    }
}
