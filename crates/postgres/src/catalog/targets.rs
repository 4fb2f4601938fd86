//! Rows of `metric_targets`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use metricsd_model::{
    CollectionMethod, FailureReason, Health, HealthStatus, MetricSource, Millis, OriginKind, ScrapeConfig,
    Target, TargetSpec,
};
use metricsd_ports::{Created, ErrorKind, PortError, TargetChange, TargetFilter};
use metricsd_store::targets::{SpecColumns, json, origin};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Column, Row};

use crate::PostgresStore;
use crate::binary::bytes;
use crate::error::{Fault, damaged};

pub(super) async fn create(store: &PostgresStore, spec: &TargetSpec) -> Result<Created, Fault> {
    let columns = Written::of(spec)?;
    // A target that was in the way may be gone when it is looked at: then its id is free again.
    loop {
        if let Some(target) = columns.write(store, spec, include_str!("../sql/create_target.sql")).await? {
            return Ok(Created::New(target));
        }
        if let Some(target) = one(store, &spec.target_id).await? {
            return Ok(Created::Existing(target));
        }
    }
}

/// Creates those that there are not; no answer for the others.
pub(super) async fn create_all(
    store: &PostgresStore,
    specs: &[TargetSpec],
) -> Result<Vec<Option<Created>>, Fault> {
    let columns = specs.iter().map(SpecColumns::of).collect::<Result<Vec<_>, _>>()?;
    let texts = |of: fn(&TargetSpec) -> &str| specs.iter().map(of).collect::<Vec<_>>();
    let written = |of: fn(&SpecColumns) -> &str| columns.iter().map(of).collect::<Vec<_>>();
    let rows = sqlx::query(include_str!("../sql/create_targets.sql"))
        .bind(texts(|spec| &spec.target_id))
        .bind(texts(|spec| &spec.scrape_config.target_url))
        .bind(texts(|spec| spec.source_type.as_str()))
        .bind(written(|columns| &columns.scrape_config))
        .bind(written(|columns| &columns.labels))
        .bind(specs.iter().map(|spec| spec.enabled).collect::<Vec<_>>())
        .bind(texts(|spec| &spec.source_id))
        .bind(texts(|spec| spec.collection_method.as_str()))
        .bind(written(|columns| &columns.filters))
        .bind(columns.iter().map(|columns| columns.retention_policy.as_deref()).collect::<Vec<_>>())
        .fetch_all(&store.pool)
        .await?;
    let mut new = HashMap::with_capacity(rows.len());
    for row in &rows {
        let target = target_of_row(store, row)?;
        new.insert(target.spec.target_id.clone(), target);
    }
    Ok(specs.iter().map(|spec| new.remove(&spec.target_id).map(Created::New)).collect())
}

pub(super) async fn replace(store: &PostgresStore, spec: &TargetSpec) -> Result<Option<Target>, Fault> {
    Written::of(spec)?.write(store, spec, include_str!("../sql/replace_target.sql")).await
}

pub(super) async fn one(store: &PostgresStore, target_id: &str) -> Result<Option<Target>, Fault> {
    let sql = include_str!("../sql/target.sql");
    optional(store, sqlx::query(sql).bind(target_id).fetch_optional(&store.pool).await?)
}

pub(super) async fn list(
    store: &PostgresStore,
    filter: &TargetFilter,
    limit: usize,
) -> Result<Vec<Target>, Fault> {
    // An absent label has the empty value, so only the others narrow by containment.
    let (absent, present): (Vec<_>, Vec<_>) = filter.labels.iter().partition(|(_, value)| value.is_empty());
    let one_each: Vec<String> = present
        .iter()
        .map(|(name, value)| json(&std::collections::BTreeMap::from([(name, value)])))
        .collect::<Result<_, _>>()?;
    let rows = sqlx::query(include_str!("../sql/list_targets.sql"))
        .bind(filter.source_id.as_deref())
        .bind(filter.health.map(HealthStatus::as_str))
        .bind(filter.enabled)
        .bind(filter.after.as_deref())
        .bind(one_each)
        .bind(absent.into_iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(filter.origin.map(OriginKind::as_str))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(|row| target_of_row(store, row)).collect()
}

pub(super) async fn change(
    store: &PostgresStore,
    target_id: &str,
    change: &TargetChange,
) -> Result<Option<Target>, Fault> {
    let row = sqlx::query(include_str!("../sql/change_target.sql"))
        .bind(target_id)
        .bind(change.enabled)
        .bind(change.labels.as_ref().map(json).transpose()?)
        .fetch_optional(&store.pool)
        .await?;
    optional(store, row)
}

pub(super) async fn request_deletion(
    store: &PostgresStore,
    target_id: &str,
) -> Result<Option<Target>, Fault> {
    let sql = include_str!("../sql/request_deletion.sql");
    match sqlx::query(sql).bind(target_id).fetch_optional(&store.pool).await? {
        Some(row) => target_of_row(store, &row).map(Some),
        // It was asked for before, or there is no such target.
        None => Ok(one(store, target_id).await?.filter(|target| target.deleting)),
    }
}

pub(super) async fn finish_deletion(store: &PostgresStore, target_id: &str) -> Result<bool, Fault> {
    let sql = "DELETE FROM metric_targets WHERE target_id = $1 AND deleting";
    Ok(sqlx::query(sql).bind(target_id).execute(&store.pool).await?.rows_affected() > 0)
}

pub(super) async fn request_scrape(
    store: &PostgresStore,
    target_id: &str,
    at: Millis,
) -> Result<Option<Target>, Fault> {
    let row = sqlx::query(include_str!("../sql/request_scrape.sql"))
        .bind(target_id)
        .bind(time(at)?)
        .fetch_optional(&store.pool)
        .await?;
    optional(store, row)
}

pub(super) async fn changes(store: &PostgresStore, revision: i64) -> Result<Vec<Target>, Fault> {
    let sql = include_str!("../sql/changed_targets.sql");
    let rows = sqlx::query(sql).bind(revision).fetch_all(&store.pool).await?;
    rows.iter().map(|row| target_of_row(store, row)).collect()
}

/// A time as the database takes it.
pub(super) fn time(millis: Millis) -> Result<DateTime<Utc>, Fault> {
    DateTime::from_timestamp_millis(millis).ok_or_else(|| invalid("a time is outside of the calendar").into())
}

fn invalid(message: &str) -> PortError {
    PortError::new(ErrorKind::Invalid, message)
}

/// A specification as parameters.
struct Written(SpecColumns);

impl Written {
    fn of(spec: &TargetSpec) -> Result<Self, Fault> {
        Ok(Self(SpecColumns::of(spec)?))
    }

    async fn write(
        &self,
        store: &PostgresStore,
        spec: &TargetSpec,
        sql: &'static str,
    ) -> Result<Option<Target>, Fault> {
        let row = sqlx::query(sql)
            .bind(&spec.target_id)
            .bind(&spec.scrape_config.target_url)
            .bind(spec.source_type.as_str())
            .bind(&self.0.scrape_config)
            .bind(&self.0.labels)
            .bind(spec.enabled)
            .bind(&spec.source_id)
            .bind(spec.collection_method.as_str())
            .bind(&self.0.filters)
            .bind(&self.0.retention_policy)
            .fetch_optional(&store.pool)
            .await?;
        optional(store, row)
    }
}

pub(super) fn optional(store: &PostgresStore, row: Option<PgRow>) -> Result<Option<Target>, Fault> {
    row.map(|row| target_of_row(store, &row)).transpose()
}

pub(super) fn target_of_row(store: &PostgresStore, row: &PgRow) -> Result<Target, Fault> {
    let mut scrape_config: ScrapeConfig = stored(row, "scrape_config")?;
    scrape_config.options = store.options_of_targets.share(scrape_config.options);
    let origin = origin(
        row.try_get("origin")?,
        millis(row, "expires")?,
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
        labels: stored(row, "labels")?,
        filters: stored(row, "filters")?,
        retention_policy: stored(row, "retention_policy")?,
        enabled: row.try_get("enabled")?,
    };
    let reason: Option<&str> = row.try_get("health_reason")?;
    let health = Health {
        status: named(row, "health_status", HealthStatus::from_name)?,
        reason: reason.and_then(FailureReason::from_name),
        error: row.try_get("health_error")?,
        last_scrape: millis(row, "last_scrape")?,
        scrape_duration_ms: row.try_get("scrape_duration_ms")?,
        samples_scraped: u64::try_from(row.try_get::<i64, _>("samples_scraped")?).unwrap_or(0),
    };
    Ok(Target {
        id: row.try_get("id")?,
        spec,
        origin,
        health,
        created_at: millis(row, "created_at")?.unwrap_or_default(),
        revision: row.try_get("revision")?,
        deleting: row.try_get("deleting")?,
        scrape_requested: millis(row, "scrape_requested")?,
    })
}

/// A name out of a closed set.
pub(super) fn named<T>(row: &PgRow, column: &str, read: fn(&str) -> Option<T>) -> Result<T, Fault> {
    let name: &str = row.try_get(column)?;
    read(name).ok_or_else(|| damaged(format!("unknown {column} {name:?} in the database")))
}

pub(super) fn millis(row: &PgRow, column: &str) -> Result<Option<Millis>, Fault> {
    let time: Option<DateTime<Utc>> = row.try_get(column)?;
    Ok(time.map(|time| time.timestamp_millis()))
}

/// A value that is kept as jsonb: one byte of version, then the text.
pub(crate) fn stored<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, Fault> {
    let at = row.try_column(column)?.ordinal();
    let text = bytes(row, at)?.and_then(|bytes| bytes.get(1..)).unwrap_or(b"null");
    serde_json::from_slice(text)
        .map_err(|error| damaged(format!("damaged {column} in the database")).caused_by(error))
}
