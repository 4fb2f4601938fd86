//! Rows of segments in PostgreSQL's binary `COPY` format.

use metricsd_codec::pack::{pack_histograms, pack_ints, pack_series};
use metricsd_store::column::Column;
use metricsd_store::compact::{Bucket, Low, Shape};

use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;

use super::constants::Constant;
use crate::copy::micros;
use crate::error::{Fault, damaged};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const NULL: i32 = -1;
const OID_CHAR: u32 = 18;
const OID_INT2: u32 = 21;
const OID_INT4: u32 = 23;
const OID_INT8: u32 = 20;
const OID_FLOAT8: u32 = 701;

/// Opens the stream of [`Encoder::segment`].
pub(super) const COPY_SEGMENTS: &str = "COPY staged_segments (time, series, timeline, origin, offsets, \"values\", \
     histograms, daily, samples, packed, level, slope, scale, low1, low2, low4, high) FROM STDIN (FORMAT binary)";

/// Opens the stream of [`Encoder::timeline`].
pub(super) const COPY_TIMELINES: &str = "COPY staged_timelines (id, offsets) FROM STDIN (FORMAT binary)";

/// Opens the stream of [`Encoder::constants`].
pub(super) const COPY_CONSTANTS: &str =
    "COPY staged_constants (time, key, series, level, origins, timelines) FROM STDIN (FORMAT binary)";

/// One row of a segment.
pub(super) struct SegmentRow<'a> {
    pub(super) bucket: Bucket,
    pub(super) series: i64,
    pub(super) timeline: Option<i64>,
    pub(super) origin: i32,
    pub(super) offsets: &'a [i32],
    pub(super) column: &'a Column,
    pub(super) packed: bool,
}

/// Bytes of encoded rows that are sent at a time.
const SEND_BYTES: usize = 1 << 20;

/// Rows on their way to the server.
pub(super) struct Stream<'c> {
    copy: PgCopyIn<&'c mut PgConnection>,
    /// What is encoded and not yet sent.
    pub(super) rows: Encoder,
}

impl<'c> Stream<'c> {
    /// Opens the stream of a `COPY`.
    pub(super) async fn begin(tx: &'c mut PgConnection, statement: &'static str) -> Result<Self, Fault> {
        let copy = tx.copy_in_raw(statement).await?;
        Ok(Self { copy, rows: Encoder::new(SEND_BYTES + SEND_BYTES / 4) })
    }

    /// Sends what is encoded once it is large; to be called after each row.
    pub(super) async fn send_large(&mut self) -> Result<(), Fault> {
        if self.rows.bytes().len() >= SEND_BYTES {
            self.copy.send(self.rows.bytes()).await?;
            self.rows.clear();
        }
        Ok(())
    }

    /// Sends the rest, and waits until all of it is taken in.
    pub(super) async fn finish(mut self) -> Result<(), Fault> {
        self.rows.end();
        self.copy.send(self.rows.bytes()).await?;
        self.copy.finish().await?;
        Ok(())
    }
}

/// Encodes rows into a buffer that [`Stream`] sends and empties.
pub(super) struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// A stream that has begun.
    fn new(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(SIGNATURE);
        buffer.extend_from_slice(&[0; 8]); // no flags, no header extension
        Self { buffer }
    }

    pub(super) fn segment(&mut self, row: &SegmentRow<'_>) -> Result<(), Fault> {
        let start = micros(row.bucket.start()).ok_or_else(|| damaged("a segment begins out of bounds"))?;
        let column = row.column;
        let shape = if row.packed { Shape::Floats } else { Shape::of(&column.values) };
        self.buffer.extend_from_slice(&17i16.to_be_bytes());
        self.field(&start.to_be_bytes());
        self.field(&row.series.to_be_bytes());
        match row.timeline {
            Some(timeline) if !row.packed => self.field(&timeline.to_be_bytes()),
            _ => self.null(),
        }
        self.field(&row.origin.to_be_bytes());
        match row.timeline.is_none() && !row.packed {
            true => self.array(OID_INT4, row.offsets.iter().map(|offset| offset.to_be_bytes())),
            false => self.null(),
        }
        match row.packed || shape != Shape::Floats {
            true => self.null(),
            false => self.array(OID_FLOAT8, column.values.iter().map(|value| value.to_be_bytes())),
        }
        match column.histograms.is_empty() {
            true => self.null(),
            false => {
                let histograms = column.histograms.iter();
                let places: Vec<_> =
                    histograms.map(|(at, histogram)| (*at as u32, histogram.clone())).collect();
                self.field(&pack_histograms(&places));
            }
        }
        self.field(&[u8::from(matches!(row.bucket, Bucket::Day(_)))]);
        self.field(&(column.values.len() as i32).to_be_bytes());
        match row.packed {
            true => self.field(&pack(row.offsets, &column.values)),
            false => self.null(),
        }
        self.shape(&shape);
        Ok(())
    }

    /// Base, slope, scale, low1, low2, low4, high.
    fn shape(&mut self, shape: &Shape) {
        let whole = match shape {
            Shape::Floats => return (0..7).for_each(|_| self.null()),
            Shape::Constant(value) => {
                self.field(&value.to_be_bytes());
                return (0..6).for_each(|_| self.null());
            }
            Shape::Whole(whole) => whole,
        };
        for number in [whole.line.base, whole.line.slope, whole.line.scale] {
            self.field(&number.to_be_bytes());
        }
        match &whole.low {
            Low::One(numbers) => {
                self.array(OID_CHAR, numbers.iter().map(|number| number.to_be_bytes()));
                self.null();
                self.null();
            }
            Low::Two(numbers) => {
                self.null();
                self.array(OID_INT2, numbers.iter().map(|number| number.to_be_bytes()));
                self.null();
            }
            Low::Four(numbers) => {
                self.null();
                self.null();
                self.array(OID_INT4, numbers.iter().map(|number| number.to_be_bytes()));
            }
        }
        match &whole.high {
            Some(numbers) => self.array(OID_CHAR, numbers.iter().map(|number| number.to_be_bytes())),
            None => self.null(),
        }
    }

    pub(super) fn timeline(&mut self, id: i64, offsets: &[i32]) {
        self.buffer.extend_from_slice(&2i16.to_be_bytes());
        self.field(&id.to_be_bytes());
        self.array(OID_INT4, offsets.iter().map(|offset| offset.to_be_bytes()));
    }

    pub(super) fn constants<'c>(
        &mut self,
        micros: i64,
        key: i32,
        row: impl ExactSizeIterator<Item = &'c Constant> + Clone,
    ) {
        self.buffer.extend_from_slice(&6i16.to_be_bytes());
        self.field(&micros.to_be_bytes());
        self.field(&key.to_be_bytes());
        self.array(OID_INT8, row.clone().map(|constant| constant.series.to_be_bytes()));
        self.array(OID_FLOAT8, row.clone().map(|constant| constant.level.to_be_bytes()));
        self.array(OID_INT4, row.clone().map(|constant| constant.origin.to_be_bytes()));
        self.array(OID_INT8, row.map(|constant| constant.timeline.to_be_bytes()));
    }

    /// Ends the stream.
    fn end(&mut self) {
        self.buffer.extend_from_slice(&(-1i16).to_be_bytes());
    }

    /// What is encoded and not yet cleared.
    fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets what was sent; the allocation stays.
    fn clear(&mut self) {
        self.buffer.clear();
    }

    fn null(&mut self) {
        self.buffer.extend_from_slice(&NULL.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    /// One dimension, no nulls: a header of 20 bytes, then length and bits of each element.
    fn array<const N: usize>(&mut self, oid: u32, items: impl ExactSizeIterator<Item = [u8; N]>) {
        let count = items.len();
        self.buffer.extend_from_slice(&((20 + count * (4 + N)) as i32).to_be_bytes());
        for header in [1u32, 0, oid, count as u32, 1] {
            self.buffer.extend_from_slice(&header.to_be_bytes());
        }
        let width = (N as i32).to_be_bytes();
        for item in items {
            self.buffer.extend_from_slice(&width);
            self.buffer.extend_from_slice(&item);
        }
    }
}

/// Offsets and values in one; read back by `stored::unpack`.
fn pack(offsets: &[i32], values: &[f64]) -> Vec<u8> {
    let offsets = pack_ints(offsets);
    let mut packed = (offsets.len() as u32).to_le_bytes().to_vec();
    packed.extend_from_slice(&offsets);
    packed.extend_from_slice(&pack_series(values));
    packed
}
