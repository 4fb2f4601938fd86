//! Series are written once: what is known is skipped, what is new is written with its first batch. Which id a label
//! set has is for [`metricsd_store::owners`] to say; its number is the next that is free.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metricsd_model::{Layout, Series, SeriesId};
use metricsd_store::follow::Own;
use metricsd_store::owners::{Changed, Known, MAX_ATTEMPTS, Owners};
use parking_lot::Mutex;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::labels::Labels;
use super::layouts::place_layouts;
use super::texts::{self, Texts};
use super::{Columns, Interned, ROWS};
use crate::columns::id_list;
use crate::error::Fault;
use crate::numbers::{self, Numbering};
use crate::read::{SERIES_COLUMNS, number_of_row, series_of_row};

/// Finds or writes the series and layouts of `layouts`, which are distinct.
pub(super) async fn intern(
    tx: &mut SqliteConnection,
    known: &Mutex<Known>,
    numbering: &mut Numbering<'_>,
    layouts: &[Arc<Layout>],
) -> Result<Interned, Fault> {
    let mut interned = Interned::default();
    let work = interned.skip_known(known, layouts, Columns::Shared);
    if work.is_empty() {
        return Ok(interned);
    }
    let mut owners = Owners::new(known);
    for _ in 0..MAX_ATTEMPTS {
        let missing = owners.missing(&work)?;
        if missing.is_empty() {
            break;
        }
        write(tx, &mut owners, numbering, missing, &work).await?;
    }
    let (ids, changed) = owners.assign(&work)?;
    interned.learn(owners.into_learned());
    describe(tx, numbering, &changed).await?;
    place_layouts(tx, known, numbering, &work, &ids, &mut interned).await?;
    Ok(interned)
}

/// Reads who owns the ids that are taken, and writes the series that are new.
async fn write(
    tx: &mut SqliteConnection,
    owners: &mut Owners<'_>,
    numbering: &mut Numbering<'_>,
    missing: Vec<(i64, Arc<Series>)>,
    work: &[Arc<Layout>],
) -> Result<(), Fault> {
    let ids: Vec<SeriesId> = missing.iter().map(|(id, _)| SeriesId::from_i64(*id)).collect();
    let taken = numbers::stored(tx, &ids).await?;
    if !taken.is_empty() {
        let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
        let list = id_list(taken.iter().map(|(_, number)| *number));
        select.push(" WHERE seq IN (SELECT value FROM json_each(").push_bind(list).push("))");
        for row in select.build().fetch_all(&mut *tx).await? {
            let series = series_of_row(&row)?;
            numbering.series_is(series.id, number_of_row(&row)?);
            owners.found(series);
        }
    }
    let taken: HashSet<i64> = taken.into_iter().map(|(id, _)| id.to_i64()).collect();
    let mut new = missing;
    new.retain(|(id, _)| !taken.contains(id));
    if new.is_empty() {
        return Ok(());
    }
    in_order_of_columns(&mut new, work);
    let first = numbers::give(tx, new.len()).await?;
    insert_series(tx, &new, first).await?;
    for ((id, series), number) in new.iter().zip(first..) {
        numbering.series_is(SeriesId::from_i64(*id), number);
        owners.wrote(*id, series);
    }
    Ok(())
}

/// Series come by their ids, and get numbers in the order in which layouts name them: so those of a layout follow each
/// other in every table and list.
fn in_order_of_columns(new: &mut [(i64, Arc<Series>)], work: &[Arc<Layout>]) {
    let mut places: HashMap<*const Series, usize> = HashMap::with_capacity(new.len());
    for (place, series) in work.iter().flat_map(|layout| &layout.series).enumerate() {
        places.entry(Arc::as_ptr(series)).or_insert(place);
    }
    new.sort_by_cached_key(|(_, series)| places.get(&Arc::as_ptr(series)).copied());
}

/// The series that this transaction has written, where these are all that readers have to learn of it.
pub(super) fn own(numbering: &Numbering<'_>, interned: &mut Interned) -> Option<Own> {
    let written = interned.take_written()?.into_iter();
    let numbered = written.map(|(id, series)| Some((numbering.noted(SeriesId::from_i64(id))?, series)));
    let series: Vec<_> = numbered.collect::<Option<_>>()?;
    let numbers = || series.iter().map(|(number, _)| *number);
    Some(Own { marks: (numbers().min()?, numbers().max()?), series })
}

/// Writes rows of series with the numbers from `first` on.
async fn insert_series(
    tx: &mut SqliteConnection,
    new: &[(i64, Arc<Series>)],
    first: i64,
) -> Result<(), Fault> {
    let texts = texts::texts(tx, new).await?;
    let mut rows = new.iter().zip(first..).zip(texts).peekable();
    while rows.peek().is_some() {
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT INTO series_rows (seq, id, name, owner, labels) ");
        insert.push_values(rows.by_ref().take(ROWS), |mut row, (((id, _), number), texts)| {
            let Texts { name, owner, labels } = texts;
            row.push_bind(number).push_bind(*id).push_bind(name).push_bind(owner);
            match labels {
                Labels::Shared(id) => row.push_bind(id),
                Labels::Own(text) => row.push_bind(text),
            };
        });
        insert.build().execute(&mut *tx).await?;
    }
    for sql in [
        // In the table's own order, so that its pages are visited one after another.
        "INSERT INTO series_ids (half, seq) SELECT id >> 32, seq FROM series_rows WHERE seq >= ?1 ORDER BY 1, 2",
        "INSERT INTO series_times (seq) VALUES (?1)",
    ] {
        sqlx::query(sql).bind(first).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Writes descriptions that have changed, and marks their series as news.
async fn describe(
    tx: &mut SqliteConnection,
    numbering: &mut Numbering<'_>,
    changed: &Changed,
) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<SeriesId> = changed.keys().map(|id| SeriesId::from_i64(*id)).collect();
    let numbers = numbering.of_series(tx, &ids).await?;
    let added = numbers::give(tx, 1).await?;
    let changed: Vec<_> = numbers.into_iter().zip(changed.values()).collect();
    texts::describe(tx, &changed, added).await
}
