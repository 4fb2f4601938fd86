//! What the newest collection of a target brought.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, Sample, SampleValue, is_stale};
use metricsd_ports::LatestMetric;
use metricsd_store::compact::{Bucket, DAY, HOUR, Segment, day_of, hour_of};
use metricsd_store::frames::Frame;
use metricsd_store::gather::Range;
use sqlx::{PgConnection, Row};

use super::frames::parts_of;
use super::{find, snapshot};
use crate::PostgresStore;
use crate::binary::{required, required_array};
use crate::compact::segment;
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};

/// Newest samples by series, and when the newest of all is, staleness markers included.
#[derive(Default)]
struct Newest {
    at: Option<Millis>,
    samples: HashMap<i64, Sample>,
}

pub(super) async fn latest(
    store: &PostgresStore,
    target_id: &str,
    since: Millis,
) -> Result<Vec<LatestMetric>, Fault> {
    if target_id.contains('\0') {
        return Ok(Vec::new());
    }
    let mut tx = snapshot(store).await?;
    let mut newest = newest_of_frames(&mut tx, target_id, since).await?;
    newest_of_segments(&mut tx, target_id, since, &mut newest).await?;
    let mut newest = newest.samples;
    let ids: Vec<i64> = newest.keys().copied().collect();
    let rows = sqlx::query(include_str!("../sql/series_by_id.sql")).bind(ids).fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    let mut latest = Vec::with_capacity(rows.len());
    for row in &rows {
        let series = find::series_of_row(row)?;
        if let Some(sample) = newest.remove(&series.id.to_i64()) {
            latest.push(LatestMetric { series: Arc::new(series), sample });
        }
    }
    latest.sort_by(|a, b| a.series.labels.cmp(&b.series.labels));
    Ok(latest)
}

/// What the newest batch brought that has frames yet.
async fn newest_of_frames(tx: &mut PgConnection, target_id: &str, since: Millis) -> Result<Newest, Fault> {
    let rows = sqlx::query(include_str!("../sql/latest_frames.sql"))
        .bind(target_id)
        .bind(bound(Range::new(since, since).bucket))
        .fetch_all(tx)
        .await?;
    let mut newest = Newest::default();
    for row in &rows {
        let frame = Frame::shared(parts_of(row, 5)?);
        for (at, id) in required_array::<8>(row, 4)?.iter().map(i64::from_be_bytes).enumerate() {
            let (timestamp, value) = frame.sample(at)?;
            if timestamp < since {
                continue;
            }
            newest.at = newest.at.max(Some(timestamp));
            let older = newest.samples.get(&id).is_some_and(|sample| sample.timestamp >= timestamp);
            if is_stale(value) || older {
                continue;
            }
            let value = match value.to_bits() {
                HISTOGRAM_MARKER_BITS => SampleValue::Histogram(Box::new(frame.histogram(at)?.clone())),
                _ => SampleValue::Float(value),
            };
            newest.samples.insert(id, Sample { timestamp, value });
        }
    }
    Ok(newest)
}

/// Segments no longer know which batch brought what: the newest collection is what the target's series have at its
/// newest timestamp. It counts where it is newer than what frames hold.
async fn newest_of_segments(
    tx: &mut PgConnection,
    target_id: &str,
    since: Millis,
    newest: &mut Newest,
) -> Result<(), Fault> {
    let spans =
        sqlx::query(include_str!("../sql/newest_spans.sql")).bind(target_id).fetch_all(&mut *tx).await?;
    for span in &spans {
        let time = millis(i64::from_be_bytes(required(span, 1)?));
        let (sql, start, width, bucket): (_, _, _, fn(Millis) -> Bucket) = match span.try_get(0)? {
            true => (include_str!("../sql/newest_day.sql"), day_of(time), DAY, Bucket::Day),
            false => (include_str!("../sql/newest_hour.sql"), hour_of(time), HOUR, Bucket::Hour),
        };
        let end = start.saturating_add(width);
        if end <= since || newest.at.is_some_and(|at| end <= at) {
            continue;
        }
        let origins: Vec<i32> = span.try_get(2)?;
        let mut rows = sqlx::query(sql).bind(origins).bind(bound(start)).bind(bound(end)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let (series, segment) = segment(&row, bucket)?;
            newest.meet(series, segment, since)?;
        }
    }
    Ok(())
}

impl Newest {
    /// Takes the last sample of a segment, if none is newer.
    fn meet(&mut self, series: i64, segment: Segment<i32>, since: Millis) -> Result<(), Fault> {
        let column = segment.column;
        let (Some(timestamp), Some(value)) = (column.timestamps.last(), column.values.last()) else {
            return Ok(());
        };
        if *timestamp < since || self.at > Some(*timestamp) {
            return Ok(());
        }
        if self.at < Some(*timestamp) {
            *self = Self { at: Some(*timestamp), samples: HashMap::new() };
        }
        let value = match value.to_bits() {
            HISTOGRAM_MARKER_BITS => {
                let histogram = column.histograms.into_iter().next_back();
                let (_, histogram) = histogram.ok_or_else(|| damaged("a segment lacks a histogram"))?;
                SampleValue::Histogram(Box::new(histogram))
            }
            _ if is_stale(*value) => return Ok(()),
            _ => SampleValue::Float(*value),
        };
        self.samples.entry(series).or_insert(Sample { timestamp: *timestamp, value });
        Ok(())
    }
}
