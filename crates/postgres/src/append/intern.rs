//! Series and layouts are written once: what is known is skipped, what is new is written with its first batch. Which
//! id a label set has is for [`metricsd_store::owners`] to say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Layout, Series, SeriesId};
use metricsd_store::follow::Own;
use metricsd_store::owners::{Known, MAX_ATTEMPTS, Owners};
use parking_lot::Mutex;
use sqlx::{Connection, PgConnection, Row};

use super::slices::Slices;
use super::texts::{Numbers, Texts};
use super::{Interned, signed};
use crate::binary::{required, required_array};
use crate::copy::{BinaryRows, Columns};
use crate::error::Fault;
use crate::read::series_of_row;

/// Rows of one statement; bounds the memory of both sides when many series are new at once.
const SERIES_A_STATEMENT: usize = 20_000;

/// So many new series or fewer are inserted. A `COPY` ends with a small message of its own, which waits for the server's
/// system to acknowledge the one before: some 40 ms, unless more than one packet was on its way.
const INSERTED: usize = 1_000;

/// Bytes of the ids in layouts of one statement, beyond which the next layout goes into another.
const LAYOUT_BYTES: usize = 4_000_000;

/// Bytes of encoded series that are sent at a time.
const SEND_BYTES: usize = 1 << 20;

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern(
    tx: &mut PgConnection,
    known: &Mutex<Known>,
    texts: &mut Texts<'_>,
    layouts: &[Arc<Layout>],
) -> Result<Interned, Fault> {
    let mut interned = Interned::default();
    let work = interned.skip_known(known, layouts, |id| Columns::Shared(id.0.cast_signed()));
    if work.is_empty() {
        return Ok(interned);
    }
    let mut owners = Owners::new(known);
    for _ in 0..MAX_ATTEMPTS {
        let missing = owners.missing(&work)?;
        if missing.is_empty() {
            break;
        }
        write(tx, texts, &mut owners, &missing).await?;
    }
    let (ids, changed) = owners.assign(&work)?;
    texts.describe(tx, &changed).await?;
    interned.learn(owners.into_learned());
    place_layouts(tx, known, &work, ids, &mut interned).await?;
    Ok(interned)
}

/// The series that this transaction has written, where these are all that it has marked with its number.
pub(super) async fn own(tx: &mut PgConnection, interned: &mut Interned) -> Result<Option<Own>, Fault> {
    let Some(series) = interned.take_written() else {
        return Ok(None);
    };
    let row = sqlx::query("SELECT pg_current_xact_id()::text::int8").fetch_one(tx).await?;
    let number = row.try_get(0)?;
    Ok(Some(Own { marks: (number, number), series }))
}

/// Reads who owns the ids and writes the series whose ids are free. They come in order of id, so that writers take
/// their locks in one order; all names and owners come before them.
async fn write(
    tx: &mut PgConnection,
    texts: &mut Texts<'_>,
    owners: &mut Owners<'_>,
    missing: &[(i64, Arc<Series>)],
) -> Result<(), Fault> {
    let mut free = Vec::with_capacity(missing.len());
    for part in missing.chunks(SERIES_A_STATEMENT) {
        let stored = find(tx, owners, part.iter().map(|(id, _)| *id).collect()).await?;
        free.extend(part.iter().filter(|(id, _)| !stored.contains(id)).cloned());
    }
    let numbers = texts.numbers(tx, &free).await?;
    let rows: Vec<NewSeries<'_>> = free
        .iter()
        .zip(numbers)
        .map(|((id, series), numbers)| NewSeries { id: *id, series, numbers })
        .collect();
    for part in rows.chunks(SERIES_A_STATEMENT) {
        let is_copied = part.len() > INSERTED && copied(copy_series(tx, part).await)?;
        let taken = if is_copied {
            HashSet::new()
        } else {
            let written: HashSet<i64> = insert_series(tx, part).await?.into_iter().collect();
            let lost = part.iter().map(|row| row.id).filter(|id| !written.contains(id)).collect();
            find(tx, owners, lost).await?
        };
        for row in part.iter().filter(|row| !taken.contains(&row.id)) {
            owners.wrote(row.id, row.series);
        }
    }
    Ok(())
}

/// `false` where another writer was faster with some of the series.
fn copied(result: Result<(), Fault>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(fault) if fault.is_series_race() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Reads the series of those ids that are taken; answers these ids.
async fn find(tx: &mut PgConnection, owners: &mut Owners<'_>, ids: Vec<i64>) -> Result<HashSet<i64>, Fault> {
    let mut stored = HashSet::new();
    if ids.is_empty() {
        return Ok(stored);
    }
    let rows = sqlx::query(include_str!("../sql/series_by_id.sql")).bind(ids).fetch_all(tx).await?;
    for row in rows {
        let series = series_of_row(&row)?;
        stored.insert(series.id.to_i64());
        owners.found(series);
    }
    Ok(stored)
}

/// A row of `series_rows`.
struct NewSeries<'s> {
    id: i64,
    series: &'s Arc<Series>,
    /// Of its name and its owner.
    numbers: Numbers,
}

/// Writes series under ids that were free a moment ago. Where one no longer is, the savepoint undoes this alone, locks
/// included. `COPY` costs half of an `INSERT` that minds conflicts, row by row.
async fn copy_series(tx: &mut PgConnection, series: &[NewSeries<'_>]) -> Result<(), Fault> {
    let mut savepoint = tx.begin().await?;
    match send_series(&mut savepoint, series).await {
        Ok(()) => Ok(savepoint.commit().await?),
        Err(fault) => {
            savepoint.rollback().await?;
            Err(fault)
        }
    }
}

async fn send_series(tx: &mut PgConnection, series: &[NewSeries<'_>]) -> Result<(), Fault> {
    let mut rows = BinaryRows::new(SEND_BYTES + SEND_BYTES / 4);
    let mut copy = tx.copy_in_raw(include_str!("../sql/copy_series.sql")).await?;
    for NewSeries { id, series, numbers } in series {
        rows.begin(4);
        rows.field(&id.to_be_bytes());
        rows.field(&numbers.name.to_be_bytes());
        rows.field(&numbers.owner.to_be_bytes());
        rows.jsonb(&numbers.labels_text(series)?);
        if rows.bytes().len() >= SEND_BYTES {
            copy.send(rows.bytes()).await?;
            rows.clear();
        }
    }
    rows.end();
    copy.send(rows.bytes()).await?;
    copy.finish().await?;
    Ok(())
}

/// Writes series past the ids that others have taken. Answers what was written.
async fn insert_series(tx: &mut PgConnection, series: &[NewSeries<'_>]) -> Result<Vec<i64>, Fault> {
    let labels: Result<Vec<String>, Fault> =
        series.iter().map(|row| row.numbers.labels_text(row.series)).collect();
    let rows = sqlx::query(include_str!("../sql/insert_series.sql"))
        .bind(series.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(series.iter().map(|row| row.numbers.name).collect::<Vec<_>>())
        .bind(series.iter().map(|row| row.numbers.owner).collect::<Vec<_>>())
        .bind(labels?)
        .fetch_all(tx)
        .await?;
    rows.iter().map(|row| Ok(i64::from_be_bytes(required(row, 0)?))).collect()
}

/// Shares the layouts that can be shared; all others travel in their frames.
async fn place_layouts(
    tx: &mut PgConnection,
    known: &Mutex<Known>,
    work: &[Arc<Layout>],
    assigned: Vec<Vec<SeriesId>>,
    interned: &mut Interned,
) -> Result<(), Fault> {
    let is_known = |layout: &Layout| {
        let stored = layout.id.and_then(|id| known.lock().layouts.get(id));
        stored.is_some_and(|stored| stored.ids == layout.ids)
    };
    let mut wanted: BTreeMap<i64, Arc<[i64]>> = BTreeMap::new();
    for (layout, ids) in work.iter().zip(&assigned) {
        if let Some(id) = layout.id.filter(|_| *ids == layout.ids && !is_known(layout)) {
            wanted.entry(id.0.cast_signed()).or_insert_with(|| signed(&layout.ids));
        }
    }
    let refused = write_layouts(tx, &wanted).await?;
    for (layout, ids) in work.iter().zip(assigned) {
        let shared = layout.id.filter(|id| {
            let number = id.0.cast_signed();
            let stored = match wanted.get(&number) {
                Some(wanted) => wanted.iter().copied().eq(layout.ids.iter().map(|id| id.to_i64())),
                None => is_known(layout),
            };
            ids == layout.ids && stored && !refused.contains(&number)
        });
        match shared {
            Some(id) => interned.share(layout, Columns::Shared(id.0.cast_signed())),
            None => interned.place(layout, Columns::Inline(signed(&ids))),
        }
    }
    Ok(())
}

/// Writes layouts that are new; answers those whose id stands for another list.
async fn write_layouts(tx: &mut PgConnection, wanted: &BTreeMap<i64, Arc<[i64]>>) -> Result<Vec<i64>, Fault> {
    let mut refused = Vec::new();
    let mut rest = wanted.iter().peekable();
    while rest.peek().is_some() {
        let (mut ids, mut lists) = (Vec::new(), Slices::<i64, 8>::default());
        while let Some((id, series)) = rest.next_if(|_| lists.bytes() < LAYOUT_BYTES) {
            ids.push(*id);
            lists.push(Some(series));
        }
        let query = sqlx::query(include_str!("../sql/insert_layouts.sql"))
            .bind(&ids)
            .bind(&lists.first)
            .bind(&lists.last)
            .bind(&lists);
        let mut new = HashSet::new();
        for row in query.fetch_all(&mut *tx).await? {
            new.insert(i64::from_be_bytes(required(&row, 0)?));
        }
        ids.retain(|id| !new.contains(id));
        refused.extend(other_lists(tx, ids, wanted).await?);
    }
    Ok(refused)
}

async fn other_lists(
    tx: &mut PgConnection,
    taken: Vec<i64>,
    wanted: &BTreeMap<i64, Arc<[i64]>>,
) -> Result<Vec<i64>, Fault> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let mut other = Vec::new();
    let rows = sqlx::query(include_str!("../sql/layouts_by_id.sql")).bind(taken).fetch_all(tx).await?;
    for row in rows {
        let id = i64::from_be_bytes(required(&row, 0)?);
        let stored = required_array::<8>(&row, 1)?.iter().map(i64::from_be_bytes);
        if !wanted.get(&id).is_some_and(|ids| stored.eq(ids.iter().copied())) {
            other.push(id);
        }
    }
    Ok(other)
}
