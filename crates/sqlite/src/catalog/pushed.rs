//! Groups of metrics that were pushed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_ports::{GroupTotals, PortError, PushedGroup, PushedGroups};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::told;
use crate::SqliteStore;
use crate::columns::{json, written};
use crate::error::Fault;

const GROUPS: &str =
    "SELECT g.*, (SELECT json_group_object(name, kind) FROM pushed_families WHERE group_id = g.id) AS kinds
    FROM pushed_groups g";

#[async_trait]
impl PushedGroups for SqliteStore {
    async fn put_group(&self, group: &PushedGroup, expected: Option<Uuid>) -> Result<bool, PortError> {
        told("write the pushed group", put(self, group, expected).await)
    }

    async fn group(&self, id: Uuid) -> Result<Option<PushedGroup>, PortError> {
        told("read the pushed group", one(self, id).await)
    }

    async fn groups(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, PortError> {
        told("list pushed groups", list(self, after, limit).await)
    }

    async fn group_versions(&self) -> Result<Vec<(Uuid, Uuid)>, PortError> {
        told("list the versions of pushed groups", versions(self).await)
    }

    async fn remove_group(&self, id: Uuid, version: Option<Uuid>) -> Result<Option<PushedGroup>, PortError> {
        told("remove the pushed group", remove(self, id, version).await)
    }

    async fn group_totals(&self, without: Uuid) -> Result<GroupTotals, PortError> {
        told("count pushed groups", totals(self, without).await)
    }

    async fn other_kinds(
        &self,
        id: Uuid,
        families: &[String],
    ) -> Result<BTreeMap<String, String>, PortError> {
        told("compare pushed groups", kinds(self, id, families).await)
    }
}

async fn put(store: &SqliteStore, group: &PushedGroup, expected: Option<Uuid>) -> Result<bool, Fault> {
    let sql = match expected {
        None => {
            "INSERT INTO pushed_groups (id, version, labels, source_id, series, bytes, pushed_at, failed_at,
                expire_after, families)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING"
        }
        Some(_) => {
            "UPDATE pushed_groups SET version = ?2, labels = ?3, source_id = ?4, series = ?5, bytes = ?6,
                pushed_at = ?7, failed_at = ?8, expire_after = ?9, families = ?10
            WHERE id = ?1 AND version = ?11"
        }
    };
    let mut tx = store.write().await?;
    let query = sqlx::query(sql)
        .bind(group.id)
        .bind(group.version)
        .bind(written(serde_json::to_string(&group.labels))?)
        .bind(&group.source_id)
        .bind(i64::try_from(group.series).unwrap_or(i64::MAX))
        .bind(i64::try_from(group.families.len()).unwrap_or(i64::MAX))
        .bind(group.pushed_at)
        .bind(group.failed_at)
        .bind(group.expire_after)
        .bind(&group.families);
    let query = match expected {
        Some(version) => query.bind(version),
        None => query,
    };
    if query.execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM pushed_families WHERE group_id = ?1";
    sqlx::query(sql).bind(group.id).execute(&mut *tx).await?;
    let sql = "INSERT INTO pushed_families (group_id, name, kind) SELECT ?1, key, value FROM json_each(?2)";
    let kinds = written(serde_json::to_string(&group.kinds))?;
    sqlx::query(sql).bind(group.id).bind(kinds).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

fn group_of_row(row: &SqliteRow) -> Result<PushedGroup, Fault> {
    Ok(PushedGroup {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        labels: json(row, "labels", |text| serde_json::from_str(text))?,
        source_id: row.try_get("source_id")?,
        families: row.try_get("families")?,
        kinds: json(row, "kinds", |text| serde_json::from_str(text))?,
        series: u64::try_from(row.try_get::<i64, _>("series")?).unwrap_or_default(),
        pushed_at: row.try_get("pushed_at")?,
        failed_at: row.try_get("failed_at")?,
        expire_after: row.try_get("expire_after")?,
    })
}

async fn one(store: &SqliteStore, id: Uuid) -> Result<Option<PushedGroup>, Fault> {
    let sql = sqlx::AssertSqlSafe(format!("{GROUPS} WHERE g.id = ?1"));
    let row = sqlx::query(sql).bind(id).fetch_optional(&store.readers).await?;
    row.as_ref().map(group_of_row).transpose()
}

async fn list(store: &SqliteStore, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, Fault> {
    let sql = sqlx::AssertSqlSafe(format!("{GROUPS} WHERE ?1 IS NULL OR g.id > ?1 ORDER BY g.id LIMIT ?2"));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(&store.readers).await?;
    rows.iter().map(group_of_row).collect()
}

async fn versions(store: &SqliteStore) -> Result<Vec<(Uuid, Uuid)>, Fault> {
    let rows = sqlx::query("SELECT id, version FROM pushed_groups").fetch_all(&store.readers).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("version")?))).collect()
}

async fn remove(store: &SqliteStore, id: Uuid, version: Option<Uuid>) -> Result<Option<PushedGroup>, Fault> {
    let mut tx = store.write().await?;
    let sql = sqlx::AssertSqlSafe(format!("{GROUPS} WHERE g.id = ?1 AND (?2 IS NULL OR g.version = ?2)"));
    let Some(row) = sqlx::query(sql).bind(id).bind(version).fetch_optional(&mut *tx).await? else {
        return Ok(None);
    };
    let group = group_of_row(&row)?;
    for sql in ["DELETE FROM pushed_families WHERE group_id = ?1", "DELETE FROM pushed_groups WHERE id = ?1"]
    {
        sqlx::query(sql).bind(id).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Some(group))
}

async fn totals(store: &SqliteStore, without: Uuid) -> Result<GroupTotals, Fault> {
    let sql = "SELECT count(*) AS count, coalesce(sum(series), 0) AS series, coalesce(sum(bytes), 0) AS bytes
        FROM pushed_groups WHERE id <> ?1";
    let row = sqlx::query(sql).bind(without).fetch_one(&store.readers).await?;
    let number =
        |name: &str| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(GroupTotals { groups: number("count")?, series: number("series")?, bytes: number("bytes")? })
}

async fn kinds(
    store: &SqliteStore,
    id: Uuid,
    families: &[String],
) -> Result<BTreeMap<String, String>, Fault> {
    let sql = "SELECT name, kind FROM pushed_families
        WHERE name IN (SELECT value FROM json_each(?1)) AND group_id <> ?2";
    let names = written(serde_json::to_string(families))?;
    let rows = sqlx::query(sql).bind(names).bind(id).fetch_all(&store.readers).await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("kind")?))).collect()
}
