//! PostgreSQL's binary `COPY` format, as far as `frames` and `series` need it.
//!
//! Numbers travel as their bits, so the NaN that is a staleness marker arrives as it left.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Fault, damaged};

/// Opens the stream that [`BinaryRows`] makes.
pub(crate) const COPY_FRAMES: &str = "COPY frames (time, target_id, source, batch_id, part, layout, series_ids, \
     \"values\", offsets, histograms, seq) FROM STDIN (FORMAT binary)";

const FIELDS: i16 = 11;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const NULL: i32 = -1;

/// Object ids of element types; fixed in every PostgreSQL.
const OID_INT8: u32 = 20;
const OID_INT4: u32 = 23;
const OID_FLOAT8: u32 = 701;

/// Milliseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// First and last millisecond that is stored: within the bounds of TimescaleDB and of our calendar.
const MIN_MILLIS: i64 = -210_866_716_800_000;
const MAX_MILLIS: i64 = 8_210_000_000_000_000;

/// A timestamp as PostgreSQL sends it: microseconds since 2000. `None` outside of what is stored.
pub(crate) fn micros(millis: i64) -> Option<i64> {
    (MIN_MILLIS..=MAX_MILLIS).contains(&millis).then(|| (millis - EPOCH_MILLIS) * 1_000)
}

/// [`micros`] the other way.
pub(crate) fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000) + EPOCH_MILLIS
}

/// A bound on times that the database can hold: callers may ask from the beginning of time to its end.
pub(crate) fn bound(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis.clamp(MIN_MILLIS, MAX_MILLIS)).unwrap_or_default()
}

/// Which series a frame's values belong to.
#[derive(Debug, Clone)]
pub(crate) enum Columns {
    /// Those of a stored layout.
    Shared(i64),
    /// Those that travel in the frame.
    Inline(std::sync::Arc<[i64]>),
}

impl Columns {
    /// The ids of a layout that is not shared.
    pub(crate) fn ids(&self) -> Result<Vec<i64>, Fault> {
        match self {
            Self::Inline(ids) => Ok(ids.to_vec()),
            Self::Shared(_) => Err(damaged("the ids of a shared layout were asked for")),
        }
    }
}

/// One row of `frames`.
pub(crate) struct FrameRow<'a> {
    pub(crate) micros: i64,
    pub(crate) target_id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) batch_id: Uuid,
    pub(crate) part: i16,
    pub(crate) columns: &'a Columns,
    pub(crate) values: &'a [f64],
    pub(crate) offsets: Option<&'a [i32]>,
    pub(crate) histograms: Option<Vec<u8>>,
    pub(crate) seq: i64,
}

/// Encodes rows into a buffer that the caller sends and empties.
pub(crate) struct BinaryRows {
    buffer: Vec<u8>,
}

impl BinaryRows {
    /// A stream that has begun.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(SIGNATURE);
        buffer.extend_from_slice(&[0; 8]); // no flags, no header extension
        Self { buffer }
    }

    /// Begins a row of so many fields.
    pub(crate) fn begin(&mut self, fields: i16) {
        self.buffer.extend_from_slice(&fields.to_be_bytes());
    }

    /// Adds a row of `frames`.
    pub(crate) fn frame(&mut self, row: &FrameRow<'_>) {
        self.begin(FIELDS);
        self.field(&row.micros.to_be_bytes());
        self.field(row.target_id.as_bytes());
        self.field(row.source.as_bytes());
        self.field(row.batch_id.as_bytes());
        self.field(&row.part.to_be_bytes());
        match row.columns {
            Columns::Shared(layout) => {
                self.field(&layout.to_be_bytes());
                self.null();
            }
            Columns::Inline(ids) => {
                self.null();
                self.array(OID_INT8, ids.iter().map(|id| id.to_be_bytes()));
            }
        }
        self.array(OID_FLOAT8, row.values.iter().map(|value| value.to_bits().to_be_bytes()));
        match row.offsets {
            Some(offsets) => self.array(OID_INT4, offsets.iter().map(|offset| offset.to_be_bytes())),
            None => self.null(),
        }
        match &row.histograms {
            Some(packed) => self.field(packed),
            None => self.null(),
        }
        self.field(&row.seq.to_be_bytes());
    }

    /// Ends the stream.
    pub(crate) fn end(&mut self) {
        self.buffer.extend_from_slice(&(-1i16).to_be_bytes());
    }

    /// What is encoded and not yet cleared.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets what was sent; the allocation stays.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Adds a field without a value.
    pub(crate) fn null(&mut self) {
        self.buffer.extend_from_slice(&NULL.to_be_bytes());
    }

    /// Adds a field of these bytes.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds a field of JSON: a version goes before the text.
    pub(crate) fn jsonb(&mut self, json: &str) {
        self.buffer.extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
        self.buffer.push(1);
        self.buffer.extend_from_slice(json.as_bytes());
    }

    /// One dimension, no nulls: a header of 20 bytes, then length and bits of each element.
    fn array<const N: usize>(&mut self, oid: u32, items: impl ExactSizeIterator<Item = [u8; N]>) {
        let count = items.len();
        let body = count * (4 + N);
        self.buffer.extend_from_slice(&((20 + body) as i32).to_be_bytes());
        for header in [1u32, 0, oid, count as u32, 1] {
            self.buffer.extend_from_slice(&header.to_be_bytes());
        }
        let start = self.buffer.len();
        self.buffer.resize(start + body, 0);
        let width = (N as i32).to_be_bytes();
        for (slot, item) in self.buffer[start..].chunks_exact_mut(4 + N).zip(items) {
            slot[..4].copy_from_slice(&width);
            slot[4..].copy_from_slice(&item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::Array;

    #[test]
    fn times_go_there_and_back() {
        for time in [0, -1, 1_750_500_000_123, MIN_MILLIS, MAX_MILLIS] {
            assert_eq!(micros(time).map(millis), Some(time));
        }
        assert_eq!(micros(EPOCH_MILLIS), Some(0));
        assert_eq!(micros(i64::MAX), None);
        assert_eq!(micros(i64::MIN), None);
    }

    #[test]
    fn a_row_is_encoded_field_by_field() {
        let mut encoder = BinaryRows::new(64);
        assert_eq!(encoder.bytes().len(), 19);
        encoder.clear();
        let ids: std::sync::Arc<[i64]> = vec![-1, 7].into();
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        encoder.frame(&FrameRow {
            micros: 5,
            target_id: "t",
            source: "s",
            batch_id: Uuid::from_u128(1),
            part: 2,
            columns: &Columns::Inline(ids),
            values: &[1.5, stale],
            offsets: Some(&[0, 9]),
            histograms: None,
            seq: 3,
        });
        let fields = fields(encoder.bytes());
        assert_eq!(fields.len(), 11);
        assert_eq!(fields[0], Some(&5i64.to_be_bytes()[..]));
        assert_eq!(fields[1], Some(&b"t"[..]));
        assert_eq!(fields[4], Some(&2i16.to_be_bytes()[..]));
        assert_eq!(fields[5], None);
        let ids = Array::<8>::parse(fields[6].unwrap()).unwrap();
        assert_eq!(ids.iter().map(i64::from_be_bytes).collect::<Vec<_>>(), [-1, 7]);
        let values = Array::<8>::parse(fields[7].unwrap()).unwrap();
        assert_eq!(values.iter().nth(1).map(u64::from_be_bytes), Some(0x7ff0_0000_0000_0002));
        let offsets = Array::<4>::parse(fields[8].unwrap()).unwrap();
        assert_eq!(offsets.iter().map(i32::from_be_bytes).collect::<Vec<_>>(), [0, 9]);
        assert_eq!(fields[9], None);
        encoder.clear();
        encoder.end();
        assert_eq!(encoder.bytes(), [0xff, 0xff]);
    }

    fn fields(mut row: &[u8]) -> Vec<Option<&[u8]>> {
        let (count, rest) = row.split_first_chunk::<2>().unwrap();
        row = rest;
        let read = |_| {
            let (length, rest) = row.split_first_chunk::<4>().unwrap();
            let length = i32::from_be_bytes(*length);
            row = rest;
            let (field, rest) = row.split_at(length.max(0) as usize);
            row = rest;
            (length >= 0).then_some(field)
        };
        (0..i16::from_be_bytes(*count)).map(read).collect()
    }
}
