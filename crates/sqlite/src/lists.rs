//! What the step from version 18 to 19 needs beside SQL: lists of series that name them by ids are written anew with their
//! numbers, and labels that series share are written once.

use std::collections::HashMap;

use metricsd_codec::pack::unpack_ids;
use metricsd_model::SeriesId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::append::labels;
use crate::error::{Fault, damaged};
use crate::numbers::{insert_layout, pack, stored};

/// Lists that are read at once, and labels.
const READ: i64 = 200;
const SHARED: i64 = 10_000;

const LAYOUTS: &str = "SELECT id, series, first_seen FROM layouts_before
    WHERE id >= ?1 ORDER BY id LIMIT ?2";

const INLINE: &str = "SELECT seq, series_ids FROM frames
    WHERE layout IS NULL AND seq >= ?1 ORDER BY seq LIMIT ?2";

const LABELS: &str = "SELECT seq, labels FROM series_rows WHERE seq >= ?1 ORDER BY seq LIMIT ?2";

/// Writes labels that series share, for the next step to find.
pub(crate) async fn share_labels(tx: &mut SqliteConnection) -> Result<(), Fault> {
    let mut next = Some(i64::MIN);
    while let Some(first) = next {
        let rows = sqlx::query(LABELS).bind(first).bind(SHARED).fetch_all(&mut *tx).await?;
        let last: Option<i64> = rows.last().map(|row| row.try_get(0)).transpose()?;
        next = last.and_then(|last| last.checked_add(1));
        let labels: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(1)).collect();
        labels::share(tx, labels?).await?;
    }
    Ok(())
}

/// Writes the layouts of `layouts_before` as `layouts`, and the lists that frames carry in their place.
pub(crate) async fn number_lists(tx: &mut SqliteConnection) -> Result<(), Fault> {
    let mut next = Some(i64::MIN);
    while let Some(first) = next {
        let rows = sqlx::query(LAYOUTS).bind(first).bind(READ).fetch_all(&mut *tx).await?;
        next = None;
        for row in &rows {
            let id: i64 = row.try_get(0)?;
            next = id.checked_add(1);
            let series = numbers_of(tx, row).await?;
            let number = insert_layout(tx, id, &series).await?;
            sqlx::query("UPDATE layouts SET first_seen = ?2 WHERE number = ?1")
                .bind(number)
                .bind(row.try_get::<i64, _>(2)?)
                .execute(&mut *tx)
                .await?;
        }
    }
    let mut next = Some(i64::MIN);
    while let Some(first) = next {
        let rows = sqlx::query(INLINE).bind(first).bind(READ).fetch_all(&mut *tx).await?;
        next = None;
        for row in &rows {
            let seq: i64 = row.try_get(0)?;
            next = seq.checked_add(1);
            let series = numbers_of(tx, row).await?;
            sqlx::query("UPDATE frames SET series_ids = ?2 WHERE seq = ?1")
                .bind(seq)
                .bind(pack(&series))
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

/// The numbers of the series that a row lists by their ids.
async fn numbers_of(tx: &mut SqliteConnection, row: &SqliteRow) -> Result<Vec<i64>, Fault> {
    let ids = unpack_ids(row.try_get(1)?);
    let ids = ids.map_err(|error| damaged("damaged list of series in the database").caused_by(error))?;
    let ids: Vec<SeriesId> = ids.into_iter().map(SeriesId).collect();
    let numbers: HashMap<SeriesId, i64> = stored(tx, &ids).await?.into_iter().collect();
    let numbers: Option<Vec<i64>> = ids.iter().map(|id| numbers.get(id).copied()).collect();
    numbers.ok_or_else(|| damaged("a list of series names one that is not stored").into())
}
