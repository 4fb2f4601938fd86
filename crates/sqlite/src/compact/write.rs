//! The transaction of some units: under the file's write lock, and short.

use std::collections::BTreeMap;

use metricsd_model::Millis;
use metricsd_store::compact::HOUR;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::pack::{Owner, Packed, Work};
use super::plan::Plan;
use super::{generation, raise_generation};
use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::{Fault, damaged};
use crate::rollup::outdate;
use crate::segments::{Table, Times, Values, by_table, slot_of};

/// Rows of one statement.
const ROWS: usize = 200;

/// Frames that one statement deletes.
const FRAMES: usize = 5_000;

/// What became of the work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Others touched frames or segments since the plan was made; nothing was written.
    Stale,
    /// A timeline's id stands for another list; nothing was written.
    Taken((Millis, i64)),
}

pub(super) async fn write(
    store: &SqliteStore,
    plan: &Plan,
    frames: &[i64],
    work: Work,
) -> Result<Written, Fault> {
    let mut tx = store.write().await?;
    if generation(&mut tx).await? != plan.generation {
        return Ok(Written::Stale);
    }
    let origins = origins(&mut tx, &work.origins).await?;
    let spans = spans(&work, &origins)?;
    if let Some(taken) = insert_timelines(&mut tx, &work.timelines).await? {
        return Ok(Written::Taken(taken));
    }
    for (bucket, series) in &work.removed {
        let query = by_table!(Table::of(*bucket), "DELETE FROM ", " WHERE slot = ?1 AND series = ?2");
        sqlx::query(query).bind(slot_of(bucket.start())).bind(series).execute(&mut *tx).await?;
    }
    insert_segments(&mut tx, work.segments, &origins).await?;
    for (time, daily, origin) in spans {
        sqlx::query("INSERT INTO spans (time, daily, origin) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
            .bind(time)
            .bind(daily)
            .bind(origin)
            .execute(&mut *tx)
            .await?;
    }
    let mut deleted = 0;
    for part in frames.chunks(FRAMES) {
        let query = sqlx::query("DELETE FROM frames WHERE seq IN (SELECT value FROM json_each(?1))");
        deleted += query.bind(id_list(part.iter().copied())).execute(&mut *tx).await?.rows_affected();
    }
    if deleted != frames.len() as u64 {
        // Someone deleted frames without saying so.
        return Ok(Written::Stale);
    }
    outdate(&mut tx, plan.hour, plan.hour.saturating_add(HOUR - 1)).await?;
    raise_generation(&mut tx).await?;
    tx.commit().await?;
    Ok(Written::Done)
}

/// The numbers of targets and sources, in their order.
async fn origins(tx: &mut SqliteConnection, origins: &[(String, String)]) -> Result<Vec<i64>, Fault> {
    let mut numbers = Vec::with_capacity(origins.len());
    for (target_id, source) in origins {
        sqlx::query("INSERT INTO origins (target_id, source) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(target_id)
            .bind(source)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query("SELECT id FROM origins WHERE target_id = ?1 AND source = ?2")
            .bind(target_id)
            .bind(source)
            .fetch_one(&mut *tx)
            .await?;
        numbers.push(row.try_get(0)?);
    }
    Ok(numbers)
}

fn number(owner: Owner, origins: &[i64]) -> Result<i64, Fault> {
    match owner {
        Owner::Known(number) => Ok(number),
        Owner::New(place) => {
            let number = origins.get(place as usize).copied();
            number.ok_or_else(|| damaged("an origin that is in no frame").into())
        }
    }
}

fn spans(work: &Work, origins: &[i64]) -> Result<Vec<(Millis, bool, i64)>, Fault> {
    let spans = work.spans();
    let row = |(bucket, owner): &(_, _)| {
        Ok((
            metricsd_store::compact::Bucket::start(*bucket),
            Table::of(*bucket).is_daily(),
            number(*owner, origins)?,
        ))
    };
    spans.iter().map(row).collect()
}

/// Answers a timeline whose id stands for another list.
async fn insert_timelines(
    tx: &mut SqliteConnection,
    timelines: &BTreeMap<(Millis, i64), Vec<u8>>,
) -> Result<Option<(Millis, i64)>, Fault> {
    for ((time, id), offsets) in timelines {
        let new = sqlx::query(
            "INSERT INTO timelines (time, id, offsets) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )
        .bind(time)
        .bind(id)
        .bind(offsets)
        .execute(&mut *tx)
        .await?;
        if new.rows_affected() == 1 {
            continue;
        }
        let row = sqlx::query("SELECT offsets FROM timelines WHERE time = ?1 AND id = ?2")
            .bind(time)
            .bind(id)
            .fetch_one(&mut *tx)
            .await?;
        if row.try_get::<&[u8], _>(0)? != offsets.as_slice() {
            return Ok(Some((*time, *id)));
        }
    }
    Ok(None)
}

async fn insert_segments(
    tx: &mut SqliteConnection,
    segments: Vec<Packed>,
    origins: &[i64],
) -> Result<(), Fault> {
    let mut segments = segments.into_iter().peekable();
    while let Some(first) = segments.peek() {
        let table = Table::of(first.bucket);
        let mut rows = Vec::with_capacity(ROWS);
        while rows.len() < ROWS
            && let Some(packed) = segments.next_if(|next| Table::of(next.bucket) == table)
        {
            rows.push((number(packed.owner, origins)?, packed));
        }
        let mut insert = QueryBuilder::<Sqlite>::new(by_table!(
            table,
            "INSERT OR REPLACE INTO ",
            " (slot, series, times, origin, \"values\", histograms) "
        ));
        insert.push_values(rows, |mut row, (origin, packed)| {
            row.push_bind(slot_of(packed.bucket.start())).push_bind(packed.series);
            match packed.times {
                Times::Shared(id) => row.push_bind(id),
                Times::Own(offsets) => row.push_bind(offsets),
            };
            row.push_bind(origin);
            match packed.values {
                Values::Whole(value) => row.push_bind(value),
                Values::Packed(blob) => row.push_bind(blob),
            };
            row.push_bind(packed.histograms);
        });
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}
