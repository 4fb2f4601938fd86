//! Rows of `collection_jobs`, and what is counted over them.

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_model::{BatchId, CollectionMethod, Job, JobStatus, Ledger, Millis, Missed, Refusal, Waited};
use metricsd_ports::integrity::{LedgerHours, add_job};
use metricsd_ports::{CollectionStats, JobCounts, JobFilter};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::targets::{millis, named, stored};
use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;

/// Rows that one call removes; more would hold their locks for long.
const PURGED_A_CALL: i64 = 5_000;

pub(super) async fn list(store: &PostgresStore, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, Fault> {
    let rows = sqlx::query(include_str!("../sql/list_jobs.sql"))
        .bind(filter.target_id.as_deref())
        .bind(filter.status.map(JobStatus::as_str))
        .bind(filter.before.map(bound))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(job_of_row).collect()
}

/// The batch's id is the row's.
pub(super) async fn of_batch(store: &PostgresStore, batch: BatchId) -> Result<Option<Job>, Fault> {
    let sql = "SELECT * FROM collection_jobs WHERE id = $1";
    let row = sqlx::query(sql).bind(batch.to_uuid()).fetch_optional(&store.pool).await?;
    row.as_ref().map(job_of_row).transpose()
}

pub(super) async fn purge(store: &PostgresStore, before: Millis) -> Result<u64, Fault> {
    crate::append::joined::purge(store, before).await?;
    let mut tx = crate::held::begin(&store.pool).await?;
    let sql = include_str!("../sql/purge_jobs.sql");
    let rows = sqlx::query(sql).bind(bound(before)).bind(PURGED_A_CALL).fetch_all(&mut *tx).await?;
    let mut hours = LedgerHours::new();
    for row in &rows {
        add_job(&mut hours, &job_of_row(row)?);
    }
    crate::integrity::keep_sums(&mut tx, &hours).await?;
    tx.commit().await?;
    Ok(rows.len() as u64)
}

pub(super) async fn stats(
    store: &PostgresStore,
    now: Millis,
    window: Duration,
) -> Result<CollectionStats, Fault> {
    let row = counted(store, now, window).await?;
    Ok(counts(&row)?.stats(count(&row, "targets")?, count(&row, "healthy")?, window))
}

pub(super) async fn job_counts(
    store: &PostgresStore,
    now: Millis,
    window: Duration,
) -> Result<JobCounts, Fault> {
    counts(&counted(store, now, window).await?)
}

async fn counted(store: &PostgresStore, now: Millis, window: Duration) -> Result<PgRow, Fault> {
    let since = now.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
    let query = sqlx::query(include_str!("../sql/stats.sql")).bind(bound(since)).bind(bound(now));
    Ok(query.fetch_one(&store.pool).await?)
}

fn counts(row: &PgRow) -> Result<JobCounts, Fault> {
    Ok(JobCounts {
        total_stored: count(row, "samples")?,
        jobs: count(row, "jobs")?,
        failed: count(row, "failed")?,
        stored: count(row, "stored")?,
        scrapes: count(row, "scrapes")?,
        scrape_ms: row.try_get("scrape_ms")?,
    })
}

/// A number that is never below zero.
fn count(row: &PgRow, column: &str) -> Result<u64, Fault> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn job_of_row(row: &PgRow) -> Result<Job, Fault> {
    let refused: BTreeMap<Refusal, u64> = stored(row, "refused")?;
    Ok(Job {
        job_id: row.try_get("job_id")?,
        target_id: row.try_get("target_id")?,
        source_id: row.try_get("source_id")?,
        collection_method: named(row, "collection_method", CollectionMethod::from_name)?,
        status: named(row, "status", JobStatus::from_name)?,
        metrics_collected: count(row, "metrics_collected")?,
        collection_duration_ms: row.try_get::<Option<f64>, _>("collection_duration_ms")?.unwrap_or(0.0),
        error_details: row.try_get("error_details")?,
        ledger: Ledger {
            received: count(row, "received")?,
            dropped: count(row, "dropped")?,
            refused,
            stored: count(row, "stored")?,
            added: count(row, "added")?,
            missed: stored::<Option<BTreeMap<Missed, u64>>>(row, "missed")?.unwrap_or_default(),
            waited: row.try_get::<Option<&str>, _>("waited")?.and_then(Waited::from_name),
        },
        created_at: millis(row, "created_at")?.unwrap_or_default(),
    })
}
