//! Series are written once: what is known is skipped, what is new is written with its first batch. Which id a label
//! set has is for [`metricsd_store::owners`] to say.

use std::collections::HashSet;
use std::sync::Arc;

use metricsd_model::{Layout, Series};
use metricsd_store::follow::Own;
use metricsd_store::owners::{Changed, Known, MAX_ATTEMPTS, Owners, labels_json};
use parking_lot::Mutex;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::layouts::place_layouts;
use super::{Columns, Interned, ROWS};
use crate::columns::{id_list, written};
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
    for part in missing.chunks(ROWS) {
        // Told by their number alone where all are new: rows that come back cost as much as those that go.
        let written = insert_series(tx, part, added).await?;
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
    let row = sqlx::query("SELECT (SELECT added FROM series WHERE id = ?1), number FROM last_added")
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
    series: &[(i64, Arc<Series>)],
    added: i64,
) -> Result<usize, Fault> {
    let mut rows = Vec::with_capacity(series.len());
    for (id, series) in series {
        rows.push((*id, series, written(labels_json(series))?));
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit, added) ",
    );
    insert.push_values(rows, |mut row, (id, series, labels)| {
        row.push_bind(id)
            .push_bind(series.labels.metric_name())
            .push_bind(series.metric_type.as_str())
            .push_bind(labels)
            .push_bind(&*series.source)
            .push_bind(&*series.target_id)
            .push_bind(series.source_type.as_str())
            .push_bind(series.help.as_deref())
            .push_bind(series.unit.as_deref())
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
    let rows =
        sqlx::query("SELECT id FROM series WHERE id IN (SELECT value FROM json_each(?1)) AND added <> ?2")
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
    for (id, series) in changed {
        sqlx::query(
            "UPDATE series SET metric_type = ?2, help = coalesce(?3, help), unit = coalesce(?4, unit), added = ?5
             WHERE id = ?1",
        )
        .bind(id)
        .bind(series.metric_type.as_str())
        .bind(series.help.as_deref())
        .bind(series.unit.as_deref())
        .bind(added)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
