//! Removing series and layouts of which nothing is left.
//!
//! A process remembers what it has stored and does not look it up again. So whatever is removed is told in `removals`:
//! an append, which holds the write lock, reads what was removed since it looked last and forgets it.

use std::collections::HashSet;

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::{ROLLUP_STEPS, Unused};
use metricsd_store::owners::Removal;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::columns::{id_list, signed_len};
use crate::compact::generation;
use crate::error::Fault;
use crate::numbers;
use crate::segments::slot_of;

/// Layouts that one call removes, and series that one call looks at.
const LAYOUTS: i64 = 200;
const SERIES: usize = 500;

/// Labels that one transaction removes.
const LABELS: usize = 5_000;

/// How long removals are told.
const TOLD: Millis = 7 * 24 * 3_600_000;

/// Where the next call goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The last series that was looked at; all are looked at anew where there is none.
    after: Option<i64>,
    /// Series in frames that carry their own lists, up to this frame, for as long as no frame is removed: numbers of
    /// frames that are gone may be given again.
    inline: HashSet<i64>,
    seen: i64,
    generation: Option<i64>,
}

/// What a look without the write lock saw of what may come after it.
#[derive(Clone, Copy)]
struct LookedAt {
    generation: i64,
    /// The greatest number of a layout.
    layout: i64,
}

/// Something that was removed.
pub(crate) struct Removed {
    pub(crate) told: Removal,
    /// The number that a series had.
    pub(crate) series: Option<i64>,
}

/// What was removed after `removal`, and the number of the newest removal.
pub(crate) async fn removals_after(
    connection: &mut SqliteConnection,
    removal: i64,
) -> Result<(Vec<Removed>, i64), Fault> {
    let read = |row: &SqliteRow| {
        let told = Removal { number: row.try_get(0)?, layout: row.try_get(1)?, id: row.try_get(2)? };
        Ok(Removed { told, series: row.try_get(3)? })
    };
    let sql = "SELECT number, layout, id, seq FROM removals WHERE number > ?1 ORDER BY number";
    let rows = sqlx::query(sql).bind(removal).fetch_all(&mut *connection).await?;
    let removals = rows.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    let last = match removals.last() {
        Some(last) => last.told.number,
        None => last_removal(connection).await?,
    };
    Ok((removals, last))
}

/// The number of the newest removal there ever was.
pub(crate) async fn last_removal(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'removals'), 0)";
    Ok(sqlx::query(sql).fetch_one(connection).await?.try_get(0)?)
}

/// The number of the newest layout there ever was.
async fn last_layout(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'layouts'), 0)";
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
    let looked_at = LookedAt { generation: generation(&mut tx).await?, layout: last_layout(&mut tx).await? };
    if sweep.generation != Some(looked_at.generation) {
        let after = sweep.after;
        *sweep = Sweep { after, generation: Some(looked_at.generation), ..Sweep::default() };
        note_inline(&mut tx, &mut sweep).await?;
    }
    let unused = without_samples(&mut tx, page, &sweep.inline).await?;
    tx.rollback().await?;
    let series = match unused.is_empty() {
        true => 0,
        // Looked at again by the next call where others touched segments meanwhile.
        false => match remove_series(store, looked_at, unused, &mut sweep).await? {
            Some(removed) => removed,
            None => return Ok(Unused { more: true, ..Unused::default() }),
        },
    };
    sweep.after = Some(last);
    Ok(Unused { series, lists: 0, more: true })
}

/// Removes names and owners that no series has any more, and times at which none came that is left; a description that
/// changes leaves a name, too. Who appends looks them up in the transaction that uses them.
async fn remove_texts(store: &SqliteStore) -> Result<(), Fault> {
    let mut tx = store.write().await?;
    for sql in [
        "DELETE FROM series_names WHERE id NOT IN (SELECT name FROM series_rows)",
        "DELETE FROM series_owners WHERE id NOT IN (SELECT owner FROM series_rows)",
        "DELETE FROM series_times WHERE seq IN (
            SELECT seq FROM (SELECT seq, lead(seq, 1, 9223372036854775807) OVER (ORDER BY seq) AS next FROM series_times) t
            WHERE NOT EXISTS (SELECT 1 FROM series_rows s WHERE s.seq >= t.seq AND s.seq < t.next)
        )",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    remove_labels(store).await
}

/// Removes labels that no series has any more. Of series that are there labels never change, so that only those that came
/// since are to be looked at while others wait.
async fn remove_labels(store: &SqliteStore) -> Result<(), Fault> {
    let (unused, newest) = unused_labels(store).await?;
    for part in unused.chunks(LABELS) {
        delete_labels(store, part, newest).await?;
    }
    Ok(())
}

/// Labels that no series has, and the newest number when that was so.
async fn unused_labels(store: &SqliteStore) -> Result<(Vec<i64>, i64), Fault> {
    let mut tx = store.snapshot().await?;
    let sql = "SELECT number FROM last_added";
    let newest: i64 = sqlx::query(sql).fetch_one(&mut *tx).await?.try_get(0)?;
    let sql = "SELECT id FROM series_labels
        WHERE id NOT IN (SELECT labels FROM series_rows WHERE typeof(labels) = 'integer')";
    let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
    let unused: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    tx.rollback().await?;
    Ok((unused, newest))
}

/// Deletes labels that no series had and none of a later number has.
async fn delete_labels(store: &SqliteStore, unused: &[i64], newest: i64) -> Result<(), Fault> {
    let mut tx = store.write().await?;
    let sql = "DELETE FROM series_labels WHERE id IN (SELECT value FROM json_each(?1))
        AND id NOT IN (SELECT labels FROM series_rows WHERE seq > ?2 AND typeof(labels) = 'integer')";
    sqlx::query(sql).bind(id_list(unused.iter().copied())).bind(newest).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Notes which series stand in frames that carry their own lists, of those that were not looked at.
async fn note_inline(tx: &mut SqliteConnection, sweep: &mut Sweep) -> Result<(), Fault> {
    let sql = "SELECT seq, series_numbers FROM frames WHERE layout_number IS NULL AND seq > ?1";
    let mut rows = sqlx::query(sql).bind(sweep.seen).fetch(&mut *tx);
    let mut seen = sweep.seen;
    while let Some(row) = rows.try_next().await? {
        seen = seen.max(row.try_get(0)?);
        sweep.inline.extend(numbers::unpack(row.try_get(1)?)?);
    }
    drop(rows);
    sweep.seen = seen;
    Ok(())
}

/// Removes layouts that no frame refers to.
async fn remove_layouts(store: &SqliteStore, before: Millis) -> Result<u64, Fault> {
    let mut tx = store.write().await?;
    let sql = "SELECT l.number, l.series, l.id FROM layouts l
        WHERE l.first_seen < ?1 AND NOT EXISTS (SELECT 1 FROM frames f WHERE f.layout_number = l.number) LIMIT ?2";
    let rows = sqlx::query(sql).bind(before).bind(LAYOUTS).fetch_all(&mut *tx).await?;
    for row in &rows {
        let (number, id): (i64, i64) = (row.try_get(0)?, row.try_get(2)?);
        let series = numbers::unpack(row.try_get(1)?)?;
        sqlx::query(
            "DELETE FROM layout_blocks WHERE layout = ?1 AND block IN (SELECT value FROM json_each(?2))",
        )
        .bind(number)
        .bind(id_list(numbers::blocks(series.into_iter())))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM layouts WHERE number = ?1").bind(number).execute(&mut *tx).await?;
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
    let sql = "SELECT s.seq FROM series_rows s
        WHERE s.seq > ?1
            AND (SELECT t.first_seen FROM series_times t WHERE t.seq <= s.seq ORDER BY t.seq DESC LIMIT 1) < ?2
        ORDER BY s.seq LIMIT ?3";
    let query = sqlx::query(sql).bind(after.unwrap_or(i64::MIN)).bind(before).bind(signed_len(SERIES));
    query.fetch_all(&store.readers).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Which of these series have nothing: sought in each table, span by span where a table begins with time.
async fn without_samples(
    tx: &mut SqliteConnection,
    mut series: Vec<i64>,
    inline: &HashSet<i64>,
) -> Result<Vec<i64>, Fault> {
    without_fresh(tx, &mut series, inline, 0).await?;
    for (times, sql) in [
        (
            "SELECT DISTINCT time FROM spans WHERE daily = 0",
            "SELECT s.series FROM json_each(?1) w CROSS JOIN segments s ON s.slot = ?2 AND s.series = w.value",
        ),
        (
            "SELECT DISTINCT time FROM spans WHERE daily = 1",
            "SELECT s.series FROM json_each(?1) w CROSS JOIN segments_daily s ON s.slot = ?2 AND s.series = w.value",
        ),
    ] {
        let times = sqlx::query(times).fetch_all(&mut *tx).await?;
        for time in &times {
            if series.is_empty() {
                return Ok(series);
            }
            let query = sqlx::query(sql).bind(id_list(series.iter().copied()));
            let held = query.bind(slot_of(time.try_get(0)?)).fetch_all(&mut *tx).await?;
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

/// Leaves out what stands in frames that carry their lists, in layouts with a number beyond `after` and in exemplars. Layouts do
/// not change, and their numbers ascend.
async fn without_fresh(
    tx: &mut SqliteConnection,
    series: &mut Vec<i64>,
    inline: &HashSet<i64>,
    after: i64,
) -> Result<(), Fault> {
    series.retain(|number| !inline.contains(number));
    let sql = "SELECT series FROM layouts WHERE number IN (
        SELECT layout FROM layout_blocks WHERE block IN (SELECT value FROM json_each(?1)) AND layout > ?2)";
    let blocks = id_list(numbers::blocks(series.iter().copied()));
    let mut held = HashSet::new();
    let mut rows = sqlx::query(sql).bind(blocks).bind(after).fetch(&mut *tx);
    // A page comes in order.
    while held.len() < series.len()
        && let Some(row) = rows.try_next().await?
    {
        let list = numbers::unpack(row.try_get(0)?)?;
        held.extend(list.into_iter().filter(|number| series.binary_search(number).is_ok()));
    }
    drop(rows);
    series.retain(|number| !held.contains(number));
    let sql = "SELECT DISTINCT series FROM exemplars WHERE series IN (SELECT value FROM json_each(?1))";
    let query = sqlx::query(sql).bind(id_list(series.iter().copied()));
    keep_others(series, query.fetch_all(tx).await?)
}

fn keep_others(series: &mut Vec<i64>, held: Vec<SqliteRow>) -> Result<(), Fault> {
    let held: HashSet<i64> = held.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    series.retain(|id| !held.contains(id));
    Ok(())
}

/// Removes series that still have nothing now that nobody writes; `None` where segments may have come in between.
async fn remove_series(
    store: &SqliteStore,
    looked_at: LookedAt,
    mut series: Vec<i64>,
    sweep: &mut Sweep,
) -> Result<Option<u64>, Fault> {
    let mut tx = store.write().await?;
    if generation(&mut tx).await? != looked_at.generation {
        return Ok(None);
    }
    note_inline(&mut tx, sweep).await?;
    without_fresh(&mut tx, &mut series, &sweep.inline, looked_at.layout).await?;
    let list = id_list(series.iter().copied());
    for sql in [
        "INSERT INTO removals (layout, id, seq)
            SELECT 0, s.id, s.seq FROM json_each(?1) w CROSS JOIN series_rows s ON s.seq = w.value",
        "DELETE FROM series_ids WHERE (half, seq) IN (
            SELECT s.id >> 32, s.seq FROM json_each(?1) w CROSS JOIN series_rows s ON s.seq = w.value
        )",
        "DELETE FROM series_described WHERE series IN (SELECT value FROM json_each(?1))",
    ] {
        sqlx::query(sql).bind(&list).execute(&mut *tx).await?;
    }
    let removed = sqlx::query("DELETE FROM series_rows WHERE seq IN (SELECT value FROM json_each(?1))");
    let removed = removed.bind(&list).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(Some(removed))
}

#[cfg(test)]
mod tests {
    use metricsd_model::Layout;
    use metricsd_ports::conformance::fixtures::{NOON, all_of, batch, frame, series};
    use metricsd_ports::{Retention, SampleSink};

    use super::*;

    #[tokio::test]
    async fn labels_that_a_series_took_meanwhile_stay() {
        let folder = std::env::temp_dir().join(format!("metricsd-unused-{}", uuid::Uuid::new_v4().simple()));
        let store = SqliteStore::open(&folder.join("metricsd.db")).await.expect("open the store");
        let (taken, free) =
            (series("labels", &[("device", "taken")]), series("labels", &[("device", "free")]));
        let push = async |key: &str, all: Vec<_>| {
            let one = frame(&Layout::inline(all.clone()), NOON, &vec![1.0; all.len()]);
            store.append(&[batch("labels", key, vec![one])]).await.expect("append");
        };
        push("1", vec![taken.clone(), free]).await;
        store.remove_others_before(&[], i64::MAX / 2).await.expect("a removal");
        // Until the series have gone; the texts go last.
        while store.remove_unused(i64::MAX).await.expect("a removal").series == 0 {}
        let (unused, newest) = unused_labels(&store).await.expect("unused labels");
        assert_eq!(unused.len(), 2);
        push("2", vec![taken]).await;
        delete_labels(&store, &unused, newest).await.expect("a removal");
        let left = sqlx::query("SELECT count(*) FROM series_labels").fetch_one(&store.readers).await;
        assert_eq!(left.expect("a count").get::<i64, _>(0), 1);
        assert_eq!(all_of(&store, "labels").await.len(), 1);
        store.close().await;
        std::fs::remove_dir_all(folder).expect("remove the folder");
    }
}
