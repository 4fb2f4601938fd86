//! What the newest collection of a target brought.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, Sample, SampleValue, is_stale};
use metricsd_ports::LatestMetric;
use metricsd_store::compact::{day_of, hour_of};
use metricsd_store::frames::Frame;
use metricsd_store::gather::Range;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::frames::parts_of;
use super::{SERIES_COLUMNS, number_of_row, series_of_row};
use crate::SqliteStore;
use crate::columns::id_list;
use crate::compact::blocking;
use crate::error::{Fault, damaged};
use crate::numbers;
use crate::segments::{Stored, Table, by_table, timelines_of};

const NEWEST: &str =
    "SELECT f.time, f.seq, f.\"values\", f.offsets, f.histograms, coalesce(f.series_numbers, l.series)
    FROM (
        SELECT batch_id FROM frames WHERE target_id = ?1 AND time >= ?2 ORDER BY time DESC, seq DESC LIMIT 1
    ) AS newest
    CROSS JOIN frames f ON f.batch_id = newest.batch_id
    LEFT JOIN layouts l ON l.number = f.layout_number
    WHERE f.time >= ?2
    ORDER BY f.seq";

/// All segments of the target from the hour, or the day, of its newest segment on.
const fn newest_segments(table: Table) -> &'static str {
    by_table!(
        table,
        "SELECT s.slot, s.series, s.origin, s.times, s.\"values\", s.histograms
        FROM origins o
        CROSS JOIN spans p ON p.origin = o.id AND p.time >= ?2 AND p.daily = ?3
        CROSS JOIN ",
        " s ON s.slot = p.time / 300000 AND s.origin = o.id
        WHERE o.target_id = ?1"
    )
}

const NEWEST_SPAN: &str = "SELECT max(p.time) FROM origins o CROSS JOIN spans p ON p.origin = o.id
    WHERE o.target_id = ?1 AND p.daily = ?2";

/// Newest samples by series, and when the newest of all is, staleness markers included.
#[derive(Default)]
struct Newest {
    at: Option<Millis>,
    samples: HashMap<i64, Sample>,
}

pub(super) async fn latest(
    store: &SqliteStore,
    target_id: &str,
    since: Millis,
) -> Result<Vec<LatestMetric>, Fault> {
    let mut tx = store.snapshot().await?;
    let of_frames = newest_of_frames(&mut tx, target_id, since).await?;
    let of_segments = newest_of_segments(store, &mut tx, target_id, since).await?;
    let mut newest = if of_segments.at > of_frames.at { of_segments } else { of_frames }.samples;
    let ids = id_list(newest.keys().copied());
    let mut select = QueryBuilder::<Sqlite>::new(SERIES_COLUMNS);
    select.push(" WHERE seq IN (SELECT value FROM json_each(").push_bind(ids).push("))");
    let rows = select.build().fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    let mut latest = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(sample) = newest.remove(&number_of_row(row)?) {
            let series = Arc::new(series_of_row(row)?);
            latest.push(LatestMetric { series, sample });
        }
    }
    latest.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
    Ok(latest)
}

/// What the newest batch brought that has frames yet.
async fn newest_of_frames(
    tx: &mut SqliteConnection,
    target_id: &str,
    since: Millis,
) -> Result<Newest, Fault> {
    let query = sqlx::query(NEWEST).bind(target_id).bind(Range::new(since, since).bucket);
    let rows = query.fetch_all(tx).await?;
    let mut newest = Newest::default();
    for row in &rows {
        let series = numbers::unpack(row.try_get(5)?)?;
        let frame = Frame::shared(parts_of(row)?);
        for (at, number) in series.into_iter().enumerate() {
            let (timestamp, value) = frame.sample(at)?;
            if timestamp < since {
                continue;
            }
            newest.at = newest.at.max(Some(timestamp));
            let older = newest.samples.get(&number).is_some_and(|sample| sample.timestamp >= timestamp);
            if is_stale(value) || older {
                continue;
            }
            let value = match value.to_bits() {
                HISTOGRAM_MARKER_BITS => SampleValue::Histogram(Box::new(frame.histogram(at)?.clone())),
                _ => SampleValue::Float(value),
            };
            newest.samples.insert(number, Sample { timestamp, value });
        }
    }
    Ok(newest)
}

/// Segments no longer know which batch brought what: the newest collection is what the target's series have at its
/// newest timestamp.
async fn newest_of_segments(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    target_id: &str,
    since: Millis,
) -> Result<Newest, Fault> {
    let mut stored = Vec::new();
    for (table, begin) in [(Table::Hourly, hour_of as fn(Millis) -> Millis), (Table::Daily, day_of)] {
        let query = sqlx::query(NEWEST_SPAN).bind(target_id).bind(table.is_daily());
        let Some(time) = query.fetch_one(&mut *tx).await?.try_get::<Option<Millis>, _>(0)? else { continue };
        if time < begin(since) {
            continue;
        }
        let query =
            sqlx::query(newest_segments(table)).bind(target_id).bind(begin(time)).bind(table.is_daily());
        let rows = query.fetch_all(&mut *tx).await?;
        for row in &rows {
            stored.push(Stored::of(row, table)?);
        }
    }
    let timelines = timelines_of(store, tx, &stored).await?;
    blocking(move || {
        let mut newest = Newest::default();
        for segment in &stored {
            let Some(column) = segment.unpack(&timelines, (since, i64::MAX))? else { continue };
            let (Some(timestamp), Some(value)) = (column.timestamps.last(), column.values.last()) else {
                continue;
            };
            if newest.at > Some(*timestamp) {
                continue;
            }
            if newest.at < Some(*timestamp) {
                newest = Newest { at: Some(*timestamp), samples: HashMap::new() };
            }
            let value = match value.to_bits() {
                HISTOGRAM_MARKER_BITS => {
                    let histogram = column.histograms.into_iter().next_back();
                    let (_, histogram) = histogram.ok_or_else(|| damaged("a segment lacks a histogram"))?;
                    SampleValue::Histogram(Box::new(histogram))
                }
                _ if is_stale(*value) => continue,
                _ => SampleValue::Float(*value),
            };
            let sample = Sample { timestamp: *timestamp, value };
            newest.samples.insert(segment.series, sample);
        }
        Ok(newest)
    })
    .await
}
