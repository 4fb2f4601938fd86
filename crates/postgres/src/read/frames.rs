//! Frames that hold wanted series: which layouts, which columns of them, and the rows themselves, streamed.
//!
//! A frame's samples lie between its time and the end of its hour. Where a layout has few wanted columns the database
//! picks the elements; where it has many, sending the whole array is cheaper (each pick unpacks the array again).

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_histograms;
use metricsd_model::{HISTOGRAM_MARKER_BITS, NativeHistogram};
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::bounds;
use crate::PostgresStore;
use crate::binary::{Array, array, bytes, number, required, required_array};
use crate::copy::millis;
use crate::error::{Fault, damaged};

/// Columns that the database picks; `pick_frames.sql` has as many.
const PICKS: usize = 4;

/// A pick costs as much as sending this many elements.
const ELEMENTS_A_PICK: usize = 12;

/// Up to so many series are looked for in layouts through the index, which compares each with each; for more, all
/// layouts are read and joined.
const COMPARED: usize = 1_000;

/// Up to so many series are looked for in frames that carry their own ids; for more, all are read.
const SEARCHED: usize = 4;

/// The wanted columns of each layout: (column, index of the series).
pub(super) struct Plan {
    picked: HashMap<i64, Vec<(usize, usize)>>,
    whole: HashMap<i64, Vec<(usize, usize)>>,
}

impl Plan {
    pub(super) async fn new(
        store: &PostgresStore,
        tx: &mut PgConnection,
        wanted: &Wanted,
    ) -> Result<Self, Fault> {
        let ids: Vec<i64> = wanted.keys().copied().collect();
        let rows = if ids.len() > COMPARED {
            let sql = include_str!("../sql/join_layouts.sql");
            sqlx::query(sql).bind(ids).fetch_all(&mut *tx).await?
        } else {
            // The planner takes comparing two arrays for cheap and reads every layout; the index is far faster.
            sqlx::query("SET LOCAL enable_seqscan = off").execute(&mut *tx).await?;
            let sql = include_str!("../sql/find_layouts.sql");
            let rows = sqlx::query(sql).bind(ids).fetch_all(&mut *tx).await?;
            sqlx::query("SET LOCAL enable_seqscan = on").execute(&mut *tx).await?;
            rows
        };
        let layouts: Vec<i64> =
            rows.iter().map(|row| required(row, 0).map(i64::from_be_bytes)).collect::<Result<_, _>>()?;
        let mut plan = Self { picked: HashMap::new(), whole: HashMap::new() };
        for (layout, series) in load(store, tx, layouts).await? {
            let columns = series.iter().enumerate();
            let columns: Vec<_> =
                columns.filter_map(|(at, id)| wanted.get(id).map(|index| (at, *index))).collect();
            let few = columns.len() <= PICKS && columns.len() * ELEMENTS_A_PICK < series.len();
            let kind = if few { &mut plan.picked } else { &mut plan.whole };
            kind.insert(layout, columns);
        }
        Ok(plan)
    }
}

/// Columns of layouts, from memory where they were read before. Layouts never change.
async fn load(
    store: &PostgresStore,
    tx: &mut PgConnection,
    layouts: Vec<i64>,
) -> Result<Vec<(i64, Arc<[i64]>)>, Fault> {
    let mut loaded = Vec::with_capacity(layouts.len());
    let mut missing = Vec::new();
    {
        let mut cache = store.layouts.lock();
        for layout in layouts {
            match cache.get(layout) {
                Some(series) => loaded.push((layout, series)),
                None => missing.push(layout),
            }
        }
    }
    if missing.is_empty() {
        return Ok(loaded);
    }
    let mut rows = sqlx::query(include_str!("../sql/layouts_by_id.sql")).bind(missing).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout = i64::from_be_bytes(required(&row, 0)?);
        let series: Arc<[i64]> = required_array::<8>(&row, 1)?.iter().map(i64::from_be_bytes).collect();
        store.layouts.lock().insert(layout, Arc::clone(&series), series.len() + 1);
        loaded.push((layout, series));
    }
    Ok(loaded)
}

/// Reads single elements.
pub(super) async fn read_picks(tx: &mut PgConnection, plan: &Plan, gather: &mut Gather) -> Result<(), Fault> {
    if plan.picked.is_empty() {
        return Ok(());
    }
    let layouts: Vec<i64> = plan.picked.keys().copied().collect();
    // Arrays of the database begin at 1; an absent column is null, and so is what it picks.
    let column = |pick: usize| -> Vec<Option<i32>> {
        plan.picked.values().map(|columns| columns.get(pick).map(|(at, _)| *at as i32 + 1)).collect()
    };
    let (bucket, start, end) = bounds(gather.range());
    let query = sqlx::query(include_str!("../sql/pick_frames.sql"))
        .bind(layouts)
        .bind(column(0))
        .bind(column(1))
        .bind(column(2))
        .bind(column(3))
        .bind(bucket)
        .bind(start)
        .bind(end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let head = Head::of(&row)?;
        let layout = i64::from_be_bytes(required(&row, 4)?);
        let columns =
            plan.picked.get(&layout).ok_or_else(|| damaged("a frame of a layout that was not asked for"))?;
        let mut histograms = Histograms::of(&row, 3)?;
        for (pick, (at, index)) in columns.iter().enumerate() {
            let value = f64::from_be_bytes(required(&row, 5 + 2 * pick)?);
            let offset = number(&row, 6 + 2 * pick)?.map_or(0, i32::from_be_bytes);
            gather.add(*index, head.time + i64::from(offset), head.order, value, || {
                histograms.take(*at, value)
            })?;
        }
    }
    Ok(())
}

/// Reads whole arrays of shared layouts.
pub(super) async fn read_whole(tx: &mut PgConnection, plan: &Plan, gather: &mut Gather) -> Result<(), Fault> {
    if plan.whole.is_empty() {
        return Ok(());
    }
    let layouts: Vec<i64> = plan.whole.keys().copied().collect();
    let (bucket, start, end) = bounds(gather.range());
    let query =
        sqlx::query(include_str!("../sql/whole_frames.sql")).bind(layouts).bind(bucket).bind(start).bind(end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout = i64::from_be_bytes(required(&row, 4)?);
        let columns =
            plan.whole.get(&layout).ok_or_else(|| damaged("a frame of a layout that was not asked for"))?;
        let mut frame = WholeFrame::of(&row, 5)?;
        for (at, index) in columns {
            frame.give(*at, *index, gather)?;
        }
    }
    Ok(())
}

/// Reads frames that carry their own ids.
pub(super) async fn read_inline(
    tx: &mut PgConnection,
    wanted: &Wanted,
    gather: &mut Gather,
) -> Result<(), Fault> {
    if wanted.len() <= SEARCHED {
        return search_inline(tx, wanted, gather).await;
    }
    let (bucket, start, end) = bounds(gather.range());
    let query = sqlx::query(include_str!("../sql/inline_frames.sql")).bind(bucket).bind(start).bind(end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let ids = required_array::<8>(&row, 4)?;
        let mut frame = WholeFrame::of(&row, 5)?;
        for (at, id) in ids.iter().map(i64::from_be_bytes).enumerate() {
            if let Some(index) = wanted.get(&id) {
                frame.give(at, *index, gather)?;
            }
        }
    }
    Ok(())
}

/// One row a sample: the database finds the ids in each frame.
async fn search_inline(tx: &mut PgConnection, wanted: &Wanted, gather: &mut Gather) -> Result<(), Fault> {
    let (bucket, start, end) = bounds(gather.range());
    let query = sqlx::query(include_str!("../sql/search_frames.sql"))
        .bind(wanted.keys().copied().collect::<Vec<_>>())
        .bind(bucket)
        .bind(start)
        .bind(end);
    let mut rows = query.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let head = Head::of(&row)?;
        let id = i64::from_be_bytes(required(&row, 4)?);
        let index = wanted.get(&id).ok_or_else(|| damaged("a sample of a series that was not asked for"))?;
        let at = i32::from_be_bytes(required(&row, 5)?) - 1;
        let value = f64::from_be_bytes(required(&row, 6)?);
        let offset = number(&row, 7)?.map_or(0, i32::from_be_bytes);
        let mut histograms = Histograms::of(&row, 3)?;
        let histogram = || histograms.take(at.max(0) as usize, value);
        gather.add(*index, head.time + i64::from(offset), head.order, value, histogram)?;
    }
    Ok(())
}

/// The columns that every query of frames begins with: time, seq, part, histograms.
struct Head {
    time: i64,
    /// First committed, first part of it: the smallest wins.
    order: i64,
}

impl Head {
    fn of(row: &PgRow) -> Result<Self, Fault> {
        let seq = i64::from_be_bytes(required(row, 1)?);
        let part = i16::from_be_bytes(required(row, 2)?);
        Ok(Self { time: millis(i64::from_be_bytes(required(row, 0)?)), order: (seq << 15) | i64::from(part) })
    }
}

/// A frame whose arrays were sent.
pub(super) struct WholeFrame<'r> {
    head: Head,
    values: Array<'r, 8>,
    offsets: Option<Array<'r, 4>>,
    histograms: Histograms<'r>,
}

impl<'r> WholeFrame<'r> {
    /// `values` is the column of the values; offsets follow.
    pub(super) fn of(row: &'r PgRow, values: usize) -> Result<Self, Fault> {
        Ok(Self {
            head: Head::of(row)?,
            values: required_array(row, values)?,
            offsets: array(row, values + 1)?,
            histograms: Histograms::of(row, 3)?,
        })
    }

    /// Timestamp and value of a column.
    pub(super) fn sample(&self, at: usize) -> Result<(i64, f64), Fault> {
        let shorter = || damaged("a frame is shorter than its layout");
        let value = self.values.get(at).map(f64::from_be_bytes).ok_or_else(shorter)?;
        let offset = match self.offsets {
            Some(offsets) => offsets.get(at).map(i32::from_be_bytes).ok_or_else(shorter)?,
            None => 0,
        };
        Ok((self.head.time + i64::from(offset), value))
    }

    /// The histogram of a column, where its value says that it has one.
    pub(super) fn histogram(&mut self, at: usize, value: f64) -> Result<Option<NativeHistogram>, Fault> {
        self.histograms.take(at, value)
    }

    fn give(&mut self, at: usize, index: usize, gather: &mut Gather) -> Result<(), Fault> {
        let (time, value) = self.sample(at)?;
        let order = self.head.order;
        gather.add(index, time, order, value, || self.histograms.take(at, value))
    }
}

/// The packed histograms of a frame, unpacked when the first is asked for.
struct Histograms<'r> {
    packed: Option<&'r [u8]>,
    unpacked: Vec<(u32, NativeHistogram)>,
}

impl<'r> Histograms<'r> {
    fn of(row: &'r PgRow, column: usize) -> Result<Self, Fault> {
        Ok(Self { packed: bytes(row, column)?, unpacked: Vec::new() })
    }

    fn take(&mut self, at: usize, value: f64) -> Result<Option<NativeHistogram>, Fault> {
        if value.to_bits() != HISTOGRAM_MARKER_BITS {
            return Ok(None);
        }
        if let Some(packed) = self.packed.take() {
            let unpacked = unpack_histograms(packed);
            self.unpacked =
                unpacked.map_err(|error| damaged("damaged histograms in the database").caused_by(error))?;
        }
        let found = self.unpacked.iter().find(|(column, _)| *column as usize == at);
        found
            .map(|(_, histogram)| Some(histogram.clone()))
            .ok_or_else(|| damaged("a frame lacks a histogram"))
    }
}
