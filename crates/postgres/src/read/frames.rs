//! Frames that hold wanted series: which layouts, which frames of them a snapshot holds, and the frames themselves,
//! from the cache or from the database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_histograms;
use metricsd_model::Millis;
use metricsd_store::chosen::Chosen;
use metricsd_store::frames::{Blocks, Frame, FrameKey, FrameParts, Listed, Plan, Window, Windows, slices};
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use super::picks::Picks;
use crate::PostgresStore;
use crate::binary::{array, bytes, number, required, required_array};
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};
use crate::list_keys::ListKeys;

/// Up to so many series are looked for in layouts through the index, which compares each with each; for more, all
/// layouts are read and joined.
const COMPARED: usize = 1_000;

/// From so many bytes on, frames are fetched over two connections: what costs most is what the server does with each
/// element.
const DIVIDED: usize = 1 << 20;

/// How long the second connection is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Bits of an order that number the parts of a batch.
const PART_BITS: u32 = 15;

/// Reads all frames that hold wanted series.
pub(super) async fn read(
    store: &PostgresStore,
    tx: &mut PgConnection,
    chosen: &Chosen,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let plan = plan(store, tx, chosen).await?;
    let turn = store.frames.turn();
    let (start, mut first) = (gather.range().start, HashSet::new());
    let mut windows = Windows::new(gather.range());
    while let Some(window) = windows.next_window() {
        let mut listed = list(tx, &plan, window, start).await?;
        if !windows.is_whole(window, listed.len()) {
            continue;
        }
        let picks = Picks::new(store, &plan, &chosen.wanted, &mut listed, &mut first, start);
        picks.read(tx, window, gather).await?;
        for slice in slices(&mut listed) {
            let mut asked = store.frames.ask(turn, slice);
            while let Some(missing) = asked.claim() {
                // Boxed: most calls find all they want in the cache.
                let fetched = Box::pin(fetch(store, tx, slice, missing)).await?;
                for (place, frame) in fetched {
                    asked.give(place, frame)?;
                }
                asked.others().await;
            }
            Blocks::new(slice, asked.finish()?).give(&plan, &chosen.wanted, gather)?;
        }
    }
    let mut asked = store.asked.lock();
    first.into_iter().for_each(|layout| asked.insert(layout, (), 1));
    Ok(())
}

/// The wanted columns of each layout that has some.
async fn plan(store: &PostgresStore, tx: &mut PgConnection, chosen: &Chosen) -> Result<Plan, Fault> {
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
    let mut rows = sqlx::query(include_str!("../sql/layouts_by_id.sql")).bind(unread).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let layout = i64::from_be_bytes(required(&row, 0)?);
        let series: Arc<[i64]> = required_array::<8>(&row, 1)?.iter().map(i64::from_be_bytes).collect();
        if let Some(columns) = chosen.columns(layout, series.iter().copied()) {
            plan.insert(layout, columns);
        }
        // Layouts never change.
        let weight = series.len() + 1;
        store.layouts.lock().insert(layout, series, weight);
    }
    Ok(plan)
}

/// Layouts that hold wanted series, and maybe some that do not.
async fn candidates(tx: &mut PgConnection, wanted: &Wanted) -> Result<Vec<i64>, Fault> {
    let ids: Vec<i64> = wanted.keys().copied().collect();
    let rows = if ids.len() > COMPARED {
        sqlx::query(include_str!("../sql/join_layouts.sql")).bind(ids).fetch_all(&mut *tx).await?
    } else {
        let keys = ListKeys::read(&mut *tx, &ids).await?;
        let query = keys.bind(sqlx::query(include_str!("../sql/find_layouts.sql")));
        let rows = query.fetch_all(&mut *tx).await?;
        sqlx::query("SET LOCAL enable_seqscan = on").execute(&mut *tx).await?;
        rows
    };
    rows.iter().map(|row| required(row, 0).map(i64::from_be_bytes)).collect()
}

/// The frames of a window, or a few more than a window may have.
async fn list(
    tx: &mut PgConnection,
    plan: &Plan,
    window: Window,
    start: Millis,
) -> Result<Vec<Listed>, Fault> {
    let layouts: Vec<i64> = plan.keys().copied().collect();
    let rows = sqlx::query(include_str!("../sql/list_frames.sql"))
        .bind(layouts)
        .bind(bound(window.first))
        .bind(bound(window.last))
        .bind(bound(start))
        .bind(window.limit())
        .fetch_all(tx)
        .await?;
    let mut listed = Vec::with_capacity(rows.len());
    for row in &rows {
        let Head { time, order } = Head::of(row)?;
        let batch = u128::from_be_bytes(required(row, 3)?);
        let layout = number(row, 4)?.map(i64::from_be_bytes);
        let bytes = match layout {
            Some(layout) => plan.get(&layout).map_or(0, |columns| columns.width * size_of::<f64>()),
            // Values take as much as ids.
            None => 2 * number(row, 5)?.map_or(0, i32::from_be_bytes).max(0) as usize,
        };
        listed.push(Listed { key: FrameKey { order, batch, time }, layout, bytes });
    }
    Ok(listed)
}

/// Frames by their places among the listed ones.
async fn fetch(
    store: &PostgresStore,
    tx: &mut PgConnection,
    listed: &[Listed],
    mut places: Vec<usize>,
) -> Result<Vec<(usize, Frame)>, Fault> {
    let bytes: usize = places.iter().filter_map(|place| listed.get(*place)).map(|listed| listed.bytes).sum();
    let second = if bytes >= DIVIDED && places.len() > 1 { spare(store).await } else { None };
    let Some(mut second) = second else {
        return fetch_over(tx, listed, &places).await;
    };
    let others = places.split_off(places.len() / 2);
    let (mut fetched, more) =
        tokio::try_join!(fetch_over(tx, listed, &places), fetch_over(&mut second, listed, &others))?;
    fetched.extend(more);
    if fetched.len() < places.len() + others.len() {
        // The second connection sees a later state, in which a frame may be gone; the first still has it.
        let there: HashSet<usize> = fetched.iter().map(|(place, _)| *place).collect();
        let gone: Vec<usize> = others.into_iter().filter(|place| !there.contains(place)).collect();
        fetched.extend(fetch_over(tx, listed, &gone).await?);
    }
    Ok(fetched)
}

/// A second connection, where it can be had at once: who waits for one while holding another may wait for ever.
async fn spare(store: &PostgresStore) -> Option<PoolConnection<Postgres>> {
    tokio::time::timeout(PATIENCE, store.readers.acquire()).await.ok()?.ok()
}

async fn fetch_over(
    connection: &mut PgConnection,
    listed: &[Listed],
    places: &[usize],
) -> Result<Vec<(usize, Frame)>, Fault> {
    let keys = || places.iter().filter_map(|place| listed.get(*place)).map(|listed| listed.key);
    let (Some(first), Some(last)) = (keys().map(|key| key.time).min(), keys().map(|key| key.time).max())
    else {
        return Ok(Vec::new());
    };
    let mut rows = sqlx::query(include_str!("../sql/fetch_frames.sql"))
        .bind(keys().map(|key| Uuid::from_u128(key.batch)).collect::<Vec<_>>())
        .bind(keys().map(|key| (key.order & ((1 << PART_BITS) - 1)) as i16).collect::<Vec<_>>())
        .bind(keys().map(|key| bound(key.time)).collect::<Vec<_>>())
        .bind(bound(first))
        .bind(bound(last))
        .fetch(connection);
    let mut fetched = Vec::with_capacity(places.len());
    while let Some(row) = rows.try_next().await? {
        let place = usize::try_from(i64::from_be_bytes(required(&row, 7)?) - 1).ok();
        let place = place.and_then(|place| places.get(place));
        let place = *place.ok_or_else(|| damaged("a frame that was not asked for"))?;
        fetched.push((place, decode(&row)?));
    }
    Ok(fetched)
}

fn decode(row: &PgRow) -> Result<Frame, Fault> {
    let parts = parts_of(row, 5)?;
    Ok(match array::<8>(row, 4)? {
        Some(ids) => Frame::inline(parts, &ids.iter().map(i64::from_be_bytes).collect::<Vec<_>>())?,
        None => Frame::shared(parts),
    })
}

/// Decodes a row that begins with time, seq, part, histograms; `values` is the column of the values, offsets follow.
pub(super) fn parts_of(row: &PgRow, values: usize) -> Result<FrameParts, Fault> {
    let Head { time, order } = Head::of(row)?;
    let histograms = match bytes(row, 3)? {
        Some(packed) => unpack_histograms(packed)
            .map_err(|error| damaged("damaged histograms in the database").caused_by(error))?,
        None => Vec::new(),
    };
    Ok(FrameParts {
        time,
        order,
        values: required_array::<8>(row, values)?.iter().map(f64::from_be_bytes).collect(),
        offsets: array::<4>(row, values + 1)?.map(|array| array.iter().map(i32::from_be_bytes).collect()),
        histograms,
    })
}

/// The columns that every query of frames begins with: time, seq, part.
pub(super) struct Head {
    pub(super) time: Millis,
    /// First committed, first part of it: the smallest wins.
    pub(super) order: i64,
}

impl Head {
    pub(super) fn of(row: &PgRow) -> Result<Self, Fault> {
        let seq = i64::from_be_bytes(required(row, 1)?);
        let part = i16::from_be_bytes(required(row, 2)?);
        let order = (seq << PART_BITS) | i64::from(part);
        Ok(Self { time: millis(i64::from_be_bytes(required(row, 0)?)), order })
    }
}
