//! Series that did not change within an hour stand many in a row: as rows of their own they would take several times what
//! they hold.

use std::collections::{BTreeSet, HashMap, HashSet};

use metricsd_model::Millis;
use metricsd_store::column::Column;
use metricsd_store::compact::{Bucket, Segment};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::encode::{COPY_CONSTANTS, Stream};
use crate::binary::{required, required_array};
use crate::copy::{bound, micros};
use crate::error::{Fault, damaged};

/// Series of a row, roughly: what a row takes beside them then hardly counts.
const SERIES_A_ROW: usize = 64;

/// Series of a row, at most: whoever wants one of them has all looked through.
const MAX_SERIES_A_ROW: usize = 256;

/// Bits of a key, at most.
const MAX_BITS: u32 = 20;

/// One value for every timestamp of a timeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Constant {
    pub(super) series: i64,
    pub(super) level: f64,
    pub(super) origin: i32,
    pub(super) timeline: i64,
}

/// Bits of the keys of so many series.
pub(super) fn bits_for(series: usize) -> u32 {
    (series / SERIES_A_ROW).checked_ilog2().unwrap_or(0).min(MAX_BITS)
}

/// The first bits of an id behind a 1, as `metricsd_constant_key` has it.
pub(super) fn key_of(series: i64, bits: u32) -> i32 {
    let prefix = series.cast_unsigned().checked_shr(64 - bits).unwrap_or(0);
    (1 << bits) | prefix as i32
}

fn bits_of(key: i32) -> u32 {
    key.checked_ilog2().unwrap_or(0)
}

/// Writes them into rows of the hour, by these keys.
pub(super) async fn write(
    tx: &mut PgConnection,
    hour: Millis,
    mut all: Vec<(i32, Constant)>,
) -> Result<(), Fault> {
    if all.is_empty() {
        return Ok(());
    }
    let micros = micros(hour).ok_or_else(|| damaged("a segment begins out of bounds"))?;
    all.sort_unstable_by_key(|(key, constant)| (*key, constant.series));
    let bits: BTreeSet<u32> = all.iter().map(|(key, _)| bits_of(*key)).collect();
    let mut stream = Stream::begin(tx, COPY_CONSTANTS).await?;
    for of_key in all.chunk_by(|(a, _), (b, _)| a == b) {
        for row in of_key.chunks(MAX_SERIES_A_ROW) {
            stream.rows.constants(micros, row[0].0, row.iter().map(|(_, constant)| constant));
        }
        stream.send_large().await?;
    }
    stream.finish().await?;
    sqlx::query(include_str!("../sql/move_constants.sql")).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO segments_constant_bits (bits) SELECT unnest($1::int2[]) ON CONFLICT DO NOTHING")
        .bind(bits.into_iter().map(|bits| bits as i16).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Keys of rows that are written anew.
#[derive(Debug, Default)]
struct Keys {
    keys: HashSet<i32>,
    bits: BTreeSet<u32>,
}

impl Keys {
    fn add(&mut self, key: i32) {
        self.keys.insert(key);
        self.bits.insert(bits_of(key));
    }

    /// The one with the most bits that is a series'.
    fn of(&self, series: i64) -> Option<i32> {
        self.bits.iter().rev().map(|bits| key_of(series, *bits)).find(|key| self.keys.contains(key))
    }
}

/// Rows of an hour in which wanted series stand.
#[derive(Debug, Default)]
pub(super) struct Opened {
    hour: Millis,
    /// Their keys and the first series of each.
    rows: (Vec<i32>, Vec<i64>),
    keys: Keys,
    held: HashMap<i64, Constant>,
    timelines: HashMap<i64, Vec<i32>>,
}

/// Reads the rows of an hour in which these series stand, to be taken out and written anew.
pub(super) async fn open(tx: &mut PgConnection, hour: Millis, series: Vec<i64>) -> Result<Opened, Fault> {
    let mut opened = Opened::none(hour);
    let query = sqlx::query(include_str!("../sql/hour_constants.sql"));
    let rows = query.bind(&series).bind(bound(hour)).fetch_all(&mut *tx).await?;
    if rows.is_empty() {
        return Ok(opened);
    }
    let wanted: HashSet<i64> = series.into_iter().collect();
    let mut met = HashSet::new();
    for row in &rows {
        let (key, constants) = (i32::from_be_bytes(required(row, 0)?), of_row(row)?);
        let first = constants.first().ok_or_else(|| damaged("a row of series without any"))?;
        opened.rows.0.push(key);
        opened.rows.1.push(first.series);
        opened.keys.add(key);
        met.extend(
            constants.iter().filter(|constant| wanted.contains(&constant.series)).map(|one| one.timeline),
        );
        opened.held.extend(constants.into_iter().map(|constant| (constant.series, constant)));
    }
    let met: Vec<i64> = met.into_iter().collect();
    for row in sqlx::query(include_str!("../sql/timelines.sql")).bind(met).fetch_all(tx).await? {
        let offsets = required_array::<4>(&row, 1)?.iter().map(i32::from_be_bytes).collect();
        opened.timelines.insert(i64::from_be_bytes(required(&row, 0)?), offsets);
    }
    Ok(opened)
}

/// What stands in a row of key, series, levels, origins and timelines.
pub(super) fn of_row(row: &PgRow) -> Result<Vec<Constant>, Fault> {
    let (ids, levels) = (required_array::<8>(row, 1)?, required_array::<8>(row, 2)?);
    let (origins, timelines) = (required_array::<4>(row, 3)?, required_array::<8>(row, 4)?);
    if [levels.len(), origins.len(), timelines.len()] != [ids.len(); 3] {
        return Err(damaged("a row of series has not one value a series"));
    }
    let parts = ids.iter().zip(levels.iter()).zip(origins.iter().zip(timelines.iter()));
    let constant = |((series, level), (origin, timeline)): ((_, _), (_, _))| Constant {
        series: i64::from_be_bytes(series),
        level: f64::from_be_bytes(level),
        origin: i32::from_be_bytes(origin),
        timeline: i64::from_be_bytes(timeline),
    };
    Ok(parts.map(constant).collect())
}

impl Opened {
    /// No row of an hour.
    pub(super) fn none(hour: Millis) -> Self {
        Self { hour, ..Self::default() }
    }

    /// Takes a series out.
    pub(super) fn take(&mut self, series: i64) -> Option<Constant> {
        self.held.remove(&series)
    }

    /// The samples of one that was asked for.
    pub(super) fn segment(&self, constant: Constant) -> Result<Segment<i32>, Fault> {
        let offsets = self.timelines.get(&constant.timeline);
        let offsets = offsets.ok_or_else(|| damaged("the timestamps of a segment are missing"))?;
        let mut column = Column::default();
        column.reserve(offsets.len());
        for offset in offsets {
            column.push(self.hour + i64::from(*offset), 0, constant.level, None);
        }
        Ok(Segment { bucket: Bucket::Hour(self.hour), origin: constant.origin, column })
    }

    /// What nobody took.
    pub(super) fn rest(&self) -> impl Iterator<Item = Constant> {
        self.held.values().copied()
    }

    /// With the keys that they are to be written by: those of the rows that were opened, so that these do not fall apart, and
    /// for what fits none of them keys of rows of some dozens.
    pub(super) fn place(&self, all: Vec<Constant>) -> Vec<(i32, Constant)> {
        let strangers = all.iter().filter(|constant| self.keys.of(constant.series).is_none()).count();
        let bits = bits_for(strangers);
        let key = |constant: &Constant| {
            self.keys.of(constant.series).unwrap_or_else(|| key_of(constant.series, bits))
        };
        all.into_iter().map(|constant| (key(&constant), constant)).collect()
    }

    /// Removes the rows.
    pub(super) async fn remove(&self, tx: &mut PgConnection) -> Result<(), Fault> {
        let (keys, firsts) = &self.rows;
        if !keys.is_empty() {
            let query = sqlx::query(include_str!("../sql/take_constants.sql"));
            query.bind(keys).bind(firsts).bind(bound(self.hour)).execute(tx).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_first_bits_behind_a_one() {
        assert_eq!(key_of(-1, 0), 1);
        assert_eq!(key_of(-1, 3), 0b1111);
        assert_eq!(key_of(i64::MIN, 3), 0b1100);
        assert_eq!(key_of(i64::MAX, 20), (1 << 20) | 0x7_ffff);
    }

    #[test]
    fn rows_hold_some_dozens() {
        assert_eq!((bits_for(1), bits_for(64), bits_for(127), bits_for(128)), (0, 0, 0, 1));
        assert_eq!(bits_for(9_000), 7);
        assert_eq!(bits_for(usize::MAX), MAX_BITS);
    }
}
