//! Groups of metrics that were pushed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_ports::{GroupTotals, PortError, PushedGroup, PushedGroups};
use metricsd_store::targets::json;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::targets::stored;
use crate::PostgresStore;
use crate::error::Fault;

#[async_trait]
impl PushedGroups for PostgresStore {
    async fn put_group(&self, group: &PushedGroup, expected: Option<Uuid>) -> Result<bool, PortError> {
        let texts = (json(&group.labels)?, json(&group.kinds)?);
        self.retried("write the pushed group", || put(self, group, expected, &texts)).await
    }

    async fn group(&self, id: Uuid) -> Result<Option<PushedGroup>, PortError> {
        self.retried("read the pushed group", || one(self, id)).await
    }

    async fn groups(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, PortError> {
        self.retried("list pushed groups", || list(self, after, limit)).await
    }

    async fn group_versions(&self) -> Result<Vec<(Uuid, Uuid)>, PortError> {
        self.retried("list the versions of pushed groups", || versions(self)).await
    }

    async fn remove_group(&self, id: Uuid, version: Option<Uuid>) -> Result<Option<PushedGroup>, PortError> {
        self.retried("remove the pushed group", || remove(self, id, version)).await
    }

    async fn group_totals(&self, without: Uuid) -> Result<GroupTotals, PortError> {
        self.retried("count pushed groups", || totals(self, without)).await
    }

    async fn other_kinds(
        &self,
        id: Uuid,
        families: &[String],
    ) -> Result<BTreeMap<String, String>, PortError> {
        self.retried("compare pushed groups", || kinds(self, id, families)).await
    }
}

async fn put(
    store: &PostgresStore,
    group: &PushedGroup,
    expected: Option<Uuid>,
    (labels, kinds): &(String, String),
) -> Result<bool, Fault> {
    let sql = match expected {
        None => include_str!("../sql/insert_pushed_group.sql"),
        Some(_) => include_str!("../sql/update_pushed_group.sql"),
    };
    let mut tx = crate::held::begin(&store.pool).await?;
    let query = sqlx::query(sql)
        .bind(group.id)
        .bind(group.version)
        .bind(labels)
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
    let sql = "DELETE FROM pushed_families WHERE group_id = $1";
    sqlx::query(sql).bind(group.id).execute(&mut *tx).await?;
    let sql = "INSERT INTO pushed_families (group_id, name, kind)
        SELECT $1, key, value FROM jsonb_each_text($2::text::jsonb)";
    sqlx::query(sql).bind(group.id).bind(kinds).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

fn group_of_row(row: &PgRow) -> Result<PushedGroup, Fault> {
    Ok(PushedGroup {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        labels: stored(row, "labels")?,
        source_id: row.try_get("source_id")?,
        families: row.try_get("families")?,
        kinds: stored(row, "kinds")?,
        series: u64::try_from(row.try_get::<i64, _>("series")?).unwrap_or_default(),
        pushed_at: row.try_get("pushed_at")?,
        failed_at: row.try_get("failed_at")?,
        expire_after: row.try_get("expire_after")?,
    })
}

async fn one(store: &PostgresStore, id: Uuid) -> Result<Option<PushedGroup>, Fault> {
    let sql = include_str!("../sql/pushed_group.sql");
    let row = sqlx::query(sql).bind(id).fetch_optional(&store.pool).await?;
    row.as_ref().map(group_of_row).transpose()
}

async fn list(store: &PostgresStore, after: Option<Uuid>, limit: usize) -> Result<Vec<PushedGroup>, Fault> {
    let sql = include_str!("../sql/pushed_groups.sql");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(&store.pool).await?;
    rows.iter().map(group_of_row).collect()
}

async fn versions(store: &PostgresStore) -> Result<Vec<(Uuid, Uuid)>, Fault> {
    let rows = sqlx::query("SELECT id, version FROM pushed_groups").fetch_all(&store.pool).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("version")?))).collect()
}

async fn remove(
    store: &PostgresStore,
    id: Uuid,
    version: Option<Uuid>,
) -> Result<Option<PushedGroup>, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    let sql = "SELECT version FROM pushed_groups WHERE id = $1 AND ($2 IS NULL OR version = $2) FOR UPDATE";
    if sqlx::query(sql).bind(id).bind(version).fetch_optional(&mut *tx).await?.is_none() {
        return Ok(None);
    }
    let sql = include_str!("../sql/pushed_group.sql");
    let row = sqlx::query(sql).bind(id).fetch_optional(&mut *tx).await?;
    sqlx::query("DELETE FROM pushed_groups WHERE id = $1").bind(id).execute(&mut *tx).await?;
    tx.commit().await?;
    row.as_ref().map(group_of_row).transpose()
}

async fn totals(store: &PostgresStore, without: Uuid) -> Result<GroupTotals, Fault> {
    let sql = "SELECT count(*) AS count, coalesce(sum(series), 0)::bigint AS series,
            coalesce(sum(bytes), 0)::bigint AS bytes
        FROM pushed_groups WHERE id <> $1";
    let row = sqlx::query(sql).bind(without).fetch_one(&store.pool).await?;
    let number =
        |name: &str| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(GroupTotals { groups: number("count")?, series: number("series")?, bytes: number("bytes")? })
}

async fn kinds(
    store: &PostgresStore,
    id: Uuid,
    families: &[String],
) -> Result<BTreeMap<String, String>, Fault> {
    let sql = "SELECT name, kind FROM pushed_families WHERE name = ANY($1) AND group_id <> $2";
    let rows = sqlx::query(sql).bind(families).bind(id).fetch_all(&store.pool).await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("kind")?))).collect()
}
