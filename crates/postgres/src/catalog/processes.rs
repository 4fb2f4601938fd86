//! Processes that are alive, by the database's clock.

use std::time::Duration;

use metricsd_ports::Process;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::Fault;

pub(super) async fn heartbeat(store: &PostgresStore, process: &Process, ttl: Duration) -> Result<(), Fault> {
    sqlx::query(include_str!("../sql/heartbeat.sql"))
        .bind(process.id)
        .bind(&process.roles)
        .bind(&process.listen)
        .bind(&process.version)
        .bind(ttl.as_secs_f64())
        .execute(&store.pool)
        .await?;
    Ok(())
}

/// Takes those along that went without a word long ago.
pub(super) async fn goodbye(store: &PostgresStore, process: Uuid) -> Result<(), Fault> {
    let sql = "DELETE FROM processes WHERE id = $1 OR expires < clock_timestamp() - interval '1 day'";
    sqlx::query(sql).bind(process).execute(&store.pool).await?;
    Ok(())
}

pub(super) async fn list(store: &PostgresStore) -> Result<Vec<Process>, Fault> {
    let sql =
        "SELECT id, roles, listen, version FROM processes WHERE expires > clock_timestamp() ORDER BY id";
    let rows = sqlx::query(sql).fetch_all(&store.pool).await?;
    let process = |row: &PgRow| {
        Ok(Process {
            id: row.try_get(0)?,
            roles: row.try_get(1)?,
            listen: row.try_get(2)?,
            version: row.try_get(3)?,
        })
    };
    rows.iter().map(process).collect()
}
