//! Cold days: all that a series has of a day becomes one packed segment.

use std::collections::HashMap;

use metricsd_model::Millis;
use metricsd_ports::Compacted;
use metricsd_store::column::Column;
use metricsd_store::compact::{Bucket, DAY, Segment, day_of};
use sqlx::{Connection, PgConnection, Row};

use super::stored::{Stored, stored};
use super::write::Writer;
use crate::binary::{number, required};
use crate::copy::{bound, millis};
use crate::error::Fault;

/// Series that are packed in one transaction, at most.
const SERIES_A_PIECE: i64 = 1_000;

/// How far the packing of a day is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    pub(super) day: Millis,
    /// The first series that is left.
    next: i64,
}

/// The oldest day that is over before `before` and not packed.
pub(super) async fn next(connection: &mut PgConnection, before: Millis) -> Result<Option<Packing>, Fault> {
    let row = sqlx::query(include_str!("../sql/oldest_unpacked.sql"))
        .bind(bound(day_of(before)))
        .fetch_one(connection)
        .await?;
    let oldest = number(&row, 0)?.map(|time| millis(i64::from_be_bytes(time)));
    Ok(oldest.map(|oldest| Packing { day: day_of(oldest), next: i64::MIN }))
}

/// Packs the next series of a day; answers what is left, and what was done.
pub(super) async fn run(
    connection: &mut PgConnection,
    packing: Packing,
    max_samples: usize,
) -> Result<(Option<Packing>, Compacted), Fault> {
    let (start, end) = (bound(packing.day), bound(packing.day.saturating_add(DAY)));
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let rows = sqlx::query(include_str!("../sql/unpacked_series.sql"))
        .bind(start)
        .bind(end)
        .bind(packing.next)
        .bind(SERIES_A_PIECE)
        .fetch_all(&mut *tx)
        .await?;
    let mut series = Vec::new();
    let mut room = max_samples as u64;
    for row in &rows {
        let samples = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
        if samples > room && !series.is_empty() {
            break;
        }
        room = room.saturating_sub(samples);
        series.push(i64::from_be_bytes(required(row, 0)?));
    }
    let mut done = Compacted { more: true, ..Compacted::default() };
    let Some(last) = series.last().copied() else {
        sqlx::query(include_str!("../sql/forget_hours.sql")).bind(start).bind(end).execute(&mut *tx).await?;
        tx.commit().await?;
        return Ok((None, done));
    };
    let held = stored(&mut tx, packing.day, packing.day.saturating_add(DAY), series.clone()).await?;
    let remove = include_str!("../sql/remove_hours.sql");
    sqlx::query(remove).bind(&series).bind(start).bind(end).execute(&mut *tx).await?;
    let remove = include_str!("../sql/remove_daily.sql");
    sqlx::query(remove).bind(&series).bind(start).execute(&mut *tx).await?;
    done.segments = whole_days(packing.day, held).finish(&mut tx).await?;
    let note = include_str!("../sql/note_compaction.sql");
    sqlx::query(note).bind("day").bind(start).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok((last.checked_add(1).map(|next| Packing { next, ..packing }), done))
}

/// What series have of a day, as one segment each.
fn whole_days(day: Millis, held: HashMap<i64, Stored>) -> Writer {
    let mut held: Vec<_> = held.into_iter().collect();
    held.sort_unstable_by_key(|(series, _)| *series);
    let mut writer = Writer::new(day);
    for (series, Stored { mut segments, .. }) in held {
        segments.sort_unstable_by_key(|segment| segment.bucket.start());
        let Some(origin) = segments.first().map(|segment| segment.origin) else { continue };
        let mut column = Column::default();
        segments.into_iter().for_each(|segment| column.append(segment.column));
        column.compact();
        writer.write(series, vec![Segment { bucket: Bucket::Day(day), origin, column }], true);
    }
    writer
}
