//! Removing series and layouts of which nothing is left.
//!
//! A process remembers what it has stored and does not look it up again. So whatever is removed is told in `removals`:
//! an append, which holds the write lock, reads what was removed since it looked last and forgets it.

use std::collections::HashSet;

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_ids;
use metricsd_model::Millis;
use metricsd_ports::{ROLLUP_STEPS, Unused};
use metricsd_store::owners::Removal;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::columns::{id_list, signed_len};
use crate::compact::generation;
use crate::error::Fault;
use crate::segments::read as unpacked;

/// Layouts that one call removes, and series that one call looks at.
const LAYOUTS: i64 = 200;
const SERIES: usize = 500;

/// How long removals are told.
const TOLD: Millis = 7 * 24 * 3_600_000;

/// Where the next call goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The last series that was looked at; all are looked at anew where there is none.
    after: Option<i64>,
    /// Series in frames that carry their own ids, up to this frame, for as long as no frame is removed: numbers of
    /// frames that are gone may be given again.
    inline: HashSet<i64>,
    seen: i64,
    generation: Option<i64>,
}

/// What was removed after `removal`, and the number of the newest removal.
pub(crate) async fn removals_after(
    connection: &mut SqliteConnection,
    removal: i64,
) -> Result<(Vec<Removal>, i64), Fault> {
    let read = |row: &SqliteRow| {
        Ok(Removal { number: row.try_get(0)?, layout: row.try_get(1)?, id: row.try_get(2)? })
    };
    let sql = "SELECT number, layout, id FROM removals WHERE number > ?1 ORDER BY number";
    let rows = sqlx::query(sql).bind(removal).fetch_all(&mut *connection).await?;
    let removals = rows.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    let last = match removals.last() {
        Some(last) => last.number,
        None => last_removal(connection).await?,
    };
    Ok((removals, last))
}

/// The number of the newest removal there ever was.
pub(crate) async fn last_removal(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'removals'), 0)";
    Ok(sqlx::query(sql).fetch_one(connection).await?.try_get(0)?)
}

/// Does the next piece; see [`metricsd_ports::Retention::remove_unused`].
pub(crate) async fn remove_unused(store: &SqliteStore, before: Millis) -> Result<Unused, Fault> {
    let mut sweep = store.sweep.lock().await;
    if sweep.after.is_none() {
        let lists = remove_layouts(store, before).await?;
        if lists > 0 {
            return Ok(Unused { lists, more: true, ..Unused::default() });
        }
        sweep.after = Some(i64::MIN);
    }
    let page = series_page(store, sweep.after, before).await?;
    let Some(last) = page.last().copied() else {
        remove_texts(store).await?;
        *sweep = Sweep::default();
        return Ok(Unused::default());
    };
    let mut tx = store.snapshot().await?;
    let planned = generation(&mut tx).await?;
    if sweep.generation != Some(planned) {
        let after = sweep.after;
        *sweep = Sweep { after, generation: Some(planned), ..Sweep::default() };
        note_inline(&mut tx, &mut sweep).await?;
    }
    let unused = without_samples(&mut tx, page, &sweep.inline).await?;
    tx.rollback().await?;
    let series = match unused.is_empty() {
        true => 0,
        // Looked at again by the next call where others touched segments meanwhile.
        false => match remove_series(store, planned, unused, &mut sweep).await? {
            Some(removed) => removed,
            None => return Ok(Unused { more: true, ..Unused::default() }),
        },
    };
    sweep.after = Some(last);
    Ok(Unused { series, lists: 0, more: true })
}

/// Removes names and owners that no series has any more; a description that changes leaves one too. Who appends looks them up in the transaction that uses them.
async fn remove_texts(store: &SqliteStore) -> Result<(), Fault> {
    let mut tx = store.write().await?;
    for sql in [
        "DELETE FROM series_names WHERE id NOT IN (SELECT name FROM series_rows)",
        "DELETE FROM series_owners WHERE id NOT IN (SELECT owner FROM series_rows)",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Notes which series stand in frames that carry their own ids, of those that were not looked at.
async fn note_inline(tx: &mut SqliteConnection, sweep: &mut Sweep) -> Result<(), Fault> {
    let sql = "SELECT seq, series_ids FROM frames WHERE layout IS NULL AND seq > ?1";
    let mut rows = sqlx::query(sql).bind(sweep.seen).fetch(&mut *tx);
    let mut seen = sweep.seen;
    while let Some(row) = rows.try_next().await? {
        seen = seen.max(row.try_get(0)?);
        sweep.inline.extend(unpacked(unpack_ids(row.try_get(1)?))?.into_iter().map(u64::cast_signed));
    }
    drop(rows);
    sweep.seen = seen;
    Ok(())
}

/// Removes layouts that no frame refers to.
async fn remove_layouts(store: &SqliteStore, before: Millis) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let sql = "SELECT l.id, l.series FROM layouts l
        WHERE l.first_seen < ?1 AND NOT EXISTS (SELECT 1 FROM frames f WHERE f.layout = l.id) LIMIT ?2";
    let rows = sqlx::query(sql).bind(before).bind(LAYOUTS).fetch_all(&mut *tx).await?;
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        let series = unpacked(unpack_ids(row.try_get(1)?))?;
        sqlx::query(
            "DELETE FROM layout_series WHERE layout = ?1 AND series IN (SELECT value FROM json_each(?2))",
        )
        .bind(id)
        .bind(id_list(series.into_iter().map(u64::cast_signed)))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM layouts WHERE id = ?1").bind(id).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO removals (layout, id) VALUES (1, ?1)").bind(id).execute(&mut *tx).await?;
    }
    sqlx::query("DELETE FROM removals WHERE at < ?1")
        .bind(crate::store::now().saturating_sub(TOLD))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.len() as u64)
}

async fn series_page(store: &SqliteStore, after: Option<i64>, before: Millis) -> Result<Vec<i64>, Fault> {
    // The first id may be the smallest number there is.
    let sql = "SELECT id FROM series_rows WHERE id > ?1 AND first_seen < ?2 ORDER BY id LIMIT ?3";
    let query = sqlx::query(sql).bind(after.unwrap_or(i64::MIN)).bind(before).bind(signed_len(SERIES));
    query.fetch_all(&store.readers).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Which of these series have nothing: sought in each table, span by span where a table begins with time.
async fn without_samples(
    tx: &mut SqliteConnection,
    mut series: Vec<i64>,
    inline: &HashSet<i64>,
) -> Result<Vec<i64>, Fault> {
    series.retain(|id| !inline.contains(id));
    for sql in [
        "SELECT DISTINCT series FROM layout_series WHERE series IN (SELECT value FROM json_each(?1))",
        "SELECT DISTINCT series FROM exemplars WHERE series IN (SELECT value FROM json_each(?1))",
    ] {
        let query = sqlx::query(sql).bind(id_list(series.iter().copied()));
        keep_others(&mut series, query.fetch_all(&mut *tx).await?)?;
    }
    for (times, sql) in [
        (
            "SELECT DISTINCT time FROM spans WHERE daily = 0",
            "SELECT s.series FROM json_each(?1) w CROSS JOIN segments s ON s.time = ?2 AND s.series = w.value",
        ),
        (
            "SELECT DISTINCT time FROM spans WHERE daily = 1",
            "SELECT s.series FROM json_each(?1) w CROSS JOIN segments_daily s ON s.time = ?2 AND s.series = w.value",
        ),
    ] {
        let times = sqlx::query(times).fetch_all(&mut *tx).await?;
        for time in &times {
            if series.is_empty() {
                return Ok(series);
            }
            let query = sqlx::query(sql).bind(id_list(series.iter().copied()));
            let held = query.bind(time.try_get::<i64, _>(0)?).fetch_all(&mut *tx).await?;
            keep_others(&mut series, held)?;
        }
    }
    let days = sqlx::query("SELECT day FROM rolled_days").fetch_all(&mut *tx).await?;
    let sql = "SELECT r.series FROM json_each(?1) w
        CROSS JOIN rollups r ON r.step = ?2 AND r.day = ?3 AND r.series = w.value";
    for (day, step) in days.iter().flat_map(|day| ROLLUP_STEPS.map(|step| (day, step))) {
        let query = sqlx::query(sql).bind(id_list(series.iter().copied())).bind(step);
        let held = query.bind(day.try_get::<i64, _>(0)?).fetch_all(&mut *tx).await?;
        keep_others(&mut series, held)?;
    }
    Ok(series)
}

fn keep_others(series: &mut Vec<i64>, held: Vec<SqliteRow>) -> Result<(), Fault> {
    let held: HashSet<i64> = held.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    series.retain(|id| !held.contains(id));
    Ok(())
}

/// Removes series that still have nothing now that nobody writes; `None` where segments may have come in between.
async fn remove_series(
    store: &SqliteStore,
    planned: i64,
    mut series: Vec<i64>,
    sweep: &mut Sweep,
) -> Result<Option<u64>, Fault> {
    let mut tx = store.write().await?;
    if generation(&mut tx).await? != planned {
        return Ok(None);
    }
    note_inline(&mut tx, sweep).await?;
    series.retain(|id| !sweep.inline.contains(id));
    let list = id_list(series.iter().copied());
    for sql in [
        "SELECT DISTINCT series FROM layout_series WHERE series IN (SELECT value FROM json_each(?1))",
        "SELECT DISTINCT series FROM exemplars WHERE series IN (SELECT value FROM json_each(?1))",
    ] {
        let held = sqlx::query(sql).bind(&list).fetch_all(&mut *tx).await?;
        keep_others(&mut series, held)?;
    }
    let list = id_list(series.iter().copied());
    let removed = sqlx::query("DELETE FROM series_rows WHERE id IN (SELECT value FROM json_each(?1))");
    let removed = removed.bind(&list).execute(&mut *tx).await?.rows_affected();
    sqlx::query("INSERT INTO removals (layout, id) SELECT 0, value FROM json_each(?1)")
        .bind(&list)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(removed))
}
