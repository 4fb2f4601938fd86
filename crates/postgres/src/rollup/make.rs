//! Rolling up: some series of a day at a time, in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::{LabelSet, MetricType, Millis, SeriesId};
use metricsd_ports::{PortError, ROLLUP_STEPS, RolledUp, RollupPolicy, Rollups};
use metricsd_store::chosen::Chosen;
use metricsd_store::column::Column;
use metricsd_store::compact::DAY;
use metricsd_store::gather::{Found, Gather};
use metricsd_store::rollup::{SpanColumns, after_rolled, day_of, range_of, roll_day};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::copy::bound;
use crate::error::{Fault, damaged};
use crate::read::read_segments;
use crate::retention::drop_chunks;

/// Key of the advisory lock ("mdrollup" in ASCII): one process rolls up at a time.
const LOCK: i64 = 0x6d64_726f_6c6c_7570;

/// Samples that a series is taken to have in a day, one every 15 s and some more.
const SAMPLES_A_DAY: usize = 6_000;

/// How far this process has come.
#[derive(Debug, Default)]
pub(crate) struct Roller {
    /// The day at work, and the last series of it that is done.
    at: At,
}

#[async_trait]
impl Rollups for PostgresStore {
    async fn roll_up(&self, policy: &RollupPolicy) -> Result<RolledUp, PortError> {
        let Ok(mut roller) = self.roller.try_lock() else {
            return Ok(RolledUp::default());
        };
        let at = roller.at.take();
        let (done, at) = self.retried("roll samples up", || step(self, policy, at)).await?;
        roller.at = at;
        Ok(done)
    }

    async fn rolled_until(&self, before: Millis) -> Result<Millis, PortError> {
        self.retried("look for days that are not rolled up", || rolled_until(self, before)).await
    }
}

async fn rolled_until(store: &PostgresStore, before: Millis) -> Result<Millis, Fault> {
    let mut connection = store.pool.acquire().await?;
    let rolled =
        sqlx::query("SELECT day FROM rolled_days WHERE state > 0").fetch_all(&mut *connection).await?;
    let day = |row: &PgRow| Ok(row.try_get::<DateTime<Utc>, _>(0)?.timestamp_millis());
    let rolled: BTreeSet<Millis> = rolled.iter().map(day).collect::<Result<_, Fault>>()?;
    let mut from = i64::MIN;
    while let Some(time) = next_samples(&mut connection, from, before).await? {
        match after_rolled(&rolled, time) {
            Ok(next) => from = next,
            Err(day) => return Ok(before.min(day)),
        }
    }
    Ok(before)
}

/// Where the next samples before a time are, in segments or frames.
async fn next_samples(
    connection: &mut PgConnection,
    from: Millis,
    before: Millis,
) -> Result<Option<Millis>, Fault> {
    let segment = next_segment(connection, from).await?.filter(|time| *time < before);
    let query = sqlx::query(include_str!("../sql/oldest_frame.sql")).bind(bound(from)).bind(bound(before));
    let frame: Option<DateTime<Utc>> =
        query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?;
    let frame = frame.map(|time| time.timestamp_millis());
    Ok(segment.into_iter().chain(frame).min())
}

type At = Option<(Millis, Option<i64>)>;

async fn step(store: &PostgresStore, policy: &RollupPolicy, at: At) -> Result<(RolledUp, At), Fault> {
    let removed = remove_old(store, policy).await?;
    if removed > 0 {
        return Ok((RolledUp { removed, more: true, ..RolledUp::default() }, at));
    }
    let mut tx = crate::held::begin(&store.pool).await?;
    let done = locked(store, &mut tx, policy, at).await?;
    // Also where there was nothing to do: the lock goes with the transaction.
    tx.commit().await?;
    Ok(done)
}

async fn locked(
    store: &PostgresStore,
    tx: &mut PgConnection,
    policy: &RollupPolicy,
    at: At,
) -> Result<(RolledUp, At), Fault> {
    let lock = sqlx::query("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK);
    if !lock.fetch_one(&mut *tx).await?.try_get::<bool, _>(0)? {
        return Ok((RolledUp::default(), None));
    }
    let (day, last) = match at {
        Some(at) => at,
        None => match begin(tx, policy).await? {
            Some(day) => (day, None),
            None => return Ok((RolledUp::default(), None)),
        },
    };
    // Locked until the end: late samples that come in between take the mark away after this.
    let mark = sqlx::query("SELECT 1 FROM rolled_days WHERE day = $1 AND state = 0 FOR UPDATE");
    let more = RolledUp { more: true, ..RolledUp::default() };
    if mark.bind(bound(day)).fetch_optional(&mut *tx).await?.is_none() {
        return Ok((more, None));
    }
    let ids = series_after(tx, last, (policy.max_samples / SAMPLES_A_DAY).clamp(50, 5_000)).await?;
    let Some(newest) = ids.last().copied() else {
        let whole = "UPDATE rolled_days SET state = 1, minutes = true, hours = true WHERE day = $1";
        sqlx::query(whole).bind(bound(day)).execute(tx).await?;
        return Ok((more, None));
    };
    let written = roll_up(store, tx, day, ids).await?;
    Ok((RolledUp { written, ..more }, Some((day, Some(newest)))))
}

/// Marks the oldest day that is over, has samples and is not rolled up.
async fn begin(tx: &mut PgConnection, policy: &RollupPolicy) -> Result<Option<Millis>, Fault> {
    let mut from = i64::MIN;
    while let Some(time) = next_segment(tx, from).await? {
        // What stands on the beginning of a day belongs to the day before.
        let days = [day_of(time), day_of(time.saturating_add(1))];
        for day in days {
            let (first, last) = range_of(day);
            if last > policy.before || has_frames(tx, first, last).await? {
                return Ok(None);
            }
            let rolled = sqlx::query("SELECT 1 FROM rolled_days WHERE day = $1 AND state > 0");
            if rolled.bind(bound(day)).fetch_optional(&mut *tx).await?.is_none() {
                let begun = "INSERT INTO rolled_days (day, state) VALUES ($1, 0) ON CONFLICT DO NOTHING";
                sqlx::query(begun).bind(bound(day)).execute(tx).await?;
                return Ok(Some(day));
            }
        }
        from = days[1].saturating_add(DAY);
    }
    Ok(None)
}

async fn next_segment(tx: &mut PgConnection, from: Millis) -> Result<Option<Millis>, Fault> {
    let query = sqlx::query(include_str!("../sql/next_segment.sql")).bind(bound(from));
    let time: Option<DateTime<Utc>> = query.fetch_one(tx).await?.try_get(0)?;
    Ok(time.map(|time| time.timestamp_millis()))
}

/// Whether frames may still hold samples of a day.
async fn has_frames(tx: &mut PgConnection, first: Millis, last: Millis) -> Result<bool, Fault> {
    let query = sqlx::query(include_str!("../sql/oldest_frame.sql"));
    let query = query.bind(bound(first.saturating_sub(DAY))).bind(bound(last.saturating_add(1)));
    Ok(query.fetch_optional(tx).await?.is_some())
}

async fn series_after(tx: &mut PgConnection, last: Option<i64>, count: usize) -> Result<Vec<i64>, Fault> {
    let query =
        sqlx::query("SELECT id FROM series_rows WHERE $1::int8 IS NULL OR id > $1 ORDER BY id LIMIT $2");
    let rows = query.bind(last).bind(count as i64).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Answers how many series had samples that day.
async fn roll_up(
    store: &PostgresStore,
    tx: &mut PgConnection,
    day: Millis,
    ids: Vec<i64>,
) -> Result<u64, Fault> {
    // Labels and types do not matter here.
    let found = ids.iter().map(|id| Found {
        id: SeriesId::from_i64(*id),
        labels: LabelSet::default(),
        metric_type: MetricType::Custom,
    });
    let chosen = Arc::new(Chosen::new(found.collect()));
    let mut gather = Gather::unlimited(Arc::clone(&chosen), range_of(day));
    read_segments(store, tx, &chosen.wanted, &mut gather).await?;
    let columns = gather.into_columns()?;
    let rows = columns.len() as u64;
    let work = move || -> Vec<(Millis, Rolled)> {
        ROLLUP_STEPS.map(|step| (step, Rolled::of(day, step, &columns))).into()
    };
    let rolled = tokio::task::spawn_blocking(work).await;
    for (step, rolled) in rolled.map_err(|error| damaged("rolling up failed").caused_by(error))? {
        rolled.insert(tx, day, step).await?;
    }
    Ok(rows)
}

/// Rows of one length of spans: all values one after another, and where those of each series begin and end.
#[derive(Default)]
struct Rolled {
    series: Vec<i64>,
    /// Places of arrays, counted from 1, both ends included; none where the series has histograms.
    slices: Vec<(Option<i32>, Option<i32>)>,
    spans: SpanColumns,
}

impl Rolled {
    fn of(day: Millis, step: Millis, columns: &[(SeriesId, Column)]) -> Self {
        let mut rolled = Self::default();
        for (series, column) in columns {
            rolled.series.push(series.to_i64());
            if !column.histograms.is_empty() {
                rolled.slices.push((None, None));
                continue;
            }
            let days = roll_day(&column.timestamps, &column.values);
            let spans = days.iter().find(|day| day.step == step).map(|found| SpanColumns::of(day, found));
            let first = rolled.spans.places.len() as i32 + 1;
            rolled.spans.append(spans.unwrap_or_default());
            rolled.slices.push((Some(first), Some(rolled.spans.places.len() as i32)));
        }
        rolled
    }

    async fn insert(self, tx: &mut PgConnection, day: Millis, step: Millis) -> Result<(), Fault> {
        let sql = match step == ROLLUP_STEPS[0] {
            true => include_str!("../sql/insert_rolled_hours.sql"),
            false => include_str!("../sql/insert_rolled_minutes.sql"),
        };
        let (first, last): (Vec<_>, Vec<_>) = self.slices.into_iter().unzip();
        sqlx::query(sql)
            .bind(bound(day))
            .bind(self.series)
            .bind(first)
            .bind(last)
            .bind(self.spans.places)
            .bind(self.spans.counts)
            .bind(self.spans.mins)
            .bind(self.spans.maxs)
            .bind(self.spans.sums)
            .bind(self.spans.lasts)
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// Removes what is no longer to be kept: first nobody is to use it any more, then chunks go as a whole.
async fn remove_old(store: &PostgresStore, policy: &RollupPolicy) -> Result<u64, Fault> {
    let kept = [
        (
            policy.keep_hours_after,
            "rollups_hours",
            "UPDATE rolled_days SET hours = false WHERE day < $1 AND hours",
        ),
        (
            policy.keep_minutes_after,
            "rollups_minutes",
            "UPDATE rolled_days SET minutes = false WHERE day < $1 AND minutes",
        ),
    ];
    let mut removed = 0;
    for (cutoff, table, unuse) in kept {
        let Some(cutoff) = cutoff else { continue };
        // A day whose last span is older.
        let before = bound(cutoff.saturating_sub(DAY));
        sqlx::query(unuse).bind(before).execute(&store.pool).await?;
        removed += drop_chunks(store, table, before).await?;
    }
    Ok(removed)
}
