//! Chunks that are empty since their content was moved are dropped, which gives their space back at once.
//!
//! A chunk vanishes from all snapshots, old ones too, and these do not see yet where its content went. So it is
//! dropped only when no snapshot is older than the transaction that moved the last of it.
//!
//! The other way round, a statement finds its chunks when it is planned, a moment before its snapshot is taken: it would miss
//! what was moved in that moment into a chunk that was not there. So chunks are made before, when nobody is left who
//! planned without them.

use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_store::compact::{DAY, day_of};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::copy::bound;
use crate::error::Fault;

/// How long dropping waits for those who use a chunk; they wait behind it. It is tried again.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1s'";

/// The same for those who read segments, who are more.
const SHORT_PATIENCE: &str = "SET LOCAL lock_timeout = '200ms'";

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

/// A row that nobody ever sees, of a table: by it the extension makes the chunk, whatever its version.
struct Seed {
    table: &'static str,
    insert: &'static str,
    delete: &'static str,
}

const SEGMENTS: Seed = Seed {
    table: "segments",
    insert: "INSERT INTO segments (time, series, origin, offsets, level) VALUES ($1, $2, 0, '{}', 0)",
    delete: "DELETE FROM segments WHERE time = $1 AND series = $2",
};

const CONSTANTS: Seed = Seed {
    table: "segments_constant",
    insert: "INSERT INTO segments_constant (time, key, series, level, origins, timelines) \
             VALUES ($1, 0, ARRAY[$2::int8], '{}', '{}', '{}')",
    delete: "DELETE FROM segments_constant WHERE time = $1 AND key = 0 AND series = ARRAY[$2::int8]",
};

const SEGMENTS_DAILY: Seed = Seed {
    table: "segments_daily",
    insert: "INSERT INTO segments_daily (time, series, origin, samples, offsets, level) VALUES ($1, $2, 0, 0, '{}', 0)",
    delete: "DELETE FROM segments_daily WHERE time = $1 AND series = $2",
};

/// Makes the chunks into which samples of an hour are moved, where they are not there yet. Answers whether they are: a statement
/// that reads segments for long holds this up. So those of the next day are tried from now on.
pub(super) async fn make(connection: &mut PgConnection, hour: Millis) -> Result<bool, Fault> {
    let are_there = make_of_hour(connection, hour).await?;
    if are_there {
        make_of_hour(connection, hour + DAY).await?;
    } else {
        tracing::info!(%hour, "segments are being read; samples of the hour, in Unix milliseconds, move into them later");
    }
    Ok(are_there)
}

async fn make_of_hour(connection: &mut PgConnection, hour: Millis) -> Result<bool, Fault> {
    Ok(made(make_chunk(connection, &SEGMENTS, hour).await)?
        && made(make_chunk(connection, &CONSTANTS, hour).await)?
        && make_of_day(connection, day_of(hour)).await?)
}

/// The same for what is packed into a day.
pub(super) async fn make_of_day(connection: &mut PgConnection, day: Millis) -> Result<bool, Fault> {
    made(make_chunk(connection, &SEGMENTS_DAILY, day).await)
}

fn made(result: Result<(), Fault>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        // In use: another time.
        Err(fault) if fault.is_contention() => Ok(false),
        Err(fault) => Err(fault),
    }
}

async fn make_chunk(connection: &mut PgConnection, seed: &Seed, time: Millis) -> Result<(), Fault> {
    let (table, time) = (seed.table, bound(time));
    let asked = sqlx::query(include_str!("../sql/has_chunk.sql")).bind(table).bind(time);
    if asked.fetch_one(&mut *connection).await?.try_get(0)? {
        return Ok(());
    }
    let mut tx = connection.begin().await?;
    sqlx::query(SHORT_PATIENCE).execute(&mut *tx).await?;
    // Whoever has planned holds a lock on the table until it is done; whoever plans from now on waits for the chunk.
    let lock = format!("LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE");
    sqlx::query(AssertSqlSafe(lock)).execute(&mut *tx).await?;
    sqlx::query(seed.insert).bind(time).bind(i64::MIN).execute(&mut *tx).await?;
    sqlx::query(seed.delete).bind(time).bind(i64::MIN).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
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
