//! Series and layouts are written once: what is known is skipped, what is new is written with its first batch. Which
//! id a label set has is for [`metricsd_store::owners`] to say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Layout, Series, SeriesId};
use metricsd_store::follow::Own;
use metricsd_store::owners::{Changed, Known, MAX_ATTEMPTS, Owners, labels_json};
use parking_lot::Mutex;
use sqlx::{Connection, PgConnection, Row};

use super::{Interned, SEND_BYTES, signed};
use crate::binary::{required, required_array};
use crate::copy::{BinaryRows, Columns};
use crate::error::{Fault, damaged};
use crate::read::series_of_row;

/// Rows of one statement; bounds the memory of both sides when many series are new at once.
const SERIES_A_STATEMENT: usize = 20_000;

/// Columns of the layouts of one statement.
const COLUMNS_A_STATEMENT: usize = 500_000;

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern(
    tx: &mut PgConnection,
    known: &Mutex<Known>,
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
        write(tx, &mut owners, &missing).await?;
    }
    let (ids, changed) = owners.assign(&work)?;
    describe(tx, &changed).await?;
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
/// their locks in one order.
async fn write(
    tx: &mut PgConnection,
    owners: &mut Owners<'_>,
    missing: &[(i64, Arc<Series>)],
) -> Result<(), Fault> {
    for part in missing.chunks(SERIES_A_STATEMENT) {
        let stored = find(tx, owners, part.iter().map(|(id, _)| *id).collect()).await?;
        let free: Vec<_> = part.iter().filter(|(id, _)| !stored.contains(id)).cloned().collect();
        if free.is_empty() {
            continue;
        }
        let taken = match copy_series(tx, &free).await {
            Ok(()) => HashSet::new(),
            // Another writer was faster with some of them.
            Err(fault) if fault.is_series_race() => {
                let written: HashSet<i64> = insert_series(tx, &free).await?.into_iter().collect();
                let lost = free.iter().map(|(id, _)| *id).filter(|id| !written.contains(id)).collect();
                find(tx, owners, lost).await?
            }
            Err(fault) => return Err(fault),
        };
        for (id, series) in free.iter().filter(|(id, _)| !taken.contains(id)) {
            owners.wrote(*id, series);
        }
    }
    Ok(())
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

/// Writes series under ids that were free a moment ago. Where one no longer is, the savepoint undoes this alone, locks
/// included. `COPY` costs half of an `INSERT` that minds conflicts, row by row.
async fn copy_series(tx: &mut PgConnection, series: &[(i64, Arc<Series>)]) -> Result<(), Fault> {
    let mut savepoint = tx.begin().await?;
    match send_series(&mut savepoint, series).await {
        Ok(()) => Ok(savepoint.commit().await?),
        Err(fault) => {
            savepoint.rollback().await?;
            Err(fault)
        }
    }
}

async fn send_series(tx: &mut PgConnection, series: &[(i64, Arc<Series>)]) -> Result<(), Fault> {
    let mut rows = BinaryRows::new(SEND_BYTES + SEND_BYTES / 4);
    let mut copy = tx.copy_in_raw(include_str!("../sql/copy_series.sql")).await?;
    for (id, series) in series {
        rows.begin(9);
        rows.field(&id.to_be_bytes());
        rows.field(series.labels.metric_name().as_bytes());
        rows.field(series.metric_type.as_str().as_bytes());
        rows.jsonb(&labels_text(series)?);
        rows.field(series.source.as_bytes());
        rows.field(series.target_id.as_bytes());
        rows.field(series.source_type.as_str().as_bytes());
        for text in [&series.help, &series.unit] {
            match text.as_deref() {
                Some(text) => rows.field(without_nul(text).as_bytes()),
                None => rows.null(),
            }
        }
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

/// The same, past the ids that others have taken. Answers what was written.
async fn insert_series(tx: &mut PgConnection, series: &[(i64, Arc<Series>)]) -> Result<Vec<i64>, Fault> {
    let labels: Result<Vec<String>, Fault> = series.iter().map(|(_, series)| labels_text(series)).collect();
    let text =
        |field: fn(&Series) -> &str| series.iter().map(|(_, series)| field(series)).collect::<Vec<_>>();
    let optional =
        |field: fn(&Series) -> Option<String>| series.iter().map(|(_, s)| field(s)).collect::<Vec<_>>();
    let rows = sqlx::query(include_str!("../sql/insert_series.sql"))
        .bind(series.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(text(|series| series.labels.metric_name()))
        .bind(text(|series| series.metric_type.as_str()))
        .bind(labels?)
        .bind(text(|series| &series.source))
        .bind(text(|series| &series.target_id))
        .bind(text(|series| series.source_type.as_str()))
        .bind(optional(|series| series.help.as_deref().map(without_nul)))
        .bind(optional(|series| series.unit.as_deref().map(without_nul)))
        .fetch_all(tx)
        .await?;
    rows.iter().map(|row| Ok(i64::from_be_bytes(required(row, 0)?))).collect()
}

fn labels_text(series: &Series) -> Result<String, Fault> {
    labels_json(series).map_err(|error| damaged("cannot write labels").caused_by(error))
}

/// Help texts come from outside, and text columns cannot hold NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes descriptions that have changed, in order of id.
async fn describe(tx: &mut PgConnection, changed: &Changed) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let optional = |field: fn(&Series) -> &Option<Arc<str>>| -> Vec<Option<String>> {
        changed.values().map(|series| field(series).as_deref().map(without_nul)).collect()
    };
    sqlx::query(include_str!("../sql/describe_series.sql"))
        .bind(changed.keys().copied().collect::<Vec<_>>())
        .bind(changed.values().map(|series| series.metric_type.as_str()).collect::<Vec<_>>())
        .bind(optional(|series| &series.help))
        .bind(optional(|series| &series.unit))
        .execute(tx)
        .await?;
    Ok(())
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
        let (mut ids, mut first, mut last, mut flat) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::<i64>::new());
        while let Some((id, series)) = rest.next_if(|_| flat.len() < COLUMNS_A_STATEMENT) {
            ids.push(*id);
            first.push(flat.len() as i32 + 1);
            flat.extend_from_slice(series);
            last.push(flat.len() as i32);
        }
        let query = sqlx::query(include_str!("../sql/insert_layouts.sql"))
            .bind(&ids)
            .bind(first)
            .bind(last)
            .bind(flat);
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
