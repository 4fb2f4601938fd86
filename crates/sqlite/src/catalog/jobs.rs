//! Rows of `collection_jobs`, and what is counted over them.

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_model::{BatchId, CollectionMethod, Job, JobStatus, Ledger, Millis, Missed, Waited};
use metricsd_ports::integrity::{LedgerHours, add_job};
use metricsd_ports::{CollectionStats, JobCounts, JobFilter};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::SqliteStore;
use crate::columns::{count, json, named, signed_len};
use crate::error::Fault;

/// Rows that one call removes; more would keep other writers waiting.
const PURGED_A_CALL: i64 = 5_000;

const STATS: &str =
    "SELECT t.targets, t.healthy, c.samples, j.jobs, j.failed, j.stored, j.scrapes, j.scrape_ms
    FROM (
        SELECT count(*) AS targets, count(*) FILTER (WHERE health_status = 'healthy') AS healthy
        FROM metric_targets WHERE NOT deleting
    ) AS t, counters AS c, (
        SELECT count(*) AS jobs, count(*) FILTER (WHERE status = 'failed') AS failed,
               coalesce(sum(stored), 0) AS stored,
               count(collection_duration_ms) FILTER (WHERE collection_method = 'PULL_SCRAPING') AS scrapes,
               coalesce(sum(collection_duration_ms) FILTER (WHERE collection_method = 'PULL_SCRAPING'), 0.0)
                   AS scrape_ms
        FROM collection_jobs WHERE created_at > ?1 AND created_at <= ?2
    ) AS j";

pub(super) async fn list(store: &SqliteStore, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, Fault> {
    // One text for each use, so that each has an index to go by.
    let sql = match filter.target_id {
        Some(_) => {
            "SELECT * FROM collection_jobs
            WHERE target_id = ?1 AND created_at < ?3 AND (?2 IS NULL OR status = ?2)
            ORDER BY created_at DESC, rowid DESC LIMIT ?4"
        }
        None => {
            "SELECT * FROM collection_jobs
            WHERE ?1 IS NULL AND created_at < ?3 AND (?2 IS NULL OR status = ?2)
            ORDER BY created_at DESC, rowid DESC LIMIT ?4"
        }
    };
    let rows = sqlx::query(sql)
        .bind(filter.target_id.as_deref())
        .bind(filter.status.map(JobStatus::as_str))
        .bind(filter.before.unwrap_or(Millis::MAX))
        .bind(signed_len(limit))
        .fetch_all(&store.readers)
        .await?;
    rows.iter().map(job_of_row).collect()
}

/// The batch's id is the row's.
pub(super) async fn of_batch(store: &SqliteStore, batch: BatchId) -> Result<Option<Job>, Fault> {
    let sql = "SELECT * FROM collection_jobs WHERE id = ?1";
    let row = sqlx::query(sql).bind(batch.to_uuid().to_string()).fetch_optional(&store.readers).await?;
    row.as_ref().map(job_of_row).transpose()
}

pub(super) async fn purge(store: &SqliteStore, before: Millis) -> Result<u64, Fault> {
    crate::append::joined::purge(store, before).await?;
    let mut tx = store.write().await?;
    let rows = sqlx::query(
        "DELETE FROM collection_jobs WHERE rowid IN (
            SELECT rowid FROM collection_jobs WHERE created_at < ?1 ORDER BY created_at LIMIT ?2
        ) RETURNING *",
    )
    .bind(before)
    .bind(PURGED_A_CALL)
    .fetch_all(&mut *tx)
    .await?;
    let mut hours = LedgerHours::new();
    for row in &rows {
        add_job(&mut hours, &job_of_row(row)?);
    }
    crate::integrity::keep_sums(&mut tx, &hours).await?;
    tx.commit().await?;
    Ok(rows.len() as u64)
}

pub(super) async fn stats(
    store: &SqliteStore,
    now: Millis,
    window: Duration,
) -> Result<CollectionStats, Fault> {
    let row = counted(store, now, window).await?;
    Ok(counts(&row)?.stats(count(&row, "targets")?, count(&row, "healthy")?, window))
}

pub(super) async fn job_counts(
    store: &SqliteStore,
    now: Millis,
    window: Duration,
) -> Result<JobCounts, Fault> {
    counts(&counted(store, now, window).await?)
}

async fn counted(store: &SqliteStore, now: Millis, window: Duration) -> Result<SqliteRow, Fault> {
    let since = now.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
    Ok(sqlx::query(STATS).bind(since).bind(now).fetch_one(&store.readers).await?)
}

fn counts(row: &SqliteRow) -> Result<JobCounts, Fault> {
    Ok(JobCounts {
        total_stored: count(row, "samples")?,
        jobs: count(row, "jobs")?,
        failed: count(row, "failed")?,
        stored: count(row, "stored")?,
        scrapes: count(row, "scrapes")?,
        scrape_ms: row.try_get("scrape_ms")?,
    })
}

fn job_of_row(row: &SqliteRow) -> Result<Job, Fault> {
    let duration: Option<f64> = row.try_get("collection_duration_ms")?;
    Ok(Job {
        job_id: row.try_get("job_id")?,
        target_id: row.try_get("target_id")?,
        source_id: row.try_get("source_id")?,
        collection_method: named(row, "collection_method", CollectionMethod::from_name)?,
        status: named(row, "status", JobStatus::from_name)?,
        metrics_collected: count(row, "metrics_collected")?,
        collection_duration_ms: duration.unwrap_or(0.0),
        error_details: row.try_get("error_details")?,
        ledger: Ledger {
            received: count(row, "received")?,
            dropped: count(row, "dropped")?,
            refused: json(row, "refused", |text| serde_json::from_str(text))?,
            stored: count(row, "stored")?,
            added: count(row, "added")?,
            missed: json(row, "missed", |text| serde_json::from_str::<Option<BTreeMap<Missed, u64>>>(text))?
                .unwrap_or_default(),
            waited: row.try_get::<Option<&str>, _>("waited")?.and_then(Waited::from_name),
        },
        created_at: row.try_get("created_at")?,
    })
}
