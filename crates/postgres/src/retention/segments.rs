//! Removing segments: by the spans of time that their origins have some in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_store::compact::{DAY, HOUR};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, PgTransaction, Postgres, Row};

use super::REMOVED_A_CALL;
use crate::PostgresStore;
use crate::copy::bound;
use crate::error::Fault;
use crate::rollup::finalise;

/// Spans that one call looks at; most are emptied by one statement.
const SPANS_A_CALL: i64 = 500;

/// Segments of a target whose span is over before `before`.
pub(super) async fn remove(store: &PostgresStore, target_id: &str, before: Millis) -> Result<u64, Fault> {
    let tx = crate::held::begin(&store.pool).await?;
    remove_old(tx, sqlx::query(include_str!("../sql/old_spans.sql")).bind(target_id), before).await
}

/// The same of all targets but some.
pub(super) async fn remove_others(
    store: &PostgresStore,
    spared: &[&str],
    before: Millis,
) -> Result<u64, Fault> {
    let tx = crate::held::begin(&store.pool).await?;
    remove_old(tx, sqlx::query(include_str!("../sql/other_old_spans.sql")).bind(spared), before).await
}

/// The spans stay locked until the end, so that a compaction that writes into one of them waits and notes it again.
async fn remove_old(
    mut tx: PgTransaction<'_>,
    spans: Query<'_, Postgres, PgArguments>,
    before: Millis,
) -> Result<u64, Fault> {
    let rows = spans.bind(bound(before)).bind(SPANS_A_CALL).fetch_all(&mut *tx).await?;
    let mut emptied = Vec::new();
    let mut removed = 0;
    for row in &rows {
        let span = Span::of(row)?;
        let room = REMOVED_A_CALL - i64::try_from(removed).unwrap_or(i64::MAX);
        let gone = span.remove(&mut tx, room).await?;
        removed += gone;
        if i64::try_from(gone).unwrap_or(i64::MAX) >= room {
            break;
        }
        emptied.push(span);
    }
    removed += remove_constants(&mut tx, &emptied).await?;
    if !emptied.is_empty() {
        sqlx::query(include_str!("../sql/remove_spans.sql"))
            .bind(emptied.iter().map(|span| span.origin).collect::<Vec<_>>())
            .bind(emptied.iter().map(|span| span.daily).collect::<Vec<_>>())
            .bind(emptied.iter().map(|span| span.time).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(removed)
}

/// What stands many in a row of these spans, an hour at a time: its rows have series of many origins.
async fn remove_constants(tx: &mut PgConnection, spans: &[Span]) -> Result<u64, Fault> {
    let mut origins: BTreeMap<DateTime<Utc>, Vec<i32>> = BTreeMap::new();
    for span in spans.iter().filter(|span| !span.daily) {
        origins.entry(span.time).or_default().push(span.origin);
    }
    let mut removed = 0;
    for (time, origins) in origins {
        let query = sqlx::query(include_str!("../sql/remove_constants.sql")).bind(time).bind(origins);
        let row = query.fetch_one(&mut *tx).await?;
        removed += u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    }
    Ok(removed)
}

struct Span {
    origin: i32,
    daily: bool,
    time: DateTime<Utc>,
}

impl Span {
    fn of(row: &PgRow) -> Result<Self, Fault> {
        Ok(Self { origin: row.try_get(0)?, daily: row.try_get(1)?, time: row.try_get(2)? })
    }

    /// Removes at most `room` segments that have rows of their own.
    async fn remove(&self, tx: &mut PgConnection, room: i64) -> Result<u64, Fault> {
        let sql = if self.daily {
            include_str!("../sql/remove_day.sql")
        } else {
            include_str!("../sql/remove_hour.sql")
        };
        let query = sqlx::query(sql).bind(self.time).bind(self.origin).bind(room);
        let gone = query.execute(&mut *tx).await?.rows_affected();
        let first = self.time.timestamp_millis();
        finalise(tx, first, first.saturating_add(if self.daily { DAY } else { HOUR })).await?;
        Ok(gone)
    }
}
