//! Frames that hold wanted series: which layouts, which frames of them a snapshot holds, and the frames themselves,
//! from the cache or from the file.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_codec::pack::{PackError, unpack_floats, unpack_histograms, unpack_ints};
use metricsd_ports::PortError;
use metricsd_store::chosen::Chosen;
use metricsd_store::frames::{Blocks, Frame, FrameKey, FrameParts, Listed, Plan, Window, Windows, slices};
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::{Fault, damaged};
use crate::numbers;

/// Frames of layouts in a window. A frame's samples lie between its time and the end of its hour: one whose samples
/// differ in time may begin before `?4`, where the range does.
const SHARED: &str = "SELECT f.seq, f.time, f.batch_id, f.layout_number
    FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.layout_number = wanted.value
    WHERE f.time >= ?2 AND f.time <= ?3 AND (f.time >= ?4 OR f.offsets IS NOT NULL) LIMIT ?5";

/// Frames that carry their own lists.
const INLINE: &str = "SELECT seq, time, batch_id, length(\"values\") FROM frames
    WHERE layout_number IS NULL AND time >= ?1 AND time <= ?2 AND (time >= ?3 OR offsets IS NOT NULL) LIMIT ?4";

const FETCH: &str =
    "SELECT f.time, f.seq, f.\"values\", f.offsets, f.histograms, f.series_numbers, wanted.key
    FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.seq = wanted.value";

/// Frames that one task decodes, and such tasks under way at once.
const DECODED: usize = 16;
const DECODERS: usize = 4;

/// Up to so many series are looked up one by one.
const LOOKED_UP: usize = 1_000;

/// Going through a layout in memory costs about as much as so many look-ups.
const LAYOUTS_A_LOOK_UP: usize = 20;

/// Reads all frames that hold wanted series.
pub(super) async fn read(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    chosen: &Chosen,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let plan = plan(store, tx, chosen).await?;
    let turn = store.frames.turn();
    let mut windows = Windows::new(gather.range());
    while let Some(window) = windows.next_window() {
        let mut listed = list(tx, &plan, window, gather.range().start).await?;
        if !windows.is_whole(window, listed.len()) {
            continue;
        }
        for slice in slices(&mut listed) {
            let mut asked = store.frames.ask(turn, slice);
            while let Some(missing) = asked.claim() {
                for fetched in fetch(tx, slice, &missing).await? {
                    asked.give(fetched.0, fetched.1)?;
                }
                asked.others().await;
            }
            Blocks::new(slice, asked.finish()?).give(&plan, &chosen.wanted, gather)?;
        }
    }
    Ok(())
}

/// The frames of a window, or a few more than a window may have.
async fn list(
    tx: &mut SqliteConnection,
    plan: &Plan,
    window: Window,
    start: i64,
) -> Result<Vec<Listed>, Fault> {
    let mut listed = Vec::new();
    if !plan.is_empty() {
        let rows = sqlx::query(SHARED)
            .bind(id_list(plan.keys().copied()))
            .bind(window.first)
            .bind(window.last)
            .bind(start)
            .bind(window.limit())
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            let layout: i64 = row.try_get(3)?;
            let columns = plan.get(&layout).map_or(0, |columns| columns.width);
            let (key, bytes) = (key_of(row)?, columns * size_of::<f64>());
            listed.push(Listed { key, layout: Some(layout), bytes });
        }
    }
    let rows = sqlx::query(INLINE)
        .bind(window.first)
        .bind(window.last)
        .bind(start)
        .bind(window.limit())
        .fetch_all(&mut *tx)
        .await?;
    for row in &rows {
        // Numbers of series take as much as values.
        let values = usize::try_from(row.try_get::<i64, _>(3)?).unwrap_or(0);
        listed.push(Listed { key: key_of(row)?, layout: None, bytes: 2 * values });
    }
    Ok(listed)
}

/// Reads a row that begins with seq, time, batch.
fn key_of(row: &SqliteRow) -> Result<FrameKey, Fault> {
    let batch: Uuid = row.try_get(2)?;
    Ok(FrameKey { order: row.try_get(0)?, time: row.try_get(1)?, batch: batch.as_u128() })
}

/// Frames by their places among the listed ones. They are decoded on other threads while more are read.
async fn fetch(
    tx: &mut SqliteConnection,
    listed: &[Listed],
    places: &[usize],
) -> Result<Vec<(usize, Frame)>, Fault> {
    let wanted = places.iter().filter_map(|place| listed.get(*place)).map(|listed| listed.key.order);
    let mut rows = sqlx::query(FETCH).bind(id_list(wanted)).fetch(tx);
    let mut fetched = Vec::with_capacity(places.len());
    let mut decoders = VecDeque::new();
    let mut batch = Vec::with_capacity(DECODED);
    loop {
        let row = rows.try_next().await?;
        let last = row.is_none();
        batch.extend(row);
        if batch.len() == DECODED || (last && !batch.is_empty()) {
            let batch = std::mem::take(&mut batch);
            decoders.push_back(tokio::task::spawn_blocking(move || decode(batch)));
        }
        while decoders.len() > if last { 0 } else { DECODERS } {
            let Some(decoder) = decoders.pop_front() else { break };
            let decoded = decoder.await;
            fetched.extend(decoded.map_err(|error| damaged("decoding frames failed").caused_by(error))??);
        }
        if last {
            break;
        }
    }
    let places = fetched.into_iter().map(|(key, frame)| Some((*places.get(key)?, frame)));
    let places: Option<Vec<_>> = places.collect();
    places.ok_or_else(|| damaged("a frame that was not asked for").into())
}

/// Decodes rows of [`FETCH`]; each frame with the place of its seq in the list.
fn decode(rows: Vec<SqliteRow>) -> Result<Vec<(usize, Frame)>, Fault> {
    let mut frames = Vec::with_capacity(rows.len());
    for row in &rows {
        let parts = parts_of(row)?;
        let frame = match row.try_get::<Option<&[u8]>, _>(5)? {
            Some(series) => Frame::inline(parts, &numbers::unpack(series)?)?,
            None => Frame::shared(parts),
        };
        frames.push((usize::try_from(row.try_get::<i64, _>(6)?).unwrap_or(usize::MAX), frame));
    }
    Ok(frames)
}

/// Layouts that may hold wanted series: found by blocks of series, or all of them where there are fewer than series to look
/// for.
async fn candidates(tx: &mut SqliteConnection, wanted: &Wanted) -> Result<Vec<i64>, Fault> {
    if wanted.len() > LOOKED_UP {
        let bound = i64::try_from(wanted.len() / LAYOUTS_A_LOOK_UP).unwrap_or(i64::MAX);
        let all = sqlx::query("SELECT number FROM layouts LIMIT ?1").bind(bound).fetch_all(&mut *tx).await?;
        if all.len() as i64 != bound {
            return Ok(all.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?);
        }
    }
    let rows = sqlx::query(
        "SELECT DISTINCT layout FROM layout_blocks WHERE block IN (SELECT value FROM json_each(?1))",
    )
    .bind(id_list(numbers::blocks(wanted.keys().copied())))
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// The wanted columns of each layout that has some.
async fn plan(store: &SqliteStore, tx: &mut SqliteConnection, chosen: &Chosen) -> Result<Plan, Fault> {
    let layouts = candidates(tx, &chosen.wanted).await?;
    let mut plan = Plan::with_capacity_and_hasher(layouts.len(), Default::default());
    let mut unread = Vec::new();
    for layout in layouts {
        let known = chosen.known_columns(layout).or_else(|| {
            let series = store.layouts.lock().get(layout)?;
            Some(chosen.columns(layout, series.iter().copied()))
        });
        match known {
            Some(Some(columns)) => drop(plan.insert(layout, columns)),
            Some(None) => {}
            None => unread.push(layout),
        }
    }
    if unread.is_empty() {
        return Ok(plan);
    }
    let mut rows =
        sqlx::query("SELECT number, series FROM layouts WHERE number IN (SELECT value FROM json_each(?1))")
            .bind(id_list(unread))
            .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout = row.try_get(0)?;
        let series: Arc<[i64]> = numbers::unpack(row.try_get(1)?)?.into();
        if let Some(columns) = chosen.columns(layout, series.iter().copied()) {
            plan.insert(layout, columns);
        }
        // Layouts never change.
        let weight = series.len() + 1;
        store.layouts.lock().insert(layout, series, weight);
    }
    Ok(plan)
}

/// What a packed column of a frame holds.
fn unpacked<T>(column: Result<T, PackError>) -> Result<T, PortError> {
    column.map_err(|error| damaged("damaged frame in the database").caused_by(error))
}

/// Decodes a row that begins with time, seq, values, offsets, histograms.
pub(super) fn parts_of(row: &SqliteRow) -> Result<FrameParts, Fault> {
    let offsets: Option<&[u8]> = row.try_get(3)?;
    let histograms: Option<&[u8]> = row.try_get(4)?;
    Ok(FrameParts {
        time: row.try_get(0)?,
        order: row.try_get(1)?,
        values: unpacked(unpack_floats(row.try_get(2)?))?,
        offsets: offsets.map(|offsets| unpacked(unpack_ints(offsets))).transpose()?,
        histograms: histograms.map_or(Ok(Vec::new()), |packed| unpacked(unpack_histograms(packed)))?,
    })
}
