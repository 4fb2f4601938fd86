//! Segments of wanted series: found by series and time, cut to the range by the database.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_histograms;
use metricsd_model::{HISTOGRAM_MARKER_BITS, NativeHistogram};
use metricsd_store::compact::{HOUR, day_of};
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::bounds;
use crate::PostgresStore;
use crate::binary::{array, bytes, number, required, required_array};
use crate::compact::unpack;
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};
use crate::values::Values;

/// Segments that one statement may find, roughly: what refers to timestamps that are not in memory waits for them.
const SEGMENTS_A_LOOK: i64 = 50_000;

/// Series that one statement looks for, at most.
const SERIES_A_LOOK: i64 = 5_000;

/// For a longer time it is worth to look over how long a time there are segments at all.
const MANY_HOURS: i64 = 24 * 31;

/// A segment holds what was committed before any frame that is still there and has the same timestamps.
const FIRST: i64 = i64::MIN;

/// Reads what segments hold of the wanted series.
pub(crate) async fn read_segments(
    store: &PostgresStore,
    tx: &mut PgConnection,
    wanted: &Wanted,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let range = gather.range();
    let (hour, start, end) = bounds(range);
    let day = bound(day_of(range.start));
    let hours = match range.end.saturating_sub(range.bucket) / HOUR + 1 {
        hours if hours > MANY_HOURS => hours.min(hours_with_segments(tx).await?),
        hours => hours,
    };
    let at_once = (SEGMENTS_A_LOOK / hours).clamp(1, SERIES_A_LOOK) as usize;
    let mut ids: Vec<i64> = wanted.keys().copied().collect();
    ids.sort_unstable();
    let mut reader = Reader { store, wanted, timelines: HashMap::new(), values: Vec::new() };
    for ids in ids.chunks(at_once) {
        for (sql, first) in
            [(include_str!("../sql/segments.sql"), hour), (include_str!("../sql/segments_daily.sql"), day)]
        {
            let mut waiting = Vec::new();
            let query = sqlx::query(sql).bind(ids).bind(first).bind(start).bind(end);
            let mut rows = query.fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                if !reader.give(&row, gather)? {
                    waiting.push(row);
                }
            }
            drop(rows);
            reader.load(tx, &waiting).await?;
            for row in waiting {
                if !reader.give(&row, gather)? {
                    return Err(damaged("the timestamps of a segment are missing"));
                }
            }
        }
    }
    Ok(())
}

/// From the first segment to the last.
async fn hours_with_segments(tx: &mut PgConnection) -> Result<i64, Fault> {
    let row = sqlx::query("SELECT min(time), max(time) FROM spans").fetch_one(tx).await?;
    let time = |column| -> Result<Option<i64>, Fault> {
        Ok(number(&row, column)?.map(|time| millis(i64::from_be_bytes(time))))
    };
    let (first, last) = (time(0)?.unwrap_or(0), time(1)?.unwrap_or(0));
    Ok(last.saturating_sub(first) / HOUR + 25)
}

/// Gives rows of the columns time, series, timeline, first, values, offsets, histograms, packed, what [`Values`] reads, and
/// last.
struct Reader<'s> {
    store: &'s PostgresStore,
    wanted: &'s Wanted,
    /// Timestamps that this call has met.
    timelines: HashMap<i64, Arc<[i32]>>,
    /// Values of one segment, to be used again for the next.
    values: Vec<f64>,
}

impl Reader<'_> {
    /// Adds the samples of a segment; `false` where its timestamps are not in memory.
    fn give(&mut self, row: &PgRow, gather: &mut Gather) -> Result<bool, Fault> {
        let series = i64::from_be_bytes(required(row, 1)?);
        let index = *self.wanted.get(&series).ok_or_else(|| damaged("a segment that was not asked for"))?;
        let place = number(row, 3)?.map_or(0, i32::from_be_bytes).max(0) as usize;
        let mut giver = Giver {
            index,
            start: millis(i64::from_be_bytes(required(row, 0)?)),
            histograms: Histograms { packed: bytes(row, 6)?, unpacked: Vec::new() },
            gather,
        };
        if let Some(packed) = bytes(row, 7)? {
            let (offsets, values) = unpack(packed)?;
            giver.give(0, offsets.into_iter(), values.into_iter())?;
            return Ok(true);
        }
        let values = Values::of(row, 4, 8)?;
        if let Some(offsets) = array::<4>(row, 5)? {
            values.read(place, offsets.len(), &mut self.values)?;
            giver.give(place, offsets.iter().map(i32::from_be_bytes), self.values.iter().copied())?;
            return Ok(true);
        }
        let Some(timeline) = self.timeline(i64::from_be_bytes(required(row, 2)?)) else {
            return Ok(false);
        };
        let last = number(row, 15)?.map(|last| i32::from_be_bytes(last).max(0) as usize);
        let end = values.len().map(|count| place.saturating_add(count)).or(last).unwrap_or(timeline.len());
        let offsets = timeline.get(place..end);
        let offsets = offsets.ok_or_else(|| damaged("a segment has not one value a timestamp"))?;
        values.read(place, offsets.len(), &mut self.values)?;
        giver.give(place, offsets.iter().copied(), self.values.iter().copied())?;
        Ok(true)
    }

    fn timeline(&mut self, id: i64) -> Option<Arc<[i32]>> {
        if let Some(known) = self.timelines.get(&id) {
            return Some(Arc::clone(known));
        }
        let known = self.store.timelines.lock().get(id)?;
        self.timelines.insert(id, Arc::clone(&known));
        Some(known)
    }

    /// Reads the timestamps that these segments refer to.
    async fn load(&mut self, tx: &mut PgConnection, waiting: &[PgRow]) -> Result<(), Fault> {
        let mut ids = Vec::new();
        for row in waiting {
            ids.push(i64::from_be_bytes(required(row, 2)?));
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let mut rows = sqlx::query(include_str!("../sql/timelines.sql")).bind(ids).fetch(tx);
        while let Some(row) = rows.try_next().await? {
            let id = i64::from_be_bytes(required(&row, 0)?);
            let offsets: Arc<[i32]> = required_array::<4>(&row, 1)?.iter().map(i32::from_be_bytes).collect();
            self.store.timelines.lock().insert(id, Arc::clone(&offsets), offsets.len() / 2 + 4);
            self.timelines.insert(id, offsets);
        }
        Ok(())
    }
}

/// The samples of one segment on their way.
struct Giver<'r, 'g> {
    index: usize,
    start: i64,
    histograms: Histograms<'r>,
    gather: &'g mut Gather,
}

impl Giver<'_, '_> {
    /// `place` is that of the first sample in its segment.
    fn give(
        &mut self,
        place: usize,
        offsets: impl Iterator<Item = i32>,
        values: impl Iterator<Item = f64>,
    ) -> Result<(), Fault> {
        for (at, (offset, value)) in (place..).zip(offsets.zip(values)) {
            let histograms = &mut self.histograms;
            let timestamp = self.start + i64::from(offset);
            self.gather.add(self.index, timestamp, FIRST, value, || histograms.take(at, value))?;
        }
        Ok(())
    }
}

/// The packed histograms of a segment, unpacked when the first is asked for.
struct Histograms<'r> {
    packed: Option<&'r [u8]>,
    unpacked: Vec<(u32, NativeHistogram)>,
}

impl Histograms<'_> {
    fn take(&mut self, at: usize, value: f64) -> Result<Option<NativeHistogram>, Fault> {
        if value.to_bits() != HISTOGRAM_MARKER_BITS {
            return Ok(None);
        }
        if let Some(packed) = self.packed.take() {
            let unpacked = unpack_histograms(packed);
            self.unpacked =
                unpacked.map_err(|error| damaged("damaged histograms in the database").caused_by(error))?;
        }
        // A segment may hold as many as it has samples.
        let found = self.unpacked.binary_search_by_key(&at, |(place, _)| *place as usize);
        let place = found.map_err(|_| damaged("a segment lacks a histogram"))?;
        Ok(self.unpacked.get(place).map(|(_, histogram)| histogram.clone()))
    }
}
