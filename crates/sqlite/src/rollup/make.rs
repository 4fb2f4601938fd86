//! Rolling up: some series of a day at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use metricsd_model::{LabelSet, MetricType, Millis, SeriesId};
use metricsd_ports::{PortError, ROLLUP_STEPS, RolledUp, RollupPolicy, Rollups};
use metricsd_store::chosen::Chosen;
use metricsd_store::column::Column;
use metricsd_store::compact::DAY;
use metricsd_store::gather::{Found, Gather};
use metricsd_store::rollup::{RolledDay, SpanColumns, after_rolled, day_of, range_of, roll_day};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{oldest_frame, usable_column};
use crate::SqliteStore;
use crate::columns::signed_len;
use crate::compact::{OLDEST, blocking};
use crate::error::Fault;
use crate::read::segments;
use crate::segments::{first_slot, time_of};

/// Samples that a series is taken to have in a day, one every 15 s and some more.
const SAMPLES_A_DAY: usize = 6_000;

/// Rows that one statement removes or writes.
const REMOVED_A_CALL: i64 = 5_000;
const ROWS: usize = 200;

/// How far this process has come.
#[derive(Debug, Default)]
pub(crate) struct Roller {
    /// The day at work, and the last series of it that is done.
    at: Option<(Millis, Option<i64>)>,
}

#[async_trait]
impl Rollups for SqliteStore {
    async fn roll_up(&self, policy: &RollupPolicy) -> Result<RolledUp, PortError> {
        let Ok(mut roller) = self.roller.try_lock() else {
            return Ok(RolledUp::default());
        };
        let done = roller.step(self, policy).await;
        if done.is_err() {
            roller.at = None;
        }
        done.map_err(|fault| fault.into_port("roll samples up"))
    }

    async fn rolled_until(&self, before: Millis) -> Result<Millis, PortError> {
        let until = rolled_until(self, before).await;
        until.map_err(|fault| fault.into_port("look for days that are not rolled up"))
    }
}

async fn rolled_until(store: &SqliteStore, before: Millis) -> Result<Millis, Fault> {
    let mut tx = store.snapshot().await?;
    let rolled = sqlx::query("SELECT day FROM rolled_days WHERE state > 0").fetch_all(&mut *tx).await?;
    let rolled: BTreeSet<Millis> = rolled.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut from = i64::MIN;
    while let Some(time) = next_samples(&mut tx, from, before).await? {
        match after_rolled(&rolled, time) {
            Ok(next) => from = next,
            Err(day) => return Ok(before.min(day)),
        }
    }
    Ok(before)
}

/// Where the next samples before a time are, in segments or frames.
async fn next_samples(
    tx: &mut SqliteConnection,
    from: Millis,
    before: Millis,
) -> Result<Option<Millis>, Fault> {
    let segment = next_segment(tx, from).await?.filter(|time| *time < before);
    let frame: Option<Millis> =
        sqlx::query(OLDEST).bind(from).bind(before).fetch_one(tx).await?.try_get(0)?;
    Ok(segment.into_iter().chain(frame).min())
}

impl Roller {
    async fn step(&mut self, store: &SqliteStore, policy: &RollupPolicy) -> Result<RolledUp, Fault> {
        let removed = remove_old(store, policy).await?;
        if removed > 0 {
            return Ok(RolledUp { removed, more: true, ..RolledUp::default() });
        }
        let (day, last) = match self.at {
            Some(at) => at,
            None => match begin(store, policy).await? {
                Some(day) => (day, None),
                None => return Ok(RolledUp::default()),
            },
        };
        // Also where the call is given up halfway: the same series again.
        self.at = Some((day, last));
        let ids = series_after(store, last, (policy.max_samples / SAMPLES_A_DAY).clamp(50, 5_000)).await?;
        let Some(newest) = ids.last().copied() else {
            self.at = None;
            finish(store, day).await?;
            return Ok(RolledUp { more: true, ..RolledUp::default() });
        };
        let rows = roll_up(store, day, ids).await?;
        let written = rows.len() as u64 / ROLLUP_STEPS.len() as u64;
        self.at = write(store, day, rows).await?.then_some((day, Some(newest)));
        Ok(RolledUp { written, removed: 0, more: true })
    }
}

/// Marks the oldest day that is over, has samples and is not rolled up.
async fn begin(store: &SqliteStore, policy: &RollupPolicy) -> Result<Option<Millis>, Fault> {
    let mut tx = store.write().await?;
    let mut from = i64::MIN;
    while let Some(time) = next_segment(&mut tx, from).await? {
        // What stands on the beginning of a day belongs to the day before.
        let days = [day_of(time), day_of(time.saturating_add(1))];
        for day in days {
            let (_, last) = range_of(day);
            if last > policy.before || oldest_frame(&mut tx, last).await?.is_some() {
                return Ok(None);
            }
            if mark(&mut tx, day).await? {
                tx.commit().await?;
                return Ok(Some(day));
            }
        }
        from = days[1].saturating_add(DAY);
    }
    Ok(None)
}

/// Marks a day as begun; `false` where it is rolled up.
async fn mark(tx: &mut SqliteConnection, day: Millis) -> Result<bool, Fault> {
    let rolled = sqlx::query("SELECT 1 FROM rolled_days WHERE day = ?1 AND state > 0").bind(day);
    if rolled.fetch_optional(&mut *tx).await?.is_some() {
        return Ok(false);
    }
    let begun = "INSERT INTO rolled_days (day, state) VALUES (?1, 0) ON CONFLICT DO NOTHING";
    sqlx::query(begun).bind(day).execute(tx).await?;
    Ok(true)
}

/// Where the next segments begin.
async fn next_segment(tx: &mut SqliteConnection, from: Millis) -> Result<Option<Millis>, Fault> {
    let sql = "SELECT min(slot) FROM (
        SELECT min(slot) AS slot FROM segments WHERE slot >= ?1
        UNION ALL SELECT min(slot) FROM segments_daily WHERE slot >= ?1
    )";
    let next: Option<i64> = sqlx::query(sql).bind(first_slot(from)).fetch_one(tx).await?.try_get(0)?;
    Ok(next.map(time_of))
}

async fn series_after(store: &SqliteStore, last: Option<i64>, count: usize) -> Result<Vec<i64>, Fault> {
    let sql = "SELECT seq FROM series_rows WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let rows = sqlx::query(sql)
        .bind(last.unwrap_or(i64::MIN))
        .bind(signed_len(count))
        .fetch_all(&store.readers)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// One row of the table.
struct Rolled {
    step: Millis,
    series: i64,
    spans: Option<Vec<u8>>,
}

async fn roll_up(store: &SqliteStore, day: Millis, ids: Vec<i64>) -> Result<Vec<Rolled>, Fault> {
    // Labels and types do not matter here.
    let found = ids.iter().map(|id| Found {
        id: SeriesId::from_i64(*id),
        labels: LabelSet::default(),
        metric_type: MetricType::Custom,
    });
    let chosen = Arc::new(Chosen::new(found.collect()));
    let mut tx = store.snapshot().await?;
    let mut gather = Gather::unlimited(Arc::clone(&chosen), range_of(day));
    segments::read(store, &mut tx, &chosen, &mut gather).await?;
    tx.rollback().await?;
    let columns = gather.into_columns()?;
    blocking(move || Ok(columns.iter().flat_map(|(id, column)| rows_of(day, id.to_i64(), column)).collect()))
        .await
}

fn rows_of(day: Millis, series: i64, column: &Column) -> Vec<Rolled> {
    if !column.histograms.is_empty() {
        let row = |step| Rolled { step, series, spans: None };
        return ROLLUP_STEPS.into_iter().map(row).collect();
    }
    let rolled = roll_day(&column.timestamps, &column.values);
    let row = |rolled: &RolledDay| {
        let spans = Some(SpanColumns::of(day, rolled).pack());
        Rolled { step: rolled.step, series, spans }
    };
    rolled.iter().map(row).collect()
}

/// Writes rows of a day; `false` where the day is to be begun anew.
async fn write(store: &SqliteStore, day: Millis, rows: Vec<Rolled>) -> Result<bool, Fault> {
    let mut tx = store.write().await?;
    let begun = sqlx::query("SELECT 1 FROM rolled_days WHERE day = ?1 AND state = 0").bind(day);
    if begun.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(false);
    }
    for part in rows.chunks(ROWS) {
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO rollups (step, day, series, spans) ");
        insert.push_values(part, |mut values, row| {
            values.push_bind(row.step).push_bind(day).push_bind(row.series).push_bind(row.spans.as_deref());
        });
        insert.build().execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// All series of the day are done, unless late samples have come in between.
async fn finish(store: &SqliteStore, day: Millis) -> Result<(), Fault> {
    let mut tx = store.write().await?;
    let sql = "UPDATE rolled_days SET state = 1, minutes = 1, hours = 1 WHERE day = ?1 AND state = 0";
    sqlx::query(sql).bind(day).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes what is no longer to be kept, some rows at a time; first nobody is to use it any more.
async fn remove_old(store: &SqliteStore, policy: &RollupPolicy) -> Result<u64, Fault> {
    let mut removed = 0;
    for (step, cutoff) in ROLLUP_STEPS.into_iter().zip([policy.keep_hours_after, policy.keep_minutes_after]) {
        let Some(cutoff) = cutoff else { continue };
        // A day whose last span is older.
        let before = cutoff.saturating_sub(DAY);
        let old = "SELECT 1 FROM rollups WHERE step = ?1 AND day < ?2 LIMIT 1";
        let old = sqlx::query(old).bind(step).bind(before);
        if old.fetch_optional(&store.readers).await?.is_none() {
            continue;
        }
        let mut tx = store.write().await?;
        let unuse = match usable_column(step) {
            "hours" => "UPDATE rolled_days SET hours = 0 WHERE day < ?1 AND hours = 1",
            _ => "UPDATE rolled_days SET minutes = 0 WHERE day < ?1 AND minutes = 1",
        };
        sqlx::query(unuse).bind(before).execute(&mut *tx).await?;
        let remove = "DELETE FROM rollups WHERE step = ?1 AND (day, series) IN (
            SELECT day, series FROM rollups WHERE step = ?1 AND day < ?2 LIMIT ?3
        )";
        let query = sqlx::query(remove).bind(step).bind(before).bind(REMOVED_A_CALL);
        removed += query.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
    }
    Ok(removed)
}
