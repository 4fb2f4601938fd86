//! Processes that are alive, by the clock of the machine that they share.

use std::time::Duration;

use metricsd_ports::Process;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{json, uuid, written};
use crate::error::Fault;
use crate::store::{later, now};

/// Rows of processes that went without a word are kept so long.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn heartbeat(store: &SqliteStore, process: &Process, ttl: Duration) -> Result<(), Fault> {
    let roles = written(serde_json::to_string(&process.roles))?;
    let mut tx = store.write().await?;
    sqlx::query(
        "INSERT INTO processes (id, roles, listen, version, expires) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (id) DO UPDATE SET roles = excluded.roles, listen = excluded.listen,
            version = excluded.version, expires = excluded.expires",
    )
    .bind(process.id.to_string())
    .bind(roles)
    .bind(&process.listen)
    .bind(&process.version)
    .bind(later(ttl))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Takes those along that went without a word long ago.
pub(super) async fn goodbye(store: &SqliteStore, process: Uuid) -> Result<(), Fault> {
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let mut tx = store.write().await?;
    sqlx::query("DELETE FROM processes WHERE id = ?1 OR expires < ?2")
        .bind(process.to_string())
        .bind(now().saturating_sub(day))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn list(store: &SqliteStore) -> Result<Vec<Process>, Fault> {
    let sql = "SELECT id, roles, listen, version FROM processes WHERE expires > ?1 ORDER BY id";
    let rows = sqlx::query(sql).bind(now()).fetch_all(&store.readers).await?;
    let process = |row: &SqliteRow| {
        Ok(Process {
            id: uuid(row, "id")?,
            roles: json(row, "roles", |text| serde_json::from_str(text))?,
            listen: row.try_get("listen")?,
            version: row.try_get("version")?,
        })
    };
    rows.iter().map(process).collect()
}
