//! Rows of `metric_targets`. Every change takes a revision in its own transaction; since writers come one after
//! another, revisions become visible in order.

use futures::TryStreamExt;
use metricsd_model::{
    CollectionMethod, FailureReason, Health, HealthStatus, MetricSource, Millis, OriginKind, ScrapeConfig,
    Target, TargetSpec,
};
use metricsd_ports::{Created, TargetChange, TargetFilter};
use metricsd_store::targets::{SpecColumns, origin};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{count, json, named, uuid, written};
use crate::error::{Fault, damaged};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

const CREATE: &str = "INSERT INTO metric_targets (revision, target_id, target_url, source_type, scrape_config, labels,
        enabled, source_id, collection_method, filters, retention_policy, id, health_status)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, CASE WHEN ?7 THEN 'unknown' ELSE 'disabled' END)
    RETURNING *";

/// What is on the right of an assignment is what the row held before.
const REPLACE: &str = "UPDATE metric_targets
    SET revision = ?1, target_url = ?3, source_type = ?4, scrape_config = ?5, labels = ?6, enabled = ?7,
        source_id = ?8, collection_method = ?9, filters = ?10, retention_policy = ?11, origin = 'api', expires = NULL,
        health_status = CASE WHEN enabled = ?7 THEN health_status WHEN ?7 THEN 'unknown' ELSE 'disabled' END,
        health_reason = CASE WHEN enabled = ?7 THEN health_reason END,
        health_error = CASE WHEN enabled = ?7 THEN health_error END
    WHERE target_id = ?2 AND NOT deleting AND origin <> 'discovered'
    RETURNING *";

const CHANGE: &str = "UPDATE metric_targets
    SET revision = ?1, enabled = coalesce(?3, enabled), labels = coalesce(?4, labels),
        health_status = CASE
            WHEN coalesce(?3, enabled) = enabled THEN health_status
            WHEN ?3 THEN 'unknown'
            ELSE 'disabled'
        END,
        health_reason = CASE WHEN coalesce(?3, enabled) = enabled THEN health_reason END,
        health_error = CASE WHEN coalesce(?3, enabled) = enabled THEN health_error END
    WHERE target_id = ?2 AND NOT deleting AND origin <> 'discovered'
    RETURNING *";

pub(super) async fn create(store: &SqliteStore, spec: &TargetSpec) -> Result<Created, Fault> {
    let columns = SpecColumns::of(spec)?;
    let mut tx = store.write().await?;
    let created = insert(store, &mut tx, spec, columns).await?;
    tx.commit().await?;
    if matches!(created, Created::New(_)) {
        tell(store);
    }
    Ok(created)
}

/// Creates those that there are not, in one transaction.
pub(super) async fn create_all(
    store: &SqliteStore,
    specs: &[TargetSpec],
) -> Result<Vec<Option<Created>>, Fault> {
    let columns = specs.iter().map(SpecColumns::of).collect::<Result<Vec<_>, _>>()?;
    let mut created = Vec::with_capacity(specs.len());
    let mut tx = store.write().await?;
    for (spec, columns) in specs.iter().zip(columns) {
        created.push(Some(insert(store, &mut tx, spec, columns).await?));
    }
    tx.commit().await?;
    tell(store);
    Ok(created)
}

async fn insert(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    spec: &TargetSpec,
    columns: SpecColumns,
) -> Result<Created, Fault> {
    if let Some(target) = one(store, &mut *tx, &spec.target_id).await? {
        return Ok(Created::Existing(target));
    }
    let revision = next_revision(tx).await?;
    let query = bind_spec(sqlx::query(CREATE).bind(revision), columns, spec);
    let row = query.bind(Uuid::new_v4().to_string()).fetch_one(&mut *tx).await?;
    Ok(Created::New(target_of_row(store, &row)?))
}

pub(super) async fn replace(store: &SqliteStore, spec: &TargetSpec) -> Result<Option<Target>, Fault> {
    let columns = SpecColumns::of(spec)?;
    update(store, REPLACE, |query| bind_spec(query, columns, spec)).await
}

pub(super) async fn change(
    store: &SqliteStore,
    target_id: &str,
    change: &TargetChange,
) -> Result<Option<Target>, Fault> {
    let labels = change.labels.as_ref().map(|labels| written(serde_json::to_string(labels))).transpose()?;
    update(store, CHANGE, |query| query.bind(target_id).bind(change.enabled).bind(labels)).await
}

pub(super) async fn request_deletion(store: &SqliteStore, target_id: &str) -> Result<Option<Target>, Fault> {
    let sql = "UPDATE metric_targets SET revision = ?1, deleting = 1
        WHERE target_id = ?2 AND NOT deleting AND origin <> 'discovered' RETURNING *";
    match update(store, sql, |query| query.bind(target_id)).await? {
        Some(target) => Ok(Some(target)),
        // It was asked for before, or there is no such target.
        None => Ok(one(store, &store.readers, target_id).await?.filter(|target| target.deleting)),
    }
}

pub(super) async fn finish_deletion(store: &SqliteStore, target_id: &str) -> Result<bool, Fault> {
    let mut tx = store.write().await?;
    let removed = sqlx::query("DELETE FROM metric_targets WHERE target_id = ?1 AND deleting")
        .bind(target_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(removed.rows_affected() > 0)
}

pub(super) async fn request_scrape(
    store: &SqliteStore,
    target_id: &str,
    at: Millis,
) -> Result<Option<Target>, Fault> {
    let sql =
        "UPDATE metric_targets SET revision = ?1, scrape_requested = ?3 WHERE target_id = ?2 AND NOT deleting
        RETURNING *";
    update(store, sql, |query| query.bind(target_id).bind(at)).await
}

pub(super) async fn one(
    store: &SqliteStore,
    executor: impl SqliteExecutor<'_>,
    target_id: &str,
) -> Result<Option<Target>, Fault> {
    let query = sqlx::query("SELECT * FROM metric_targets WHERE target_id = ?1").bind(target_id);
    query.fetch_optional(executor).await?.map(|row| target_of_row(store, &row)).transpose()
}

pub(super) async fn list(
    store: &SqliteStore,
    filter: &TargetFilter,
    limit: usize,
) -> Result<Vec<Target>, Fault> {
    let sql = "SELECT * FROM metric_targets
        WHERE (?1 IS NULL OR source_id = ?1) AND (?2 IS NULL OR health_status = ?2)
          AND (?3 IS NULL OR enabled = ?3) AND (?4 IS NULL OR target_id > ?4) AND (?5 IS NULL OR origin = ?5)
        ORDER BY target_id";
    let query = sqlx::query(sql)
        .bind(filter.source_id.as_deref())
        .bind(filter.health.map(HealthStatus::as_str))
        .bind(filter.enabled)
        .bind(filter.after.as_deref())
        .bind(filter.origin.map(OriginKind::as_str));
    let mut rows = query.fetch(&store.readers);
    let mut targets = Vec::new();
    while targets.len() < limit
        && let Some(row) = rows.try_next().await?
    {
        let target = target_of_row(store, &row)?;
        // An absent label has the empty value.
        let value = |name: &String| target.spec.labels.get(name).map_or("", String::as_str);
        if filter.labels.iter().all(|(name, wanted)| value(name) == wanted) {
            targets.push(target);
        }
    }
    Ok(targets)
}

pub(super) async fn changes(store: &SqliteStore, revision: i64) -> Result<Vec<Target>, Fault> {
    let rows = sqlx::query("SELECT * FROM metric_targets WHERE revision > ?1 ORDER BY revision")
        .bind(revision)
        .fetch_all(&store.readers)
        .await?;
    rows.iter().map(|row| target_of_row(store, row)).collect()
}

/// Runs a statement that changes one target; its first parameter is the new revision. Where it finds none, no
/// revision is taken.
async fn update<'q>(
    store: &SqliteStore,
    sql: &'static str,
    bind: impl FnOnce(Query<'q>) -> Query<'q>,
) -> Result<Option<Target>, Fault> {
    let mut tx = store.write().await?;
    let revision = next_revision(&mut tx).await?;
    let query = bind(sqlx::query(sql).bind(revision));
    let Some(row) = query.fetch_optional(&mut *tx).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    let target = target_of_row(store, &row)?;
    tx.commit().await?;
    tell(store);
    Ok(Some(target))
}

pub(super) async fn next_revision(tx: &mut SqliteConnection) -> Result<i64, Fault> {
    let row =
        sqlx::query("UPDATE catalogue SET revision = revision + 1 RETURNING revision").fetch_one(tx).await?;
    Ok(row.try_get(0)?)
}

/// Wakes those of this process who wait for changes.
pub(super) fn tell(store: &SqliteStore) {
    store.changed.send_modify(|count| *count = count.wrapping_add(1));
}

/// Binds the second to the eleventh parameter.
pub(super) fn bind_spec<'q>(query: Query<'q>, columns: SpecColumns, spec: &'q TargetSpec) -> Query<'q> {
    query
        .bind(&spec.target_id)
        .bind(&spec.scrape_config.target_url)
        .bind(spec.source_type.as_str())
        .bind(columns.scrape_config)
        .bind(columns.labels)
        .bind(spec.enabled)
        .bind(&spec.source_id)
        .bind(spec.collection_method.as_str())
        .bind(columns.filters)
        .bind(columns.retention_policy)
}

pub(super) fn target_of_row(store: &SqliteStore, row: &SqliteRow) -> Result<Target, Fault> {
    let mut scrape_config: ScrapeConfig = json(row, "scrape_config", |text| serde_json::from_str(text))?;
    scrape_config.options = store.options_of_targets.share(scrape_config.options);
    let origin = origin(
        row.try_get("origin")?,
        row.try_get("expires")?,
        row.try_get("job")?,
        row.try_get("provider")?,
    )
    .ok_or_else(|| damaged("a target in the database has an unknown origin"))?;
    let spec = TargetSpec {
        target_id: row.try_get("target_id")?,
        source_id: row.try_get("source_id")?,
        source_type: named(row, "source_type", MetricSource::from_name)?,
        collection_method: named(row, "collection_method", CollectionMethod::from_name)?,
        scrape_config,
        labels: json(row, "labels", |text| serde_json::from_str(text))?,
        filters: json(row, "filters", |text| serde_json::from_str(text))?,
        retention_policy: json(row, "retention_policy", |text| serde_json::from_str(text))?,
        enabled: row.try_get("enabled")?,
    };
    let reason: Option<&str> = row.try_get("health_reason")?;
    let health = Health {
        status: named(row, "health_status", HealthStatus::from_name)?,
        reason: reason.and_then(FailureReason::from_name),
        error: row.try_get("health_error")?,
        last_scrape: row.try_get("last_scrape")?,
        scrape_duration_ms: row.try_get("scrape_duration_ms")?,
        samples_scraped: count(row, "samples_scraped")?,
    };
    Ok(Target {
        id: uuid(row, "id")?,
        spec,
        origin,
        health,
        created_at: row.try_get("created_at")?,
        revision: row.try_get("revision")?,
        deleting: row.try_get("deleting")?,
        scrape_requested: row.try_get("scrape_requested")?,
    })
}
