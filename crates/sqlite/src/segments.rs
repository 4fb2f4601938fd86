//! Rows of segments: their columns, and the timelines that they share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metricsd_codec::pack::{PackError, unpack_floats, unpack_histograms, unpack_ints};
use metricsd_model::Millis;
use metricsd_ports::PortError;
use metricsd_store::column::Column;
use metricsd_store::compact::Bucket;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

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

/// Segments of the series `?2` in the spans that begin at `?1`, by seeking each.
pub(crate) const fn narrow(table: Table) -> &'static str {
    by_table!(
        table,
        "WITH series (id) AS MATERIALIZED (SELECT value FROM json_each(?2))
        SELECT s.time, s.series, s.origin, s.timeline, s.offsets, s.\"values\", s.histograms
        FROM json_each(?1) AS times CROSS JOIN series CROSS JOIN ",
        " s ON s.time = times.value AND s.series = series.id"
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
    let rows = sqlx::query(query).bind(first).bind(last).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

macro_rules! times {
    ($table:literal) => {
        concat!(
            "WITH RECURSIVE times (t) AS (
                SELECT min(time) FROM ",
            $table,
            " WHERE time >= ?1 AND time <= ?2
                UNION ALL
                SELECT (SELECT min(time) FROM ",
            $table,
            " WHERE time > times.t AND time <= ?2) FROM times
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
    timeline: Option<i64>,
    offsets: Option<Vec<u8>>,
    values: Vec<u8>,
    histograms: Option<Vec<u8>>,
}

impl Stored {
    /// Reads a row of time, series, origin, timeline, offsets, values, histograms.
    pub(crate) fn of(row: &SqliteRow, table: Table) -> Result<Self, Fault> {
        Ok(Self {
            bucket: table.bucket(row.try_get(0)?),
            series: row.try_get(1)?,
            origin: row.try_get(2)?,
            timeline: row.try_get(3)?,
            offsets: row.try_get(4)?,
            values: row.try_get(5)?,
            histograms: row.try_get(6)?,
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
        let offsets: &[i32] = match (self.timeline, &self.offsets) {
            (Some(id), _) => {
                timelines.get(&(start_of_span, id)).ok_or_else(|| damaged("a timeline is missing"))?
            }
            (None, Some(packed)) => {
                own = read(unpack_ints(packed))?;
                &own
            }
            (None, None) => return Err(damaged("a segment without timestamps")),
        };
        // Bounds as offsets, far within what an addition holds.
        let (start, end) = (start.saturating_sub(start_of_span), end.saturating_sub(start_of_span));
        let first = offsets.partition_point(|offset| i64::from(*offset) < start);
        let last = offsets.partition_point(|offset| i64::from(*offset) <= end);
        if first >= last {
            return Ok(None);
        }
        let mut values = read(unpack_floats(&self.values))?;
        if values.len() != offsets.len() {
            return Err(damaged("a segment has not one value a timestamp"));
        }
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
    let keys: BTreeSet<(Millis, i64)> =
        segments.iter().filter_map(|segment| Some((segment.bucket.start(), segment.timeline?))).collect();
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
