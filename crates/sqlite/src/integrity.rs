//! The integrity ledger: sums over jobs, and over what is left of those that were removed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_codec::pack::unpack_floats;
use metricsd_model::{CollectionMethod, Millis, Missed, Refusal};
use metricsd_ports::integrity::{
    Difference, HOUR, Integrity, LedgerHours, LedgerKey, LedgerRange, LedgerSum, MAX_DIFFERING, Recount,
};
use metricsd_ports::{ErrorKind, PortError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{count, json, signed, signed_len, uuid, written};
use crate::error::{Fault, damaged};

const SUMS: &str =
    "SELECT created_at / 3600000 * 3600000 AS hour, target_id, source_id, count(*) AS collections,
        count(*) FILTER (WHERE status = 'failed') AS failed,
        count(*) FILTER (WHERE waited = 'spool') AS spooled, count(*) FILTER (WHERE waited = 'log') AS logged,
        sum(received) AS received, sum(dropped) AS dropped, sum(stored) AS stored, sum(added) AS added
    FROM collection_jobs
    WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3)
    GROUP BY 1, 2, 3 LIMIT ?4";

/// Counts by reason, which [`SUMS`] leaves out.
const REASONS: &str =
    "SELECT created_at / 3600000 * 3600000 AS hour, target_id, source_id, 'refused' AS kind, reason.key AS name,
        sum(reason.value) AS count
    FROM collection_jobs, json_each(refused) AS reason
    WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3) AND refused <> '{}'
    GROUP BY 1, 2, 3, 5
    UNION ALL
    SELECT created_at / 3600000 * 3600000, target_id, source_id, 'missed', reason.key, sum(reason.value)
    FROM collection_jobs, json_each(missed) AS reason
    WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3) AND missed IS NOT NULL
    GROUP BY 1, 2, 3, 5";

/// The sum of a range, of what is kept of jobs and of what was removed.
const TOTAL: &str = "SELECT coalesce(sum(collections), 0) AS collections, coalesce(sum(failed), 0) AS failed,
        coalesce(sum(spooled), 0) AS spooled, coalesce(sum(logged), 0) AS logged,
        coalesce(sum(received), 0) AS received, coalesce(sum(dropped), 0) AS dropped,
        coalesce(sum(stored), 0) AS stored, coalesce(sum(added), 0) AS added
    FROM (
        SELECT count(*) AS collections, count(*) FILTER (WHERE status = 'failed') AS failed,
            count(*) FILTER (WHERE waited = 'spool') AS spooled, count(*) FILTER (WHERE waited = 'log') AS logged,
            sum(received) AS received, sum(dropped) AS dropped, sum(stored) AS stored, sum(added) AS added
        FROM collection_jobs
        WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3)
        UNION ALL
        SELECT sum(collections), sum(failed), sum(spooled), sum(logged),
            sum(received), sum(dropped), sum(stored), sum(added)
        FROM ledger_hours
        WHERE hour > ?1 - 3600000 AND hour < ?2 AND (?3 IS NULL OR target_id = ?3)
    )";

/// Counts by reason, which [`TOTAL`] leaves out.
const ALL_REASONS: &str = "SELECT kind, name, sum(value) AS count
    FROM (
        SELECT 'refused' AS kind, reason.key AS name, reason.value AS value
        FROM collection_jobs, json_each(refused) AS reason
        WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3) AND refused <> '{}'
        UNION ALL
        SELECT 'missed', reason.key, reason.value
        FROM collection_jobs, json_each(missed) AS reason
        WHERE created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3) AND missed IS NOT NULL
        UNION ALL
        SELECT 'refused', reason.key, reason.value
        FROM ledger_hours, json_each(refused) AS reason
        WHERE hour > ?1 - 3600000 AND hour < ?2 AND (?3 IS NULL OR target_id = ?3)
        UNION ALL
        SELECT 'missed', reason.key, reason.value
        FROM ledger_hours, json_each(missed) AS reason
        WHERE hour > ?1 - 3600000 AND hour < ?2 AND (?3 IS NULL OR target_id = ?3)
    )
    GROUP BY 1, 2";

const KEPT: &str = "SELECT * FROM ledger_hours
    WHERE hour > ?1 AND hour < ?2 AND (?3 IS NULL OR target_id = ?3) LIMIT ?4";

/// Jobs that a count looks at a time.
const COUNTED_AT_ONCE: i64 = 500;

/// Whether samples of a batch whose frames are not all there lie with others': a scrape's (`?4`) where segments of its target cover its
/// time, a push's where there are any (its samples are of any time); or whether it has no frames and nothing as old is kept of its target.
/// Of a scrape that has frames (`?5`), samples with timestamps of their own may have been of the hour before.
const COMPACTED: &str = "SELECT EXISTS (
        SELECT 1 FROM spans s JOIN origins o ON o.id = s.origin
        WHERE o.target_id = ?1 AND o.source = ?2 AND (
            NOT ?4 OR s.time <= ?3
                AND ?3 < s.time + CASE WHEN s.daily THEN 86400000 ELSE 3600000 END + CASE WHEN ?5 THEN 3600000 ELSE 0 END
        )
    ) OR NOT ?5 AND NOT (EXISTS (
        SELECT 1 FROM frames f WHERE f.target_id = ?1 AND f.source = ?2 AND f.time <= ?3
    ) OR EXISTS (
        SELECT 1 FROM spans s JOIN origins o ON o.id = s.origin
        WHERE o.target_id = ?1 AND o.source = ?2 AND s.time <= ?3
    ))";

/// Adds the sums of jobs that are removed in this transaction.
pub(crate) async fn keep_sums(tx: &mut SqliteConnection, hours: &LedgerHours) -> Result<(), Fault> {
    for (key, sum) in hours {
        let (hour, target_id, source_id) = key;
        let sql = "SELECT * FROM ledger_hours WHERE hour = ?1 AND target_id = ?2 AND source_id = ?3";
        let before = sqlx::query(sql).bind(hour).bind(target_id).bind(source_id);
        let mut all = sum.clone();
        if let Some(row) = before.fetch_optional(&mut *tx).await? {
            all += &kept(&row)?;
        }
        let sql = "INSERT OR REPLACE INTO ledger_hours (hour, target_id, source_id, collections, failed, spooled, \
                   logged, received, dropped, stored, added, refused, missed) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        sqlx::query(sql)
            .bind(hour)
            .bind(target_id)
            .bind(source_id)
            .bind(signed(all.collections))
            .bind(signed(all.failed))
            .bind(signed(all.spooled))
            .bind(signed(all.logged))
            .bind(signed(all.received))
            .bind(signed(all.dropped))
            .bind(signed(all.stored))
            .bind(signed(all.added))
            .bind(written(serde_json::to_string(&all.refused))?)
            .bind(written(serde_json::to_string(&all.missed))?)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

fn key(row: &SqliteRow) -> Result<LedgerKey, Fault> {
    Ok((row.try_get("hour")?, row.try_get("target_id")?, row.try_get("source_id")?))
}

fn sum(row: &SqliteRow) -> Result<LedgerSum, Fault> {
    Ok(LedgerSum {
        collections: count(row, "collections")?,
        failed: count(row, "failed")?,
        spooled: count(row, "spooled")?,
        logged: count(row, "logged")?,
        received: count(row, "received")?,
        dropped: count(row, "dropped")?,
        stored: count(row, "stored")?,
        added: count(row, "added")?,
        refused: BTreeMap::new(),
        missed: BTreeMap::new(),
    })
}

fn kept(row: &SqliteRow) -> Result<LedgerSum, Fault> {
    let refused = json(row, "refused", |text| serde_json::from_str(text))?;
    let missed = json(row, "missed", |text| serde_json::from_str(text))?;
    Ok(LedgerSum { refused, missed, ..sum(row)? })
}

async fn ledger(store: &SqliteStore, range: &LedgerRange, limit: usize) -> Result<LedgerHours, Fault> {
    let mut tx = store.snapshot().await?;
    let target = range.target_id.as_deref();
    let rows = signed_len(limit.saturating_add(1));
    let mut hours = LedgerHours::new();
    let sums = sqlx::query(SUMS).bind(range.start).bind(range.end).bind(target).bind(rows);
    for row in sums.fetch_all(&mut *tx).await? {
        *hours.entry(key(&row)?).or_default() += &sum(&row)?;
    }
    let removed = sqlx::query(KEPT).bind(range.start.saturating_sub(HOUR)).bind(range.end);
    for row in removed.bind(target).bind(rows).fetch_all(&mut *tx).await? {
        *hours.entry(key(&row)?).or_default() += &kept(&row)?;
    }
    if hours.len() > limit {
        let message = format!("the range has more than {limit} hours of targets");
        return Err(PortError::new(ErrorKind::Limit, message).for_askers().into());
    }
    let reasons = sqlx::query(REASONS).bind(range.start).bind(range.end).bind(target);
    for row in reasons.fetch_all(&mut *tx).await? {
        add_reason(hours.entry(key(&row)?).or_default(), &row)?;
    }
    Ok(hours)
}

fn add_reason(sum: &mut LedgerSum, row: &SqliteRow) -> Result<(), Fault> {
    let count = count(row, "count")?;
    let (kind, name): (&str, &str) = (row.try_get("kind")?, row.try_get("name")?);
    match (kind, Refusal::from_name(name), Missed::from_name(name)) {
        ("refused", Some(reason), _) => *sum.refused.entry(reason).or_default() += count,
        ("missed", _, Some(reason)) => *sum.missed.entry(reason).or_default() += count,
        _ => return Err(damaged(format!("unknown reason {name:?} in the database")).into()),
    }
    Ok(())
}

async fn ledger_total(store: &SqliteStore, range: &LedgerRange) -> Result<LedgerSum, Fault> {
    let mut tx = store.snapshot().await?;
    let (start, end, target) = (range.start, range.end, range.target_id.as_deref());
    let mut total = sum(&sqlx::query(TOTAL).bind(start).bind(end).bind(target).fetch_one(&mut *tx).await?)?;
    for row in sqlx::query(ALL_REASONS).bind(start).bind(end).bind(target).fetch_all(&mut *tx).await? {
        add_reason(&mut total, &row)?;
    }
    Ok(total)
}

async fn recount(store: &SqliteStore, range: &LedgerRange) -> Result<Recount, Fault> {
    let mut recount = Recount::default();
    let mut after = i64::MIN;
    loop {
        let sql = "SELECT rowid AS number, * FROM collection_jobs
            WHERE rowid > ?4 AND created_at >= ?1 AND created_at < ?2 AND (?3 IS NULL OR target_id = ?3)
                AND stored + added > 0
            ORDER BY rowid LIMIT ?5";
        let mut tx = store.snapshot().await?;
        let jobs = sqlx::query(sql).bind(range.start).bind(range.end).bind(range.target_id.as_deref());
        let rows = jobs.bind(after).bind(COUNTED_AT_ONCE).fetch_all(&mut *tx).await?;
        let Some(last) = rows.last() else { return Ok(recount) };
        after = last.try_get("number")?;
        for row in &rows {
            recount_job(&mut tx, row, &mut recount).await?;
        }
    }
}

async fn recount_job(tx: &mut SqliteConnection, row: &SqliteRow, recount: &mut Recount) -> Result<(), Fault> {
    let (job_id, target_id): (String, String) = (row.try_get("job_id")?, row.try_get("target_id")?);
    let id: Uuid = uuid(row, "id")?;
    let expected = count(row, "stored")? + count(row, "added")?;
    let frames = sqlx::query("SELECT \"values\" FROM frames WHERE batch_id = ?1").bind(id);
    let frames = frames.fetch_all(&mut *tx).await?;
    let mut found = 0;
    for frame in &frames {
        let values = unpack_floats(frame.try_get(0)?);
        found += values.map_err(|error| damaged("damaged values").caused_by(error))?.len() as u64;
    }
    recount.batches += 1;
    recount.expected += expected;
    if found < expected {
        let (source, at): (&str, Millis) = (row.try_get("source_id")?, row.try_get("created_at")?);
        let is_scrape =
            row.try_get::<&str, _>("collection_method")? == CollectionMethod::PullScraping.as_str();
        let asked = sqlx::query(COMPACTED).bind(&target_id).bind(source).bind(at).bind(is_scrape);
        let asked = asked.bind(!frames.is_empty());
        if asked.fetch_one(&mut *tx).await?.try_get::<bool, _>(0)? {
            recount.compacted_batches += 1;
            recount.compacted += expected;
            return Ok(());
        }
    }
    recount.counted_batches += 1;
    recount.counted += found;
    if found != expected {
        recount.differences += 1;
        if recount.differing.len() < MAX_DIFFERING {
            recount.differing.push(Difference { job_id, target_id, expected, found });
        }
    }
    Ok(())
}

#[async_trait]
impl Integrity for SqliteStore {
    async fn ledger(&self, range: &LedgerRange, limit: usize) -> Result<LedgerHours, PortError> {
        ledger(self, range, limit).await.map_err(|fault| fault.into_port("sum the ledger"))
    }

    async fn ledger_total(&self, range: &LedgerRange) -> Result<LedgerSum, PortError> {
        ledger_total(self, range).await.map_err(|fault| fault.into_port("sum the ledger"))
    }

    async fn recount(&self, range: &LedgerRange) -> Result<Recount, PortError> {
        recount(self, range).await.map_err(|fault| fault.into_port("count what is stored"))
    }

    async fn purge_ledger(&self, before: Millis) -> Result<u64, PortError> {
        let purge = async {
            let mut tx = self.write().await?;
            let sql = "DELETE FROM parked_records WHERE parked_at < ?1";
            sqlx::query(sql).bind(before).execute(&mut *tx).await?;
            let sql = "DELETE FROM ledger_hours WHERE hour < ?1";
            let purged = sqlx::query(sql).bind(before).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(purged.rows_affected())
        };
        purge.await.map_err(|fault: Fault| fault.into_port("remove old sums of the ledger"))
    }
}
