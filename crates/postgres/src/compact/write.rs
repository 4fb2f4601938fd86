//! Writes segments, and removes those that they take the place of.

use std::collections::{BTreeSet, HashMap, HashSet};

use metricsd_model::Millis;
use metricsd_store::compact::{Bucket, HOUR, Segment, Timelines, constant, day_of};
use sqlx::{PgConnection, Row};

use super::constants::{self, Constant, Opened};
use super::encode::{COPY_SEGMENTS, COPY_TIMELINES, SegmentRow, Stream};
use super::frames::Origins;
use crate::binary::required;
use crate::copy::bound;
use crate::error::{Fault, damaged};

/// The ids of targets and sources, in the order given.
pub(super) async fn origins(tx: &mut PgConnection, origins: &Origins) -> Result<Vec<i32>, Fault> {
    let (targets, sources): (Vec<&str>, Vec<&str>) =
        origins.iter().map(|(target, source)| (target.as_str(), source.as_str())).unzip();
    let insert = include_str!("../sql/insert_origins.sql");
    sqlx::query(insert).bind(&targets).bind(&sources).execute(&mut *tx).await?;
    let select = include_str!("../sql/origins.sql");
    let rows = sqlx::query(select).bind(&targets).bind(&sources).fetch_all(tx).await?;
    let mut ids = HashMap::with_capacity(rows.len());
    for row in &rows {
        let key: (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        ids.insert(key, row.try_get::<i32, _>(2)?);
    }
    let id = |(target, source): &(String, String)| ids.get(&(target.as_str(), source.as_str())).copied();
    origins.iter().map(|origin| id(origin).ok_or_else(|| damaged("an origin is missing"))).collect()
}

/// Gathers what is to be written of one pass.
pub(super) struct Writer {
    hour: Millis,
    /// Series, its segment, and whether that is packed.
    segments: Vec<(i64, Segment<i32>, bool)>,
    /// What stands together, and still may, in the rows that are written anew.
    kept: Vec<Constant>,
    opened: Opened,
    old_hours: (Vec<i64>, Vec<Millis>),
    old_days: Vec<i64>,
}

impl Writer {
    pub(super) fn new(hour: Millis) -> Self {
        Self {
            hour,
            segments: Vec::new(),
            kept: Vec::new(),
            opened: Opened::default(),
            old_hours: (Vec::new(), Vec::new()),
            old_days: Vec::new(),
        }
    }

    /// Removes segments of a series.
    pub(super) fn remove(&mut self, series: i64, buckets: impl Iterator<Item = Bucket>) {
        for bucket in buckets {
            match bucket {
                Bucket::Day(_) => self.old_days.push(series),
                Bucket::Hour(start) => {
                    self.old_hours.0.push(series);
                    self.old_hours.1.push(start);
                }
            }
        }
    }

    /// Adds segments of a series; that of a day is packed if `packed`.
    pub(super) fn write(&mut self, series: i64, segments: Vec<Segment<i32>>, packed: bool) {
        let is_packed = |segment: &Segment<i32>| packed && matches!(segment.bucket, Bucket::Day(_));
        self.segments.extend(segments.into_iter().map(|segment| {
            let packed = is_packed(&segment);
            (series, segment, packed)
        }));
    }

    /// Keeps what was taken out of a row and did not change.
    pub(super) fn keep(&mut self, constant: Constant) {
        self.kept.push(constant);
    }

    /// Takes the place of these rows: what nobody took out of them is kept.
    pub(super) fn rewrite(&mut self, opened: Opened) {
        self.kept.extend(opened.rest());
        self.opened = opened;
    }

    /// Carries it all out; answers how many segments were written.
    pub(super) async fn finish(mut self, tx: &mut PgConnection) -> Result<u64, Fault> {
        // First, so that retention, which locks them too, does not take series out of rows while these are written anew.
        self.note_spans(tx).await?;
        self.remove_old(tx).await?;
        self.opened.remove(tx).await?;
        let mut constants = std::mem::take(&mut self.kept);
        if !self.segments.is_empty() {
            let mut timelines = Timelines::default();
            for (_, segment, packed) in &self.segments {
                if !packed {
                    timelines.note(&offsets(segment)?);
                }
            }
            let others = write_timelines(tx, &timelines).await?;
            let timelines = Shared { timelines, others };
            let together = self.together(&timelines, constants.len())?;
            self.stage(tx, &timelines, &together).await?;
            constants.extend(together.into_values());
            sqlx::query(include_str!("../sql/move_segments.sql")).execute(&mut *tx).await?;
            sqlx::query(include_str!("../sql/move_daily.sql")).execute(&mut *tx).await?;
        }
        constants::write(tx, self.hour, self.opened.place(constants)).await?;
        sqlx::raw_sql("TRUNCATE staged_segments, staged_timelines, staged_constants").execute(tx).await?;
        Ok(self.segments.len() as u64)
    }

    /// The segments that may stand together, by their place: none where there is but one.
    fn together(&self, timelines: &Shared, others: usize) -> Result<HashMap<usize, Constant>, Fault> {
        let mut together = HashMap::new();
        for (place, (series, segment, packed)) in self.segments.iter().enumerate() {
            let column = &segment.column;
            if *packed || segment.bucket != Bucket::Hour(self.hour) || !column.histograms.is_empty() {
                continue;
            }
            let Some(level) = constant(&column.values) else { continue };
            let Some(timeline) = timelines.of(&offsets(segment)?) else { continue };
            let origin = segment.origin;
            together.insert(place, Constant { series: *series, level, origin, timeline });
        }
        if together.len() + others < 2 {
            together.clear();
        }
        Ok(together)
    }

    /// Sends the segments that have rows of their own.
    async fn stage(
        &self,
        tx: &mut PgConnection,
        timelines: &Shared,
        together: &HashMap<usize, Constant>,
    ) -> Result<(), Fault> {
        let mut stream = Stream::begin(tx, COPY_SEGMENTS).await?;
        let alone = self.segments.iter().enumerate().filter(|(place, _)| !together.contains_key(place));
        for (_, (series, segment, packed)) in alone {
            let offsets = offsets(segment)?;
            stream.rows.segment(&SegmentRow {
                bucket: segment.bucket,
                series: *series,
                timeline: timelines.of(&offsets),
                origin: segment.origin,
                offsets: &offsets,
                column: &segment.column,
                packed: *packed,
            })?;
            stream.send_large().await?;
        }
        stream.finish().await
    }

    async fn note_spans(&self, tx: &mut PgConnection) -> Result<(), Fault> {
        let mut spans: BTreeSet<(i32, Bucket)> =
            self.segments.iter().map(|(_, segment, _)| (segment.origin, segment.bucket)).collect();
        spans.extend(self.kept.iter().map(|constant| (constant.origin, Bucket::Hour(self.hour))));
        note_spans(tx, &spans).await
    }

    async fn remove_old(&self, tx: &mut PgConnection) -> Result<(), Fault> {
        let (series, starts) = &self.old_hours;
        if !series.is_empty() {
            let starts: Vec<_> = starts.iter().map(|start| bound(*start)).collect();
            sqlx::query(include_str!("../sql/remove_segments.sql"))
                .bind(series)
                .bind(starts)
                .bind(bound(self.hour))
                .bind(bound(self.hour.saturating_add(HOUR)))
                .execute(&mut *tx)
                .await?;
        }
        if !self.old_days.is_empty() {
            sqlx::query(include_str!("../sql/remove_daily.sql"))
                .bind(&self.old_days)
                .bind(bound(day_of(self.hour)))
                .execute(tx)
                .await?;
        }
        Ok(())
    }
}

/// Says in which spans of time origins have segments, and holds what says so until the end of the transaction.
pub(super) async fn note_spans(tx: &mut PgConnection, spans: &BTreeSet<(i32, Bucket)>) -> Result<(), Fault> {
    if spans.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../sql/note_spans.sql"))
        .bind(spans.iter().map(|(origin, _)| *origin).collect::<Vec<_>>())
        .bind(spans.iter().map(|(_, bucket)| matches!(bucket, Bucket::Day(_))).collect::<Vec<_>>())
        .bind(spans.iter().map(|(_, bucket)| bound(bucket.start())).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Timelines that are in the database.
struct Shared {
    timelines: Timelines,
    /// Ids that stand for other timestamps there.
    others: HashSet<i64>,
}

impl Shared {
    fn of(&self, offsets: &[i32]) -> Option<i64> {
        self.timelines.shared(offsets).filter(|id| !self.others.contains(id))
    }
}

/// Timestamps of a segment as they are stored.
fn offsets(segment: &Segment<i32>) -> Result<Vec<i32>, Fault> {
    let start = segment.bucket.start();
    let offset = |timestamp: &Millis| i32::try_from(timestamp - start);
    let offsets: Result<Vec<i32>, _> = segment.column.timestamps.iter().map(offset).collect();
    offsets.map_err(|_| damaged("a sample lies outside of its segment"))
}

/// Writes the shared ones; answers the ids that stand for other timestamps in the database.
async fn write_timelines(tx: &mut PgConnection, timelines: &Timelines) -> Result<HashSet<i64>, Fault> {
    let mut stream = Stream::begin(tx, COPY_TIMELINES).await?;
    for (id, offsets) in timelines.lists() {
        stream.rows.timeline(id, offsets);
        stream.send_large().await?;
    }
    stream.finish().await?;
    sqlx::query(include_str!("../sql/insert_timelines.sql")).execute(&mut *tx).await?;
    let rows = sqlx::query(include_str!("../sql/other_timelines.sql")).fetch_all(tx).await?;
    rows.iter().map(|row| required(row, 0).map(i64::from_be_bytes)).collect()
}
