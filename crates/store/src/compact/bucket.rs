//! Which span of time a segment covers.

use metricsd_model::Millis;

use crate::column::Column;

/// One hour in milliseconds.
pub const HOUR: Millis = 3_600_000;

/// One day in milliseconds.
pub const DAY: Millis = 24 * HOUR;

/// Series with at most so many samples an hour have segments of a day: a row of their own every hour would cost more
/// than what it holds.
pub const SPARSE: usize = 12;

/// Samples of an hour beyond which it is cut into parts, so that reading a few minutes does not unpack an hour of a
/// series with many samples a second.
const LARGE: usize = 8_192;

/// Into so many parts of equal time.
const PARTS: Millis = 12;

/// A span of time that one segment covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// The day that begins here; few samples.
    Day(Millis),
    /// The hour, or the part of an hour, that begins here.
    Hour(Millis),
}

impl Bucket {
    /// When it begins; offsets of timestamps count from here.
    pub const fn start(self) -> Millis {
        match self {
            Self::Day(start) | Self::Hour(start) => start,
        }
    }

    /// Timestamps of samples in it as they are stored. They lie within a day of the start, which an `i32` holds.
    pub fn offsets(self, timestamps: &[Millis]) -> Vec<i32> {
        timestamps.iter().map(|timestamp| timestamp.wrapping_sub(self.start()) as i32).collect()
    }

    /// Reads [`Self::offsets`] back.
    pub fn timestamps(self, offsets: &[i32]) -> Vec<Millis> {
        offsets.iter().map(|offset| self.start().saturating_add(i64::from(*offset))).collect()
    }
}

/// The beginning of the hour that a time lies in.
pub fn hour_of(time: Millis) -> Millis {
    time.saturating_sub(time.rem_euclid(HOUR))
}

/// The beginning of the day that a time lies in.
pub fn day_of(time: Millis) -> Millis {
    time.saturating_sub(time.rem_euclid(DAY))
}

/// Lays the samples of one series in one hour into segments. `dense` says that the series has segments of that hour
/// already, which then were read and are part of `column`.
pub fn place(hour: Millis, column: Column, dense: bool) -> Vec<(Bucket, Column)> {
    let samples = column.timestamps.len();
    if samples == 0 {
        return Vec::new();
    }
    if samples <= SPARSE && !dense {
        return vec![(Bucket::Day(day_of(hour)), column)];
    }
    if samples <= LARGE {
        return vec![(Bucket::Hour(hour), column)];
    }
    let width = HOUR / PARTS;
    let mut parts = Vec::new();
    let mut rest = column;
    for part in 0..PARTS {
        let start = hour + part * width;
        let (now, later) = rest.split_at(start + width);
        rest = later;
        if !now.timestamps.is_empty() {
            parts.push((Bucket::Hour(start), now));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(timestamps: impl IntoIterator<Item = Millis>) -> Column {
        let mut column = Column::default();
        timestamps.into_iter().for_each(|timestamp| column.push(timestamp, 0, 1.0, None));
        column
    }

    #[test]
    fn few_samples_go_by_the_day_and_many_by_parts_of_an_hour() {
        let hour = 5 * DAY + 7 * HOUR;
        assert_eq!(place(hour, column([]), false), []);
        let few = column((0..SPARSE as i64).map(|n| hour + n));
        assert_eq!(place(hour, few.clone(), false), [(Bucket::Day(5 * DAY), few.clone())]);
        assert_eq!(place(hour, few.clone(), true), [(Bucket::Hour(hour), few)]);
        let usual = column((0..240).map(|n| hour + n * 15_000));
        assert_eq!(place(hour, usual.clone(), false), [(Bucket::Hour(hour), usual)]);
        let many = column((0..36_000).map(|n| hour + n * 100));
        let parts = place(hour, many, false);
        assert_eq!(parts.len(), 12);
        assert!(parts.iter().all(|(_, part)| part.timestamps.len() == 3_000));
        assert!(parts.iter().all(|(bucket, part)| part.timestamps[0] == bucket.start()));
    }

    #[test]
    fn days_before_the_epoch_begin_where_days_begin() {
        let hour = -3 * HOUR;
        let (bucket, column) = place(hour, column([hour + 1]), false).remove(0);
        assert_eq!(bucket, Bucket::Day(-DAY));
        assert_eq!(bucket.offsets(&column.timestamps), [75_600_001]);
        assert_eq!(bucket.timestamps(&[75_600_001]), column.timestamps);
    }
}
