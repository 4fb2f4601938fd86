//! Rows of segments: their columns, and the timelines that they share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metricsd_codec::pack::{PackError, pack_series, unpack_floats, unpack_histograms, unpack_ints};
use metricsd_model::Millis;
use metricsd_ports::PortError;
use metricsd_store::column::Column;
use metricsd_store::compact::Bucket;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, TypeInfo, ValueRef};

use crate::SqliteStore;
use crate::error::{Fault, damaged};

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// `segments`.
    Hourly,
    /// `segments_daily`.
    Daily,
}

impl Table {
    pub(crate) const ALL: [Self; 2] = [Self::Hourly, Self::Daily];

    /// Where a bucket's segments are.
    pub(crate) fn of(bucket: Bucket) -> Self {
        match bucket {
            Bucket::Hour(_) => Self::Hourly,
            Bucket::Day(_) => Self::Daily,
        }
    }

    /// The bucket that begins at a time.
    pub(crate) fn bucket(self, time: Millis) -> Bucket {
        match self {
            Self::Hourly => Bucket::Hour(time),
            Self::Daily => Bucket::Day(time),
        }
    }

    /// As `spans` says it.
    pub(crate) fn is_daily(self) -> bool {
        self == Self::Daily
    }
}

/// The text of a statement with the name of a table in its middle.
macro_rules! by_table {
    ($table:expr, $before:literal, $after:literal) => {
        match $table {
            $crate::segments::Table::Hourly => concat!($before, "segments", $after),
            $crate::segments::Table::Daily => concat!($before, "segments_daily", $after),
        }
    };
}

pub(crate) use by_table;

/// What begins of spans are counted in: a twelfth of an hour, the shortest there is.
const SLOT: Millis = 300_000;

/// How tables name the beginning of a span.
pub(crate) fn slot_of(time: Millis) -> i64 {
    time.div_euclid(SLOT)
}

/// The first slot that does not begin before a time.
pub(crate) fn first_slot(time: Millis) -> i64 {
    slot_of(time.saturating_add(SLOT - 1))
}

/// When a slot begins.
pub(crate) fn time_of(slot: i64) -> Millis {
    slot.saturating_mul(SLOT)
}

/// Segments of the series `?2` in the slots `?1`, by seeking each.
pub(crate) const fn narrow(table: Table) -> &'static str {
    by_table!(
        table,
        "WITH series (id) AS MATERIALIZED (SELECT value FROM json_each(?2))
        SELECT s.slot, s.series, s.origin, s.times, s.\"values\", s.histograms
        FROM json_each(?1) AS slots CROSS JOIN series CROSS JOIN ",
        " s ON s.slot = slots.value AND s.series = series.id"
    )
}

/// When the spans begin that hold segments, within two times, both inclusive: one look into the table for each.
pub(crate) async fn distinct_times(
    tx: &mut SqliteConnection,
    table: Table,
    (first, last): (Millis, Millis),
) -> Result<Vec<Millis>, Fault> {
    let query = match table {
        Table::Hourly => times!("segments"),
        Table::Daily => times!("segments_daily"),
    };
    let rows = sqlx::query(query).bind(first_slot(first)).bind(slot_of(last)).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(time_of(row.try_get(0)?))).collect()
}

macro_rules! times {
    ($table:literal) => {
        concat!(
            "WITH RECURSIVE times (t) AS (
                SELECT min(slot) FROM ",
            $table,
            " WHERE slot >= ?1 AND slot <= ?2
                UNION ALL
                SELECT (SELECT min(slot) FROM ",
            $table,
            " WHERE slot > times.t AND slot <= ?2) FROM times
                WHERE times.t IS NOT NULL
            )
            SELECT t FROM times WHERE t IS NOT NULL"
        )
    };
}

use times;

/// Lists of offsets by the beginning of their span and their id.
pub(crate) type Timelines = HashMap<(Millis, i64), Arc<[i32]>>;

/// A segment as it was read: still packed.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) bucket: Bucket,
    pub(crate) series: i64,
    pub(crate) origin: i64,
    times: Times,
    values: Values,
    histograms: Option<Vec<u8>>,
}

/// Timestamps of a segment.
#[derive(Debug)]
pub(crate) enum Times {
    /// Those of a timeline of its span.
    Shared(i64),
    /// Packed offsets of its own.
    Own(Vec<u8>),
}

/// Values of a segment.
#[derive(Debug)]
pub(crate) enum Values {
    /// All are this one, which SQLite keeps bit for bit in fewer bytes than a blob takes.
    Whole(i64),
    /// Packed.
    Packed(Vec<u8>),
}

/// Whole numbers up to this are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Values {
    pub(crate) fn of(values: &[f64]) -> Self {
        if let Some((first, rest)) = values.split_first() {
            let whole = *first as i64;
            let is_whole = first.abs() <= EXACT && (whole as f64).to_bits() == first.to_bits();
            if is_whole && rest.iter().all(|value| value.to_bits() == first.to_bits()) {
                return Self::Whole(whole);
            }
        }
        Self::Packed(pack_series(values))
    }

    /// Bytes that they take, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Whole(_) => size_of::<i64>(),
            Self::Packed(blob) => blob.len(),
        }
    }

    /// One for each of `count` timestamps.
    fn unpack(&self, count: usize) -> Result<Vec<f64>, PortError> {
        let values = match self {
            Self::Whole(value) => vec![*value as f64; count],
            Self::Packed(blob) => read(unpack_floats(blob))?,
        };
        if values.len() != count {
            return Err(damaged("a segment has not one value a timestamp"));
        }
        Ok(values)
    }
}

/// Whether a column of a row holds a number.
fn is_number(row: &SqliteRow, column: usize) -> Result<bool, Fault> {
    Ok(row.try_get_raw(column)?.type_info().name() == "INTEGER")
}

impl Stored {
    /// Reads a row of slot, series, origin, times, values, histograms.
    pub(crate) fn of(row: &SqliteRow, table: Table) -> Result<Self, Fault> {
        Ok(Self {
            bucket: table.bucket(time_of(row.try_get(0)?)),
            series: row.try_get(1)?,
            origin: row.try_get(2)?,
            times: match is_number(row, 3)? {
                true => Times::Shared(row.try_get(3)?),
                false => Times::Own(row.try_get(3)?),
            },
            values: match is_number(row, 4)? {
                true => Values::Whole(row.try_get(4)?),
                false => Values::Packed(row.try_get(4)?),
            },
            histograms: row.try_get(5)?,
        })
    }

    /// Its samples between two times, both inclusive; `None` where there are none, and then values stay packed.
    pub(crate) fn unpack(
        &self,
        timelines: &Timelines,
        (start, end): (Millis, Millis),
    ) -> Result<Option<Column>, PortError> {
        let start_of_span = self.bucket.start();
        let own;
        let offsets: &[i32] = match &self.times {
            Times::Shared(id) => {
                timelines.get(&(start_of_span, *id)).ok_or_else(|| damaged("a timeline is missing"))?
            }
            Times::Own(packed) => {
                own = read(unpack_ints(packed))?;
                &own
            }
        };
        // Bounds as offsets, far within what an addition holds.
        let (start, end) = (start.saturating_sub(start_of_span), end.saturating_sub(start_of_span));
        let first = offsets.partition_point(|offset| i64::from(*offset) < start);
        let last = offsets.partition_point(|offset| i64::from(*offset) <= end);
        if first >= last {
            return Ok(None);
        }
        let mut values = self.values.unpack(offsets.len())?;
        values.truncate(last);
        values.drain(..first);
        let mut histograms = Vec::new();
        if let Some(packed) = &self.histograms {
            for (place, histogram) in read(unpack_histograms(packed))? {
                if (first..last).contains(&(place as usize)) {
                    histograms.push((place as usize - first, histogram));
                }
            }
        }
        let timestamps = self.bucket.timestamps(offsets.get(first..last).unwrap_or_default());
        Ok(Some(Column { orders: vec![0; timestamps.len()], timestamps, values, histograms }))
    }
}

/// What a packed column of a segment holds.
pub(crate) fn read<T>(column: Result<T, PackError>) -> Result<T, PortError> {
    column.map_err(|error| damaged("damaged segment in the database").caused_by(error))
}

const TIMELINES: &str = "SELECT t.time, t.id, t.offsets
    FROM json_each(?1) AS wanted
    CROSS JOIN timelines t
        ON t.time = json_extract(wanted.value, '$[0]') AND t.id = json_extract(wanted.value, '$[1]')";

/// The timelines of these segments. A span's list never changes while its segments are there.
pub(crate) async fn timelines_of(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    segments: &[Stored],
) -> Result<Timelines, Fault> {
    let shared = |segment: &Stored| match segment.times {
        Times::Shared(id) => Some((segment.bucket.start(), id)),
        Times::Own(_) => None,
    };
    let keys: BTreeSet<(Millis, i64)> = segments.iter().filter_map(shared).collect();
    let mut found = Timelines::with_capacity(keys.len());
    let mut unread = Vec::new();
    {
        let mut remembered = store.timelines.lock();
        for key in keys {
            match remembered.get(key) {
                Some(list) => drop(found.insert(key, list)),
                None => unread.push(key),
            }
        }
    }
    if unread.is_empty() {
        return Ok(found);
    }
    let list: Vec<String> = unread.iter().map(|(time, id)| format!("[{time},{id}]")).collect();
    for row in sqlx::query(TIMELINES).bind(format!("[{}]", list.join(","))).fetch_all(tx).await? {
        let key = (row.try_get(0)?, row.try_get(1)?);
        let offsets: Arc<[i32]> = read(unpack_ints(row.try_get(2)?))?.into();
        store.timelines.lock().insert(key, Arc::clone(&offsets), offsets.len() + 16);
        found.insert(key, offsets);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use metricsd_model::{HISTOGRAM_MARKER_BITS, STALE_NAN_BITS};
    use metricsd_store::compact::HOUR;

    use super::*;

    #[test]
    fn values_come_back_bit_for_bit() {
        let odd = [f64::from_bits(STALE_NAN_BITS), f64::from_bits(HISTOGRAM_MARKER_BITS), -0.0, 0.5, 1e300];
        for (value, whole) in odd.into_iter().map(|value| (value, false)).chain([
            (0.0, true),
            (-3.0, true),
            (EXACT, true),
            (2.0 * EXACT, false),
            (f64::INFINITY, false),
        ]) {
            for count in [1, 2, 240] {
                let packed = Values::of(&vec![value; count]);
                assert_eq!(matches!(packed, Values::Whole(_)), whole, "{value}");
                let back = packed.unpack(count).unwrap();
                assert!(back.len() == count && back.iter().all(|one| one.to_bits() == value.to_bits()));
            }
        }
        assert!(matches!(Values::of(&[1.0, 1.0, 2.0]), Values::Packed(_)));
        assert!(Values::of(&[1.0, 2.0]).unpack(3).is_err());
    }

    #[test]
    fn spans_begin_with_slots() {
        for time in [-7 * HOUR, -HOUR / 12, 0, HOUR / 12, 486_250 * HOUR] {
            assert_eq!((time_of(slot_of(time)), first_slot(time)), (time, slot_of(time)));
            assert_eq!((slot_of(time + 1), first_slot(time + 1)), (slot_of(time), slot_of(time) + 1));
        }
        assert!(first_slot(i64::MIN) < 0 && first_slot(i64::MAX) > 0);
    }
}
