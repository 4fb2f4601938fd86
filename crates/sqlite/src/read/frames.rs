//! Frames that hold wanted series: which layouts, which columns of them, and the rows themselves, streamed.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_codec::pack::{PackError, unpack_floats, unpack_histograms, unpack_ids, unpack_ints};
use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, NativeHistogram};
use metricsd_ports::PortError;
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::{Fault, damaged};

/// A frame's samples lie between its time and the end of its hour. `?2` is the beginning of the hour of `?3`: frames
/// whose samples differ in time may begin before the range.
const SHARED: &str = "SELECT f.time, f.seq, f.\"values\", f.offsets, f.histograms, f.layout
    FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.layout = wanted.value
    WHERE f.time >= ?2 AND f.time <= ?4 AND (f.time >= ?3 OR f.offsets IS NOT NULL)";

const INLINE: &str = "SELECT time, seq, \"values\", offsets, histograms, series_ids FROM frames
    WHERE layout IS NULL AND time >= ?1 AND time <= ?3 AND (time >= ?2 OR offsets IS NOT NULL)";

/// Wanted columns of a layout, each with the index of its series.
type Columns = Vec<(usize, usize)>;

/// Up to so many series are looked up one by one.
const LOOKED_UP: usize = 1_000;

/// Going through a layout in memory costs about as much as so many look-ups.
const LAYOUTS_A_LOOK_UP: usize = 20;

/// Reads frames of shared layouts.
pub(super) async fn read_shared(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    wanted: &Wanted,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let plan = plan(store, tx, wanted).await?;
    if plan.is_empty() {
        return Ok(());
    }
    let range = gather.range();
    let query = sqlx::query(SHARED)
        .bind(id_list(plan.keys().copied()))
        .bind(range.bucket)
        .bind(range.start)
        .bind(range.end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout: i64 = row.try_get(5)?;
        let columns = plan.get(&layout);
        let columns = columns.ok_or_else(|| damaged("a frame of a layout that was not asked for"))?;
        let mut frame = StoredFrame::of(&row)?;
        for (at, index) in columns {
            frame.give(*at, *index, gather)?;
        }
    }
    Ok(())
}

/// Reads frames that carry their own ids.
pub(super) async fn read_inline(
    tx: &mut SqliteConnection,
    wanted: &Wanted,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let range = gather.range();
    let query = sqlx::query(INLINE).bind(range.bucket).bind(range.start).bind(range.end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let ids = unpacked(unpack_ids(row.try_get(5)?))?;
        let columns = ids.iter().enumerate();
        let columns: Columns =
            columns.filter_map(|(at, id)| Some((at, *wanted.get(&id.cast_signed())?))).collect();
        if columns.is_empty() {
            continue;
        }
        let mut frame = StoredFrame::of(&row)?;
        for (at, index) in columns {
            frame.give(at, index, gather)?;
        }
    }
    Ok(())
}

/// Layouts that may hold wanted series: found by series, or all of them where there are fewer than series to look for.
async fn candidates(tx: &mut SqliteConnection, wanted: &Wanted) -> Result<Vec<i64>, Fault> {
    if wanted.len() > LOOKED_UP {
        let bound = i64::try_from(wanted.len() / LAYOUTS_A_LOOK_UP).unwrap_or(i64::MAX);
        let all = sqlx::query("SELECT id FROM layouts LIMIT ?1").bind(bound).fetch_all(&mut *tx).await?;
        if all.len() as i64 != bound {
            return Ok(all.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?);
        }
    }
    let rows = sqlx::query(
        "SELECT DISTINCT layout FROM layout_series WHERE series IN (SELECT value FROM json_each(?1))",
    )
    .bind(id_list(wanted.keys().copied()))
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// The wanted columns of each layout that has some.
async fn plan(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    wanted: &Wanted,
) -> Result<HashMap<i64, Columns>, Fault> {
    let layouts = candidates(tx, wanted).await?;
    let mut plan = HashMap::with_capacity(layouts.len());
    let mut add = |layout: i64, series: &[u64]| {
        let columns = series.iter().enumerate();
        let columns: Columns =
            columns.filter_map(|(at, id)| Some((at, *wanted.get(&id.cast_signed())?))).collect();
        if !columns.is_empty() {
            plan.insert(layout, columns);
        }
    };
    let mut unread = Vec::new();
    for layout in layouts {
        let remembered = store.layouts.lock().get(layout);
        match remembered {
            Some(series) => add(layout, &series),
            None => unread.push(layout),
        }
    }
    if unread.is_empty() {
        return Ok(plan);
    }
    let mut rows =
        sqlx::query("SELECT id, series FROM layouts WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(id_list(unread))
            .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout = row.try_get(0)?;
        let series: Arc<[u64]> = unpacked(unpack_ids(row.try_get(1)?))?.into();
        add(layout, &series);
        // Layouts never change.
        let weight = series.len() + 1;
        store.layouts.lock().insert(layout, series, weight);
    }
    Ok(plan)
}

/// What a packed column of a frame or a layout holds.
pub(super) fn unpacked<T>(column: Result<T, PackError>) -> Result<T, PortError> {
    column.map_err(|error| damaged("damaged frame in the database").caused_by(error))
}

/// A frame of which columns can be asked for.
pub(super) struct StoredFrame<'r> {
    time: Millis,
    /// First committed, first part of it: the smallest wins.
    seq: i64,
    values: Vec<f64>,
    offsets: Option<Vec<i32>>,
    /// Unpacked when the first is asked for.
    packed: Option<&'r [u8]>,
    histograms: Vec<(u32, NativeHistogram)>,
}

impl<'r> StoredFrame<'r> {
    /// Reads a row that begins with time, seq, values, offsets, histograms.
    pub(super) fn of(row: &'r SqliteRow) -> Result<Self, Fault> {
        let offsets: Option<&[u8]> = row.try_get(3)?;
        Ok(Self {
            time: row.try_get(0)?,
            seq: row.try_get(1)?,
            values: unpacked(unpack_floats(row.try_get(2)?))?,
            offsets: offsets.map(|offsets| unpacked(unpack_ints(offsets))).transpose()?,
            packed: row.try_get(4)?,
            histograms: Vec::new(),
        })
    }

    /// Timestamp and value of a column.
    pub(super) fn sample(&self, at: usize) -> Result<(Millis, f64), Fault> {
        let shorter = || damaged("a frame is shorter than its layout");
        let value = *self.values.get(at).ok_or_else(shorter)?;
        let offset = match &self.offsets {
            Some(offsets) => *offsets.get(at).ok_or_else(shorter)?,
            None => 0,
        };
        Ok((self.time.saturating_add(i64::from(offset)), value))
    }

    /// The histogram of a column, where its value says that it has one.
    pub(super) fn histogram(&mut self, at: usize, value: f64) -> Result<Option<NativeHistogram>, Fault> {
        if value.to_bits() != HISTOGRAM_MARKER_BITS {
            return Ok(None);
        }
        if let Some(packed) = self.packed.take() {
            self.histograms = unpacked(unpack_histograms(packed))?;
        }
        let found = self.histograms.iter().find(|(column, _)| *column as usize == at);
        found
            .map(|(_, histogram)| Some(histogram.clone()))
            .ok_or_else(|| damaged("a frame lacks a histogram").into())
    }

    fn give(&mut self, at: usize, index: usize, gather: &mut Gather) -> Result<(), Fault> {
        let (time, value) = self.sample(at)?;
        let seq = self.seq;
        gather.add(index, time, seq, value, || self.histogram(at, value))
    }
}
