//! Removing series and layouts of which nothing is left, and what no series has any more.
//!
//! A process remembers what it has stored and does not look it up again. So whatever is removed is told in `removals`. An
//! append holds a shared advisory lock from its first statement to its commit; it reads what was removed once it has that
//! lock, and forgets it. Whoever removes holds the same lock alone, and looks once more whether anything is left.

use std::collections::HashSet;

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::Unused;
use metricsd_store::owners::Removal;
use sqlx::{PgConnection, PgTransaction, Row};

use crate::PostgresStore;
use crate::binary::required_array;
use crate::copy::bound;
use crate::error::Fault;
use crate::list_keys::ListKeys;

/// Key of the advisory lock ("mdremove" in ASCII).
pub(crate) const LOCK: i64 = 0x6d64_7265_6d6f_7665;

/// Layouts and series that one call looks at.
const LAYOUTS: i64 = 500;
const SERIES: i64 = 2_000;

/// Names that one call removes, and owners.
const TEXTS: i64 = 10_000;

/// Appends wait behind the one that waits for the lock: it gives up soon, and is called again.
const PATIENCE: &str = "SET LOCAL lock_timeout = '500ms'";

/// Where the next call goes on.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    at: Option<At>,
}

#[derive(Debug)]
struct At {
    /// The last series that was looked at.
    after: Option<i64>,
    /// Series in frames that carry their own ids, of all appends up to this one.
    inline: HashSet<i64>,
    seen: i64,
}

/// What was removed after `removal`, and the number of the newest removal there ever was.
pub(crate) async fn removals_after(
    connection: &mut PgConnection,
    removal: i64,
) -> Result<(Vec<Removal>, i64), Fault> {
    let query = sqlx::query(include_str!("sql/removals_after.sql")).bind(removal);
    let (mut removals, mut last) = (Vec::new(), removal);
    for row in query.fetch_all(connection).await? {
        last = row.try_get(0)?;
        if let Some(number) = row.try_get::<Option<i64>, _>(1)? {
            removals.push(Removal { number, layout: row.try_get(2)?, id: row.try_get(3)? });
        }
    }
    Ok((removals, last))
}

/// Does the next piece; see [`metricsd_ports::Retention::remove_unused`].
pub(crate) async fn remove_unused(store: &PostgresStore, before: Millis) -> Result<Unused, Fault> {
    let mut sweep = store.sweep.lock().await;
    let mut at = match sweep.at.take() {
        Some(at) => at,
        None => {
            let lists = remove_layouts(store, before).await?;
            if lists > 0 {
                return Ok(Unused { lists, more: true, ..Unused::default() });
            }
            begin(store).await?
        }
    };
    let page = series_page(store, at.after, before).await?;
    let Some(last) = page.last().copied() else {
        let removed = remove_texts(store).await;
        // Only this again where others were in the way.
        let is_again = removed.as_ref().map_or_else(Fault::is_contention, |more| *more);
        sweep.at = is_again.then_some(at);
        return Ok(Unused { more: removed?, ..Unused::default() });
    };
    let removed = remove_series(store, &page, &at).await;
    // A page that cannot be looked at is left to the next sweep, and keeps nobody from the others; where others were only in the
    // way it is looked at again.
    if !removed.as_ref().is_err_and(Fault::is_contention) {
        at.after = Some(last);
    }
    sweep.at = Some(at);
    Ok(Unused { series: removed?, lists: 0, more: true })
}

/// A transaction in which nobody appends.
async fn alone(store: &PostgresStore) -> Result<PgTransaction<'static>, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    sqlx::raw_sql(PATIENCE).execute(&mut *tx).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    Ok(tx)
}

/// Notes which series stand in frames that carry their own ids.
async fn begin(store: &PostgresStore) -> Result<At, Fault> {
    // No append is under way, so that all later ones have greater numbers.
    let mut tx = alone(store).await?;
    let row = sqlx::query("SELECT last_value FROM append_order").fetch_one(&mut *tx).await?;
    let seen = row.try_get(0)?;
    tx.commit().await?;
    let mut inline = HashSet::new();
    let sql = "SELECT series_ids FROM frames WHERE layout IS NULL";
    let mut rows = sqlx::query(sql).fetch(&store.pool);
    while let Some(row) = rows.try_next().await? {
        inline.extend(required_array::<8>(&row, 0)?.iter().map(i64::from_be_bytes));
    }
    Ok(At { after: None, inline, seen })
}

/// Removes layouts that no frame refers to.
async fn remove_layouts(store: &PostgresStore, before: Millis) -> Result<u64, Fault> {
    let query = sqlx::query(include_str!("sql/unused_layouts.sql")).bind(bound(before)).bind(LAYOUTS);
    let unused = ids(query.fetch_all(&store.pool).await?)?;
    if unused.is_empty() {
        return Ok(0);
    }
    let mut tx = alone(store).await?;
    let query = sqlx::query(include_str!("sql/remove_layouts.sql")).bind(unused);
    let removed = ids(query.fetch_all(&mut *tx).await?)?;
    note(&mut tx, true, &removed).await?;
    sqlx::query("DELETE FROM removals WHERE at < now() - interval '7 days'").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(removed.len() as u64)
}

async fn series_page(store: &PostgresStore, after: Option<i64>, before: Millis) -> Result<Vec<i64>, Fault> {
    let sql = "SELECT id FROM series_rows WHERE ($1::int8 IS NULL OR id > $1) AND first_seen < $2 ORDER BY id LIMIT $3";
    ids(sqlx::query(sql).bind(after).bind(bound(before)).bind(SERIES).fetch_all(&store.pool).await?)
}

/// Removes those of some series of which nothing is left.
async fn remove_series(store: &PostgresStore, page: &[i64], at: &At) -> Result<u64, Fault> {
    let unlisted: Vec<i64> = page.iter().copied().filter(|id| !at.inline.contains(id)).collect();
    let mut connection = store.pool.acquire().await?;
    let row = sqlx::query("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        .fetch_one(&mut *connection)
        .await?;
    let since: String = row.try_get(0)?;
    let unused = unused(&mut connection, unlisted, at.seen, None).await?;
    drop(connection);
    if unused.is_empty() {
        return Ok(0);
    }
    let mut tx = alone(store).await?;
    // Once more, now that nobody appends; what compaction moves meanwhile was in frames at the first look.
    let unused = self::unused(&mut tx, unused, at.seen, Some(&since)).await?;
    let query = sqlx::query(include_str!("sql/remove_series.sql")).bind(unused);
    let removed = ids(query.fetch_all(&mut *tx).await?)?;
    note(&mut tx, false, &removed).await?;
    tx.commit().await?;
    Ok(removed.len() as u64)
}

/// Removes names and owners that no series has; a description that changes leaves one, too. Answers whether there may be more.
async fn remove_texts(store: &PostgresStore) -> Result<bool, Fault> {
    let unused = sqlx::query(include_str!("sql/unused_texts.sql")).bind(TEXTS).fetch_one(&store.pool).await?;
    let since: &str = unused.try_get(0)?;
    let (names, owners): (Vec<i32>, Vec<i32>) = (unused.try_get(1)?, unused.try_get(2)?);
    if names.is_empty() && owners.is_empty() {
        return Ok(false);
    }
    let is_full = |ids: &[i32]| ids.len() as i64 >= TEXTS;
    let more = is_full(&names) || is_full(&owners);
    let mut tx = alone(store).await?;
    // By the index of what was added last, however few rows a plan takes the table to have.
    sqlx::raw_sql("SET LOCAL enable_seqscan = off").execute(&mut *tx).await?;
    let query = sqlx::query(include_str!("sql/remove_texts.sql")).bind(since).bind(names).bind(owners);
    let told = query.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    // Where all of them are in use again, there is time until the next sweep.
    Ok(more && told > 0)
}

/// `since` is the oldest transaction whose lists and rows of many series were not all looked at.
async fn unused(
    connection: &mut PgConnection,
    series: Vec<i64>,
    seen: i64,
    since: Option<&str>,
) -> Result<Vec<i64>, Fault> {
    let query = sqlx::query(include_str!("sql/unused_series.sql")).bind(series);
    let mut unused = ids(query.fetch_all(&mut *connection).await?)?;
    if !unused.is_empty() {
        let listed = listed(connection, &unused, seen, since).await?;
        leave_out(&mut unused, listed);
    }
    // Last, when few are left to be looked for: each of them may stand in any hour.
    if !unused.is_empty() {
        let query = sqlx::query(include_str!("sql/constant_series.sql")).bind(&unused).bind(since);
        let constant = ids(query.fetch_all(connection).await?)?;
        leave_out(&mut unused, constant);
    }
    Ok(unused)
}

fn leave_out(series: &mut Vec<i64>, held: Vec<i64>) {
    let held: HashSet<i64> = held.into_iter().collect();
    series.retain(|id| !held.contains(id));
}

/// Which of these series stand in a list or in frames. What an index says of lists are guesses when many are looked for,
/// so that most lists are read then: not while appends wait.
async fn listed(
    connection: &mut PgConnection,
    series: &[i64],
    seen: i64,
    since: Option<&str>,
) -> Result<Vec<i64>, Fault> {
    let query = match since {
        Some(since) => sqlx::query(include_str!("sql/newly_listed_series.sql")).bind(series).bind(since),
        None => {
            let keys = ListKeys::read(&mut *connection, series).await?;
            keys.bind(sqlx::query(include_str!("sql/listed_series.sql"))).bind(series)
        }
    };
    ids(query.bind(seen).fetch_all(connection).await?)
}

async fn note(tx: &mut PgConnection, layouts: bool, removed: &[i64]) -> Result<(), Fault> {
    let query = sqlx::query(include_str!("sql/note_removals.sql")).bind(layouts).bind(removed);
    query.execute(tx).await?;
    Ok(())
}

fn ids(rows: Vec<sqlx::postgres::PgRow>) -> Result<Vec<i64>, Fault> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
