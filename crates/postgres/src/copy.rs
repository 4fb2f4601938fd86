//! PostgreSQL's binary `COPY` format, as far as `series_rows` needs it.

use chrono::{DateTime, Utc};

use crate::error::{Fault, damaged};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for time in [0, -1, 1_750_500_000_123, MIN_MILLIS, MAX_MILLIS] {
            assert_eq!(micros(time).map(millis), Some(time));
        }
        assert_eq!(micros(EPOCH_MILLIS), Some(0));
        assert_eq!(micros(i64::MAX), None);
        assert_eq!(micros(i64::MIN), None);
    }
}
