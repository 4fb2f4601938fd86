//! Which series match: the index knows, once it has what was committed since it was asked last.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::{LabelSet, Matcher, MetricSource, MetricType, Series, SeriesId};
use metricsd_store::follow::{Followed, Indexed, PAGE, Progress};
use metricsd_store::labels;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::SqliteStore;
use crate::columns::{id_list, named, signed_len};
use crate::error::{Fault, damaged};
use crate::numbers;
use crate::unused::{last_removal, removals_after};

/// The beginning of every query whose rows [`series_of_row`] reads.
pub(crate) const SERIES_COLUMNS: &str = "SELECT id, metric_name, metric_type, labels, source, target_id, source_type, help, unit, seq FROM series";

/// What a reader of `series` has seen: numbers of series, and of changes of their descriptions, come in order of commit, so
/// that the greatest says it all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    added: i64,
    removal: i64,
}

pub(crate) type Index = Followed<Position>;

/// In the order in which they stand in the file.
const PAGE_OF_SERIES: &str =
    "SELECT seq, metric_name, metric_type, labels, source FROM series WHERE seq >= ?1 ORDER BY seq LIMIT ?2";

const NEW_SERIES: &str =
    "SELECT seq, metric_name, metric_type, labels, source, seq FROM series WHERE seq > ?1
    UNION ALL
    SELECT s.seq, s.metric_name, s.metric_type, s.labels, s.source, d.added
    FROM series_described d CROSS JOIN series s ON s.seq = d.series
    WHERE d.added > ?1";

/// Reads all series, unless that was done. What was read stays read when the call is given up.
pub(super) async fn load(store: &SqliteStore) -> Result<(), Fault> {
    let Some(_right) = store.index.to_load().await else {
        return Ok(());
    };
    let mut connection = store.readers.acquire().await?;
    let mut progress = store.index.progress().await;
    if progress.seen.is_none() {
        // Removals first: a series that comes between the two is only added again.
        let removal = last_removal(&mut connection).await?;
        let row = sqlx::query("SELECT number FROM last_added").fetch_one(&mut *connection).await?;
        progress.seen = Some(Position { added: row.try_get(0)?, removal });
    }
    while let Some(next) = progress.next {
        let query = sqlx::query(PAGE_OF_SERIES).bind(next).bind(signed_len(PAGE));
        let rows = query.fetch_all(&mut *connection).await?;
        let page: Vec<_> = rows.iter().map(entry_of_row).collect::<Result<_, _>>()?;
        store.index.add(&page)?;
        let last = rows.last().map(|row| row.try_get(0)).transpose()?;
        progress.page_read(last, page.len() == PAGE);
    }
    store.index.finish_loading(&progress);
    Ok(())
}

/// Brings the index to the state of the file that this connection sees. In a transaction this must come first.
pub(super) async fn follow(store: &SqliteStore, connection: &mut SqliteConnection) -> Result<(), Fault> {
    let mut progress = store.index.progress().await;
    let Progress { seen: Some(seen), .. } = *progress else {
        return Err(damaged("the index was not loaded").into());
    };
    // Taken before the first question, which is what makes the snapshot.
    let own = store.index.take_own();
    let (removals, removal) = removals_after(connection, seen.removal).await?;
    let removed: Vec<i64> = removals.iter().filter_map(|removal| removal.series).collect();
    let mut newest = seen.added;
    for own in own {
        let (first, last) = own.marks;
        if first == newest + 1 {
            store.index.add_own(&own)?;
            newest = last;
        }
    }
    let mut page = Vec::new();
    let mut rows = sqlx::query(NEW_SERIES).bind(newest).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        newest = newest.max(row.try_get(5)?);
        page.push(entry_of_row(&row)?);
        if page.len() == PAGE {
            store.index.add(&page)?;
            page.clear();
        }
    }
    store.index.add(&page)?;
    // Last: among those of this process there may be some that were removed since, and no number is given again.
    store.index.remove(&removed);
    progress.seen = Some(Position { added: newest, removal });
    Ok(())
}

/// Does both on a connection that is needed for nothing else.
pub(super) async fn catch_up(store: &SqliteStore) -> Result<(), Fault> {
    load(store).await?;
    let mut connection = store.readers.acquire().await?;
    follow(store, &mut connection).await
}

/// The first `limit` series that match, in order of labels.
pub(super) async fn first_series(
    store: &SqliteStore,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<Arc<Series>>, Fault> {
    catch_up(store).await?;
    let chosen = store.index.select(matchers).await?;
    let ids = id_list(chosen.found.iter().take(limit).map(|found| found.id.to_i64()));
    let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
    select.push(" WHERE seq IN (SELECT value FROM json_each(").push_bind(ids).push("))");
    let rows = select.build().fetch_all(&store.readers).await?;
    let read = |row| Ok(Arc::new(series_of_row(row)?));
    let mut series: Vec<Arc<Series>> = rows.iter().map(read).collect::<Result<_, Fault>>()?;
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// Which of these ids belong to a series.
pub(crate) async fn stored(store: &SqliteStore, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, Fault> {
    let mut connection = store.readers.acquire().await?;
    let found = numbers::stored(&mut connection, ids).await?;
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

fn entry_of_row(row: &SqliteRow) -> Result<Indexed, Fault> {
    Ok(Indexed {
        key: row.try_get(0)?,
        labels: labels_of_row(row)?,
        metric_type: named(row, "metric_type", MetricType::from_name)?,
        source: row.try_get(4)?,
    })
}

/// The number of the series in a row of [`SERIES_COLUMNS`].
pub(crate) fn number_of_row(row: &SqliteRow) -> Result<i64, Fault> {
    Ok(row.try_get(9)?)
}

/// Reads a row of [`SERIES_COLUMNS`].
pub(crate) fn series_of_row(row: &SqliteRow) -> Result<Series, Fault> {
    Ok(Series {
        id: SeriesId::from_i64(row.try_get(0)?),
        labels: labels_of_row(row)?,
        metric_type: named(row, "metric_type", MetricType::from_name)?,
        source_type: named(row, "source_type", MetricSource::from_name)?,
        source: row.try_get::<&str, _>(4)?.into(),
        target_id: row.try_get::<&str, _>(5)?.into(),
        help: row.try_get::<Option<&str>, _>(7)?.map(Into::into),
        unit: row.try_get::<Option<&str>, _>(8)?.map(Into::into),
    })
}

fn labels_of_row(row: &SqliteRow) -> Result<LabelSet, Fault> {
    let json: &str = row.try_get(3)?;
    Ok(labels::read(row.try_get(1)?, json.as_bytes())?)
}
