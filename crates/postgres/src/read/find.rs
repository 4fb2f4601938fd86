//! Which series match: the index knows, once it has what was committed since it was asked last, by whomever.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use metricsd_model::{LabelSet, Matcher, MetricSource, MetricType, Series, SeriesId};
use metricsd_store::chosen::Chosen;
use metricsd_store::follow::{Followed, Indexed, Own, PAGE};
use metricsd_store::labels;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgTransaction, Row};

use super::snapshot;
use crate::PostgresStore;
use crate::binary::{bytes, number, required};
use crate::error::{Fault, damaged};

/// How often a call begins again because the server did.
const MAX_RESTARTS: usize = 3;

/// What a reader of `series` has seen.
pub(crate) struct Position {
    /// PostgreSQL's own text of the snapshot: which transactions were visible.
    snapshot: String,
    /// When the server started. Another may take its place that lacks the last commits and gives their numbers again.
    started: DateTime<Utc>,
    /// The last removal of series.
    removal: i64,
}

impl Position {
    /// Reads the first three columns.
    fn of(row: &PgRow) -> Result<Self, Fault> {
        Ok(Self { snapshot: row.try_get(0)?, started: row.try_get(1)?, removal: row.try_get(2)? })
    }
}

pub(crate) type Index = Followed<Position>;

/// Reads all series, unless that was done. What was read stays read when the call is given up.
async fn load(store: &PostgresStore) -> Result<(), Fault> {
    let Some(_right) = store.index.to_load().await else {
        return Ok(());
    };
    let mut connection = store.readers.acquire().await?;
    let mut progress = store.index.progress().await;
    if progress.seen.is_none() {
        let row = sqlx::query(include_str!("../sql/position.sql")).fetch_one(&mut *connection).await?;
        progress.seen = Some(Position::of(&row)?);
    }
    while let Some(next) = progress.next {
        let query = sqlx::query(include_str!("../sql/series_page.sql")).bind(next).bind(PAGE as i64);
        let rows = query.fetch_all(&mut *connection).await?;
        let page: Vec<_> = rows.iter().map(|row| entry_of_row(row, 0)).collect::<Result<_, _>>()?;
        store.index.add(&page)?;
        progress.page_read(page.last().map(|series| series.key), page.len() == PAGE);
    }
    store.index.finish_loading(&progress);
    Ok(())
}

/// Brings the index to what this connection sees; in a transaction this must come first. `own` was taken before the
/// connection took its snapshot. `false` where all is to be read again.
async fn follow(store: &PostgresStore, connection: &mut PgConnection, own: Vec<Own>) -> Result<bool, Fault> {
    let mut progress = store.index.progress().await;
    let Some(seen) = progress.seen.as_ref().filter(|_| progress.is_loaded()) else {
        return Ok(false);
    };
    let written: Vec<String> = own.iter().map(|own| own.marks.0.to_string()).collect();
    let mut now = None;
    let mut page = Vec::new();
    let mut rows = sqlx::query(include_str!("../sql/new_series.sql"))
        .bind(&seen.snapshot)
        .bind(seen.removal)
        .bind(written)
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        if now.is_none() {
            let position = Position::of(&row)?;
            if position.started != seen.started {
                tracing::info!("the database was started again: reading all series");
                store.index.start_again(&mut progress);
                // It may give orders again that frames had which it lacks.
                store.frames.clear();
                return Ok(false);
            }
            // What was removed and came again is among the rows.
            let removed: Option<Vec<i64>> = row.try_get(3)?;
            store.index.remove(&removed.unwrap_or_default());
            now = Some(position);
        }
        if number::<8>(&row, 4)?.is_some() {
            page.push(entry_of_row(&row, 4)?);
        }
        if page.len() == PAGE {
            store.index.add(&page)?;
            page.clear();
        }
    }
    drop(rows);
    store.index.add(&page)?;
    for own in &own {
        store.index.add_own(own)?;
    }
    progress.seen = Some(now.ok_or_else(|| damaged("the database does not say what it has committed"))?);
    Ok(true)
}

/// Brings the index up to date on a connection that is needed for nothing else.
pub(super) async fn catch_up(store: &PostgresStore) -> Result<(), Fault> {
    for _ in 0..MAX_RESTARTS {
        load(store).await?;
        let mut connection = store.readers.acquire().await?;
        let own = store.index.take_own();
        if follow(store, &mut connection, own).await? {
            return Ok(());
        }
    }
    Err(damaged("the database is started again and again"))
}

/// A state of the database, and the series of it that match. The index may know later ones, which have no samples
/// in it.
pub(crate) async fn found(
    store: &PostgresStore,
    matchers: &[Matcher],
) -> Result<(PgTransaction<'static>, Arc<Chosen>), Fault> {
    for _ in 0..MAX_RESTARTS {
        load(store).await?;
        let own = store.index.take_own();
        let mut tx = snapshot(store).await?;
        if follow(store, &mut tx, own).await? {
            let chosen = store.index.select(matchers).await?;
            return Ok((tx, chosen));
        }
        tx.rollback().await?;
    }
    Err(damaged("the database is started again and again"))
}

/// The first `limit` series that match, in order of labels.
pub(super) async fn first_series(
    store: &PostgresStore,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<Arc<Series>>, Fault> {
    catch_up(store).await?;
    let chosen = store.index.select(matchers).await?;
    let ids: Vec<i64> = chosen.found.iter().take(limit).map(|found| found.id.to_i64()).collect();
    let rows =
        sqlx::query(include_str!("../sql/series_by_id.sql")).bind(ids).fetch_all(&store.readers).await?;
    let read = |row| Ok(Arc::new(series_of_row(row)?));
    let mut series: Vec<Arc<Series>> = rows.iter().map(read).collect::<Result<_, Fault>>()?;
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// Which of these ids belong to a series.
pub(crate) async fn stored(store: &PostgresStore, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, Fault> {
    let mut found = HashSet::new();
    for page in ids.chunks(PAGE) {
        let asked: Vec<i64> = page.iter().map(|id| id.to_i64()).collect();
        let query = sqlx::query("SELECT id FROM series_rows WHERE id = ANY($1)").bind(asked);
        for row in query.fetch_all(&store.pool).await? {
            found.insert(SeriesId::from_i64(row.try_get(0)?));
        }
    }
    Ok(found)
}

/// Reads the columns id, metric_name, metric_type, labels, source, of which the first is `at`.
fn entry_of_row(row: &PgRow, at: usize) -> Result<Indexed, Fault> {
    Ok(Indexed {
        key: i64::from_be_bytes(required(row, at)?),
        labels: labels_of_row(row, at + 1, at + 3)?,
        metric_type: metric_type(row.try_get(at + 2)?)?,
        source: row.try_get(at + 4)?,
    })
}

/// Reads a row of the columns that `series_by_id.sql` selects.
pub(crate) fn series_of_row(row: &PgRow) -> Result<Series, Fault> {
    let source_type: &str = row.try_get(6)?;
    Ok(Series {
        id: SeriesId::from_i64(i64::from_be_bytes(required(row, 0)?)),
        labels: labels_of_row(row, 1, 3)?,
        metric_type: metric_type(row.try_get(2)?)?,
        source_type: MetricSource::from_name(source_type)
            .ok_or_else(|| damaged(format!("unknown source type {source_type:?} in the database")))?,
        source: row.try_get::<&str, _>(4)?.into(),
        target_id: row.try_get::<&str, _>(5)?.into(),
        help: row.try_get::<Option<&str>, _>(7)?.map(Into::into),
        unit: row.try_get::<Option<&str>, _>(8)?.map(Into::into),
    })
}

pub(super) fn metric_type(name: &str) -> Result<MetricType, Fault> {
    MetricType::from_name(name)
        .ok_or_else(|| damaged(format!("unknown metric type {name:?} in the database")))
}

fn labels_of_row(row: &PgRow, name: usize, json: usize) -> Result<LabelSet, Fault> {
    // Binary jsonb: one byte of version, then the text.
    let json = bytes(row, json)?.and_then(|bytes| bytes.get(1..)).unwrap_or_default();
    Ok(labels::read(row.try_get(name)?, json)?)
}
