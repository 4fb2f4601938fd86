//! Reads the segments that series have of an hour, or of a whole day.

use std::collections::HashMap;

use futures::TryStreamExt;
use metricsd_codec::pack::{unpack_floats, unpack_histograms, unpack_ints};
use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis};
use metricsd_store::column::Column;
use metricsd_store::compact::{Bucket, Segment, day_of};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use crate::binary::{bytes, required, required_array};
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};
use crate::values::Values;

/// What a series has.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) segments: Vec<Segment<i32>>,
    /// Whether that of the day is packed.
    pub(super) packed: bool,
}

/// Segments of these series from `start` until `end`, and those of the day, by series.
pub(super) async fn stored(
    tx: &mut PgConnection,
    start: Millis,
    end: Millis,
    series: Vec<i64>,
) -> Result<HashMap<i64, Stored>, Fault> {
    let mut found: HashMap<i64, Stored> = HashMap::new();
    let mut rows = sqlx::query(include_str!("../sql/hour_segments.sql"))
        .bind(&series)
        .bind(bound(start))
        .bind(bound(end))
        .fetch(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        let (series, segment) = segment(&row, Bucket::Hour)?;
        found.entry(series).or_default().segments.push(segment);
    }
    drop(rows);
    let day = bound(day_of(start));
    let mut rows = sqlx::query(include_str!("../sql/day_segments.sql")).bind(series).bind(day).fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let (series, segment) = segment(&row, Bucket::Day)?;
        let of_series = found.entry(series).or_default();
        of_series.segments.push(segment);
        of_series.packed = bytes(&row, 6)?.is_some();
    }
    Ok(found)
}

/// Reads the columns time, series, origin, offsets, values, histograms, packed, and what [`Values`] reads.
pub(crate) fn segment(row: &PgRow, bucket: fn(Millis) -> Bucket) -> Result<(i64, Segment<i32>), Fault> {
    let start = millis(i64::from_be_bytes(required(row, 0)?));
    let mut column = Column::default();
    let (offsets, values) = match bytes(row, 6)? {
        Some(packed) => unpack(packed)?,
        None => {
            let offsets: Vec<i32> = required_array::<4>(row, 3)?.iter().map(i32::from_be_bytes).collect();
            let mut values = Vec::with_capacity(offsets.len());
            Values::of(row, 4, 7)?.read(0, offsets.len(), &mut values)?;
            (offsets, values)
        }
    };
    if offsets.len() != values.len() {
        return Err(damaged("a segment has not one value a timestamp"));
    }
    let packed = bytes(row, 5)?.map(unpack_histograms).transpose();
    let packed = packed.map_err(|error| damaged("damaged histograms in the database").caused_by(error))?;
    let mut histograms = packed.unwrap_or_default().into_iter();
    column.reserve(values.len());
    for (offset, value) in offsets.into_iter().zip(values) {
        let histogram = match value.to_bits() {
            HISTOGRAM_MARKER_BITS => {
                let next = histograms.next().ok_or_else(|| damaged("a segment lacks a histogram"))?;
                Some(next.1)
            }
            _ => None,
        };
        column.push(start + i64::from(offset), 0, value, histogram);
    }
    let series = i64::from_be_bytes(required(row, 1)?);
    let origin = i32::from_be_bytes(required(row, 2)?);
    Ok((series, Segment { bucket: bucket(start), origin, column }))
}

/// Offsets and values of a packed day: the length of the first, both packed.
pub(crate) fn unpack(packed: &[u8]) -> Result<(Vec<i32>, Vec<f64>), Fault> {
    let parts = || {
        let (length, rest) = packed.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    };
    let (offsets, values) = parts().ok_or_else(|| damaged("a packed segment is cut short"))?;
    let damage = |error| damaged("damaged packed segment in the database").caused_by(error);
    Ok((unpack_ints(offsets).map_err(damage)?, unpack_floats(values).map_err(damage)?))
}
