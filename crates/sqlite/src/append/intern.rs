//! Series are written once: what is known is skipped, what is new is written with its first batch. Which id a label
//! set has is for [`metricsd_store::owners`] to say.

use std::collections::HashSet;
use std::sync::Arc;

use metricsd_model::{Layout, Series};
use metricsd_store::follow::Own;
use metricsd_store::owners::{Changed, Known, MAX_ATTEMPTS, Owners};
use parking_lot::Mutex;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::layouts::place_layouts;
use super::texts::{self, Texts};
use super::{Columns, Interned, ROWS};
use crate::columns::id_list;
use crate::error::Fault;
use crate::read::{SERIES_COLUMNS, series_of_row};

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern(
    tx: &mut SqliteConnection,
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
        write(tx, &mut owners, missing).await?;
    }
    let (ids, changed) = owners.assign(&work)?;
    interned.learn(owners.into_learned());
    describe(tx, &changed).await?;
    place_layouts(tx, known, &work, &ids, &mut interned).await?;
    Ok(interned)
}

/// Writes the series that are new and reads who owns the other ids.
async fn write(
    tx: &mut SqliteConnection,
    owners: &mut Owners<'_>,
    missing: Vec<(i64, Arc<Series>)>,
) -> Result<(), Fault> {
    let added = next_added(tx).await?;
    let mut taken = Vec::new();
    let mut texts = texts::texts(tx, &missing).await?.into_iter();
    for part in missing.chunks(ROWS) {
        // Told by their number alone where all are new: rows that come back cost as much as those that go.
        let rows = part.iter().map(|(id, _)| *id).zip(texts.by_ref());
        let written = insert_series(tx, rows, added).await?;
        let old = if written == part.len() { HashSet::new() } else { older(tx, part, added).await? };
        for (id, series) in part {
            if old.contains(id) {
                taken.push(*id);
            } else {
                owners.wrote(*id, series);
            }
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
    select.push(" WHERE id IN (SELECT value FROM json_each(").push_bind(id_list(taken)).push("))");
    for row in select.build().fetch_all(tx).await? {
        owners.found(series_of_row(&row)?);
    }
    Ok(())
}

/// The series that this transaction has written, where these are all that it has marked.
pub(super) async fn own(tx: &mut SqliteConnection, interned: &mut Interned) -> Result<Option<Own>, Fault> {
    let Some(series) = interned.take_written() else {
        return Ok(None);
    };
    let first = series.first().map(|(id, _)| *id);
    let row = sqlx::query("SELECT (SELECT added FROM series_rows WHERE id = ?1), number FROM last_added")
        .bind(first)
        .fetch_one(tx)
        .await?;
    Ok(Some(Own { marks: (row.try_get(0)?, row.try_get(1)?), series }))
}

/// What this transaction marks the series with that it writes. Writers come one after another, so no number that is
/// above what a reader has seen is ever given below it later.
async fn next_added(tx: &mut SqliteConnection) -> Result<i64, Fault> {
    let row = sqlx::query("UPDATE last_added SET number = number + 1 RETURNING number").fetch_one(tx).await?;
    Ok(row.try_get(0)?)
}

/// Answers how many ids were free.
async fn insert_series(
    tx: &mut SqliteConnection,
    rows: impl Iterator<Item = (i64, Texts)>,
    added: i64,
) -> Result<usize, Fault> {
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO series_rows (id, name, owner, labels, added) ");
    insert.push_values(rows, |mut row, (id, texts)| {
        row.push_bind(id)
            .push_bind(texts.name)
            .push_bind(texts.owner)
            .push_bind(texts.labels)
            .push_bind(added);
    });
    insert.push(" ON CONFLICT (id) DO NOTHING");
    let done = insert.build().execute(tx).await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Those of the ids that were there before this transaction, by the mark that it puts on what it writes.
async fn older(
    tx: &mut SqliteConnection,
    series: &[(i64, Arc<Series>)],
    added: i64,
) -> Result<HashSet<i64>, Fault> {
    let ids = id_list(series.iter().map(|(id, _)| *id));
    let rows = sqlx::query(
        "SELECT id FROM series_rows WHERE id IN (SELECT value FROM json_each(?1)) AND added <> ?2",
    )
    .bind(ids)
    .bind(added)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Writes descriptions that have changed, and marks their series as news.
async fn describe(tx: &mut SqliteConnection, changed: &Changed) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let added = next_added(tx).await?;
    texts::describe(tx, changed, added).await
}
