//! The connection of the one that compacts.

use sqlx::{ConnectOptions, Connection, PgConnection, Row};

use crate::PostgresStore;
use crate::error::Fault;

/// Key of the advisory lock ("mdcompac" in ASCII). The server gives it up when the connection ends, however it ends.
const LOCK: i64 = 0x6d64_636f_6d70_6163;

/// Pieces are bounded by their samples; the server's own bounds are for queries.
const SETTINGS: &str = "SET statement_timeout = '15min'; SET idle_in_transaction_session_timeout = '10min'; \
     SET client_min_messages = error";

/// A connection that holds the lock; `None` where another process has it.
pub(super) async fn open(store: &PostgresStore) -> Result<Option<PgConnection>, Fault> {
    let options = store.pool.connect_options();
    let connect = tokio::time::timeout(store.options.acquire_timeout, options.connect());
    let mut connection = connect.await.map_err(|_| Fault::Sql(sqlx::Error::PoolTimedOut))??;
    let locked = sqlx::query("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
    if !locked.try_get::<bool, _>(0)? {
        close(connection).await;
        return Ok(None);
    }
    sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
    sqlx::raw_sql(include_str!("../sql/staging.sql")).execute(&mut connection).await?;
    Ok(Some(connection))
}

/// Says goodbye. A connection that does not hear it is closed all the same.
pub(super) async fn close(mut connection: PgConnection) {
    // The server ends a session some time after it was told to; the next one may be quicker.
    let unlocked = sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut connection).await;
    if let Err(error) = unlocked.and(connection.close().await) {
        tracing::debug!(error = %error, "the connection of the compaction was gone");
    }
}
