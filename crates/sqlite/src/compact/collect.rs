//! Reads the frames of a unit and the segments that its series have already, and makes the segments that are to be.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use metricsd_codec::pack::{unpack_floats, unpack_histograms, unpack_ints};
use metricsd_model::Millis;
use metricsd_ports::{CompactionPolicy, PortError};
use metricsd_store::compact::{HOUR, Scrape, Segment, Slots, Transposed, Transposer, day_of, merge, passes};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::generation;
use super::pack::{Owner, Packer, Work};
use super::plan::{Plan, Unit, layout_series};
use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::{Fault, damaged};
use crate::numbers;
use crate::segments::{Stored, Table, Timelines, distinct_times, narrow, read, slot_of, timelines_of};

/// Frames that are read at once.
const FRAMES: usize = 128;

/// Series whose segments are read at once.
const SERIES: usize = 4_096;

const FRAMES_BY_NUMBER: &str =
    "SELECT f.seq, f.time, f.\"values\", f.offsets, f.histograms, f.layout_number, f.series_numbers, f.target_id, f.source
    FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.seq = wanted.value";

/// Everything that the transaction of these units writes; `None` where the plan no longer stands.
pub(super) async fn collect(
    store: &SqliteStore,
    plan: &Plan,
    units: &[Unit],
    policy: &CompactionPolicy,
    taken: &HashSet<(Millis, i64)>,
) -> Result<Option<Work>, Fault> {
    let mut tx = store.snapshot().await?;
    if generation(&mut tx).await? != plan.generation {
        return Ok(None);
    }
    let mut origins = Origins::default();
    let mut packer = Packer::new(taken.clone());
    let passes_of = |unit: &Unit| passes(unit.samples, policy.max_samples);
    let passes = units.iter().flat_map(|unit| (0..passes_of(unit)).map(move |pass| (unit, pass)));
    for (unit, pass) in passes {
        let transposer = Transposer::for_pass(pass, passes_of(unit));
        let (transposed, samples) = transpose(store, &mut tx, unit, transposer, &mut origins).await?;
        let mut held = held(store, &mut tx, plan.hour, &transposed).await?;
        let hour = plan.hour;
        packer = blocking(move || {
            let mut merged = Vec::with_capacity(transposed.len());
            for Transposed { series, origin, column, .. } in transposed {
                let held = held.remove(&series).unwrap_or_default();
                merged.push((series, merge(hour, column, Owner::New(origin), held)));
            }
            packer.add(merged, samples);
            Ok(packer)
        })
        .await?;
    }
    tx.rollback().await?;
    Ok(Some(packer.finish(origins.list)))
}

/// Does work that computes for long on a thread where that is in nobody's way.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| damaged("a computation failed").caused_by(error))??)
}

/// Targets and sources, numbered as they come.
#[derive(Default)]
struct Origins {
    numbers: HashMap<(String, String), u32>,
    list: Vec<(String, String)>,
}

impl Origins {
    fn number(&mut self, target_id: &str, source: &str) -> u32 {
        let next = self.list.len() as u32;
        let key = (target_id.to_owned(), source.to_owned());
        *self.numbers.entry(key).or_insert_with_key(|key| {
            self.list.push(key.clone());
            next
        })
    }
}

/// A frame as it was read.
struct Raw {
    seq: i64,
    time: Millis,
    values: Vec<u8>,
    offsets: Option<Vec<u8>>,
    histograms: Option<Vec<u8>>,
    holder: Holder,
    origin: u32,
}

/// How a frame names its series.
enum Holder {
    Layout(i64),
    Inline(Vec<u8>),
}

impl Raw {
    fn of(row: &SqliteRow, origins: &mut Origins) -> Result<Self, Fault> {
        let layout: Option<i64> = row.try_get(5)?;
        Ok(Self {
            seq: row.try_get(0)?,
            time: row.try_get(1)?,
            values: row.try_get(2)?,
            offsets: row.try_get(3)?,
            histograms: row.try_get(4)?,
            holder: match layout {
                Some(layout) => Holder::Layout(layout),
                None => Holder::Inline(row.try_get(6)?),
            },
            origin: origins.number(row.try_get(7)?, row.try_get(8)?),
        })
    }

    fn give(&self, slots: &Slots, transposer: &mut Transposer) -> Result<(), PortError> {
        let values = read(unpack_floats(&self.values))?;
        let offsets = self.offsets.as_deref().map(|packed| read(unpack_ints(packed))).transpose()?;
        let histograms = self.histograms.as_deref().map(|packed| read(unpack_histograms(packed)));
        let scrape = Scrape {
            time: self.time,
            offsets: offsets.as_deref(),
            order: self.seq,
            origin: self.origin,
            values: &values,
            histograms: histograms.transpose()?.unwrap_or_default(),
        };
        transposer.add(slots, scrape)
    }
}

/// Reads all frames of the unit; answers what the transposer took of them, and how many samples that are.
async fn transpose(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    unit: &Unit,
    mut transposer: Transposer,
    origins: &mut Origins,
) -> Result<(Vec<Transposed>, u64), Fault> {
    let mut slots: HashMap<i64, Slots> = HashMap::new();
    for part in unit.frames.chunks(FRAMES) {
        let rows =
            sqlx::query(FRAMES_BY_NUMBER).bind(id_list(part.iter().copied())).fetch_all(&mut *tx).await?;
        let frames: Vec<Raw> = rows.iter().map(|row| Raw::of(row, origins)).collect::<Result<_, _>>()?;
        if frames.len() != part.len() {
            return Err(damaged("a frame has gone from a snapshot").into());
        }
        for frame in &frames {
            if let Holder::Layout(layout) = frame.holder
                && !slots.contains_key(&layout)
            {
                let series = layout_series(store, tx, layout).await?;
                slots.insert(layout, transposer.slots(series.iter().copied()));
            }
        }
        (transposer, slots) = blocking(move || {
            for frame in frames {
                match &frame.holder {
                    Holder::Layout(layout) => {
                        let slots = slots.get(layout).ok_or_else(|| damaged("a layout is missing"))?;
                        frame.give(slots, &mut transposer)?;
                    }
                    Holder::Inline(series) => {
                        let slots = transposer.slots(numbers::unpack(series)?);
                        frame.give(&slots, &mut transposer)?;
                    }
                }
            }
            Ok((transposer, slots))
        })
        .await?;
    }
    blocking(move || {
        let samples = transposer.samples();
        Ok((transposer.finish(), samples))
    })
    .await
}

/// The segments of these series in an hour and its day.
async fn held(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    hour: Millis,
    series: &[Transposed],
) -> Result<HashMap<i64, Vec<Segment<Owner>>>, Fault> {
    let mut held: HashMap<i64, Vec<Segment<Owner>>> = HashMap::new();
    let day = day_of(hour);
    for (table, first, last) in
        [(Table::Hourly, hour, hour.saturating_add(HOUR - 1)), (Table::Daily, day, day)]
    {
        let times = distinct_times(tx, table, (first, last)).await?;
        if times.is_empty() {
            continue;
        }
        for part in series.chunks(SERIES) {
            let ids = id_list(part.iter().map(|transposed| transposed.series));
            let slots = id_list(times.iter().map(|time| slot_of(*time)));
            let query = sqlx::query(narrow(table)).bind(slots).bind(ids);
            let mut stored = Vec::new();
            let mut rows = query.fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                stored.push(Stored::of(&row, table)?);
            }
            drop(rows);
            let timelines = timelines_of(store, tx, &stored).await?;
            held = blocking(move || {
                unpack_into(&mut held, &stored, &timelines)?;
                Ok(held)
            })
            .await?;
        }
    }
    Ok(held)
}

fn unpack_into(
    held: &mut HashMap<i64, Vec<Segment<Owner>>>,
    stored: &[Stored],
    timelines: &Timelines,
) -> Result<(), PortError> {
    for segment in stored {
        if let Some(column) = segment.unpack(timelines, (i64::MIN, i64::MAX))? {
            let origin = Owner::Known(segment.origin);
            held.entry(segment.series).or_default().push(Segment { bucket: segment.bucket, origin, column });
        }
    }
    Ok(())
}
