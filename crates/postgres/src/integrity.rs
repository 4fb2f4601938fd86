//! The integrity ledger: sums over jobs, and over what is left of those that were removed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use metricsd_model::{Millis, Missed, Refusal};
use metricsd_ports::integrity::{
    Difference, Integrity, LedgerHours, LedgerKey, LedgerRange, LedgerSum, MAX_DIFFERING, Recount,
};
use metricsd_ports::{ErrorKind, PortError};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::{Fault, damaged};

/// Adds the sums of jobs that are removed in this transaction.
pub(crate) async fn keep_sums(tx: &mut PgConnection, hours: &LedgerHours) -> Result<(), Fault> {
    if hours.is_empty() {
        return Ok(());
    }
    let number = |field: fn(&LedgerSum) -> u64| -> Vec<i64> {
        hours.values().map(|sum| i64::try_from(field(sum)).unwrap_or(i64::MAX)).collect()
    };
    let text = |field: fn(&LedgerSum) -> serde_json::Result<String>| -> Result<Vec<String>, Fault> {
        let texts = hours.values().map(field).collect::<Result<_, _>>();
        texts.map_err(|error| damaged("cannot write counts").caused_by(error))
    };
    sqlx::query(include_str!("sql/keep_sums.sql"))
        .bind(hours.keys().map(|key| bound(key.0)).collect::<Vec<_>>())
        .bind(hours.keys().map(|key| key.1.as_str()).collect::<Vec<_>>())
        .bind(hours.keys().map(|key| key.2.as_str()).collect::<Vec<_>>())
        .bind(number(|sum| sum.collections))
        .bind(number(|sum| sum.failed))
        .bind(number(|sum| sum.spooled))
        .bind(number(|sum| sum.logged))
        .bind(number(|sum| sum.received))
        .bind(number(|sum| sum.dropped))
        .bind(number(|sum| sum.stored))
        .bind(number(|sum| sum.added))
        .bind(text(|sum| serde_json::to_string(&sum.refused))?)
        .bind(text(|sum| serde_json::to_string(&sum.missed))?)
        .execute(tx)
        .await?;
    Ok(())
}

fn count(row: &PgRow, column: &str) -> Result<u64, Fault> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn key(row: &PgRow) -> Result<LedgerKey, Fault> {
    Ok((row.try_get("hour")?, row.try_get("target_id")?, row.try_get("source_id")?))
}

fn sum(row: &PgRow) -> Result<LedgerSum, Fault> {
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

async fn ledger(store: &PostgresStore, range: &LedgerRange, limit: usize) -> Result<LedgerHours, Fault> {
    let mut tx = crate::held::begin(&store.readers).await?;
    // Both questions about one state of the tables.
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *tx).await?;
    let (start, end) = (bound(range.start), bound(range.end));
    let target = range.target_id.as_deref();
    // The hour of a target may come from two places.
    let rows = i64::try_from(limit.saturating_mul(2).saturating_add(1)).unwrap_or(i64::MAX);
    let sums = sqlx::query(include_str!("sql/ledger.sql")).bind(start).bind(end).bind(target).bind(rows);
    let mut hours = LedgerHours::new();
    for row in sums.fetch_all(&mut *tx).await? {
        *hours.entry(key(&row)?).or_default() += &sum(&row)?;
    }
    if hours.len() > limit {
        let message = format!("the range has more than {limit} hours of targets");
        return Err(PortError::new(ErrorKind::Limit, message).for_askers().into());
    }
    let reasons = sqlx::query(include_str!("sql/ledger_reasons.sql")).bind(start).bind(end).bind(target);
    for row in reasons.fetch_all(&mut *tx).await? {
        add_reason(hours.entry(key(&row)?).or_default(), &row)?;
    }
    tx.rollback().await?;
    Ok(hours)
}

fn add_reason(sum: &mut LedgerSum, row: &PgRow) -> Result<(), Fault> {
    let count = count(row, "count")?;
    let (kind, name): (&str, &str) = (row.try_get("kind")?, row.try_get("key")?);
    match (kind, Refusal::from_name(name), Missed::from_name(name)) {
        ("refused", Some(reason), _) => *sum.refused.entry(reason).or_default() += count,
        ("missed", _, Some(reason)) => *sum.missed.entry(reason).or_default() += count,
        _ => return Err(damaged(format!("unknown reason {name:?} in the database"))),
    }
    Ok(())
}

/// Counts by reason of a whole range.
const ALL_REASONS: &str = concat!(
    "SELECT kind, key, sum(count)::int8 AS count FROM (",
    include_str!("sql/ledger_reasons.sql"),
    ") AS reasons GROUP BY 1, 2"
);

async fn ledger_total(store: &PostgresStore, range: &LedgerRange) -> Result<LedgerSum, Fault> {
    let mut tx = crate::held::begin(&store.readers).await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *tx).await?;
    let (start, end) = (bound(range.start), bound(range.end));
    let target = range.target_id.as_deref();
    let sums = sqlx::query(include_str!("sql/ledger_total.sql")).bind(start).bind(end).bind(target);
    let mut total = sum(&sums.fetch_one(&mut *tx).await?)?;
    for row in sqlx::query(ALL_REASONS).bind(start).bind(end).bind(target).fetch_all(&mut *tx).await? {
        add_reason(&mut total, &row)?;
    }
    tx.rollback().await?;
    Ok(total)
}

async fn recount(store: &PostgresStore, range: &LedgerRange) -> Result<Recount, Fault> {
    let rows = sqlx::query(include_str!("sql/recount.sql"))
        .bind(bound(range.start))
        .bind(bound(range.end))
        .bind(range.target_id.as_deref())
        .bind(MAX_DIFFERING as i64)
        .fetch_all(&store.readers)
        .await?;
    let mut recount = Recount::default();
    for row in &rows {
        let job: Option<String> = row.try_get("job_id")?;
        let target: Option<String> = row.try_get("target_id")?;
        match (job, target) {
            (Some(job_id), target) => recount.differing.push(Difference {
                job_id,
                target_id: target.unwrap_or_default(),
                expected: count(row, "expected")?,
                found: count(row, "found")?,
            }),
            (None, Some(_)) => recount.differences = count(row, "a")?,
            (None, None) => {
                recount.expected = count(row, "expected")?;
                recount.counted = count(row, "found")?;
                recount.batches = count(row, "a")?;
                recount.compacted_batches = count(row, "b")?;
                recount.compacted = count(row, "c")?;
                recount.counted_batches = recount.batches.saturating_sub(recount.compacted_batches);
            }
        }
    }
    Ok(recount)
}

#[async_trait]
impl Integrity for PostgresStore {
    async fn ledger(&self, range: &LedgerRange, limit: usize) -> Result<LedgerHours, PortError> {
        self.bounded("sum the ledger", ledger(self, range, limit)).await
    }

    async fn ledger_total(&self, range: &LedgerRange) -> Result<LedgerSum, PortError> {
        self.bounded("sum the ledger", ledger_total(self, range)).await
    }

    async fn recount(&self, range: &LedgerRange) -> Result<Recount, PortError> {
        self.bounded("count what is stored", recount(self, range)).await
    }

    async fn purge_ledger(&self, before: Millis) -> Result<u64, PortError> {
        let purge = async {
            let sql = "DELETE FROM parked_records WHERE parked_at < $1";
            sqlx::query(sql).bind(bound(before)).execute(&self.pool).await?;
            let sql = "DELETE FROM ledger_hours WHERE hour < $1";
            Ok(sqlx::query(sql).bind(bound(before)).execute(&self.pool).await?.rows_affected())
        };
        self.bounded("remove old sums of the ledger", purge).await
    }
}
